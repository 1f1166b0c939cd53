// A person at phoned's console, for tests/peers/harness/console.py: operations on pages of the browser of driver.mjs.
// An element is named as a person finds it: {role, name} | {text} | {label}, or {css} where there is no other way.
const LATE_MS = 10_000;
const SHORT_MS = 150;

export function consoleOperations(browser, pages) {
  const heard = new Map(); // page -> everything that a careful page does not say

  const find = (page, { role, name, text, label, css, exact = false, nth = 0 }) => {
    const opened = pages.get(page);
    const found = role ? opened.getByRole(role, { name, exact }) : label ? opened.getByLabel(label, { exact }) : text ? opened.getByText(text, { exact }) : opened.locator(css);
    return found.nth(nth);
  };

  return {
    async visit({ page, url, width = 1280, height = 800, scheme = 'light' }) {
      const opened = pages.get(page) ?? await browser.newPage();
      if (!pages.has(page)) {
        const said = [];
        heard.set(page, said);
        opened.on('pageerror', (error) => said.push(`error: ${error.stack ?? error}`));
        opened.on('console', (message) => { if (message.type() === 'error' || message.type() === 'warning') said.push(`${message.type()}: ${message.text()}`); });
        opened.on('dialog', (dialog) => { said.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
        await opened.addInitScript(() => {
          globalThis.addEventListener('securitypolicyviolation', (event) => console.error(`CSP: ${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));
        });
        pages.set(page, opened);
      }
      await opened.setViewportSize({ width, height });
      await opened.emulateMedia({ colorScheme: scheme });
      if (url) await opened.goto(url);
      return opened.url();
    },
    async click({ page, what }) { await find(page, what).click({ timeout: LATE_MS }); return null; },
    async fill({ page, what, value }) { await find(page, what).fill(value, { timeout: LATE_MS }); return null; },
    async press({ page, key }) { await pages.get(page).keyboard.press(key); return null; },
    async type({ page, value }) { await pages.get(page).keyboard.type(value); return null; },
    async see({ page, what, state = 'visible', timeout = LATE_MS }) { await find(page, what).waitFor({ state, timeout }); return null; },
    async read({ page, what }) { return find(page, what).innerText({ timeout: LATE_MS }); },
    async attribute({ page, what, name }) { return find(page, what).getAttribute(name, { timeout: LATE_MS }); },
    async count({ page, what }) { const { nth: _, ...all } = what; return (await pages.get(page).locator(all.css).count()); },
    async evaluate({ page, expression }) { return (await pages.get(page).evaluate(expression)) ?? null; },
    async shot({ page, path, full = false }) { await pages.get(page).waitForTimeout(SHORT_MS); await pages.get(page).screenshot({ path, fullPage: full }); return null; },
    async reload({ page }) { await pages.get(page).reload(); return null; },
    // what the daemon would answer, for what it does not have yet
    async answer({ page, url, status = 200, body }) {
      await pages.get(page).route(url, (route) => route.fulfill({ status, contentType: 'application/json', body: JSON.stringify(body) }));
      return null;
    },
    async said({ page }) { return heard.get(page) ?? []; },
  };
}
