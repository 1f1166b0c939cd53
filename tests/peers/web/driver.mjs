// Drives pages of one headless Chromium for tests/peers/harness/browser.py.
// stdin, one JSON object a line: {"id":1,"op":"open","page":"p1","library":"jssip"} |
// {"id":2,"op":"do","page":"p1","name":"call","args":["bob"]} | {"id":3,"op":"close","page":"p1"}. stdout: {"id":0} once
// ready, then {"id":N,"value":...} or {"id":N,"error":"..."} per command, whichever is done first. Ends with its stdin or at SIGTERM and takes the browser and its profile along.
// usage: node driver.mjs CHROMIUM PROFILE-DIRECTORY
import http from 'node:http';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { chromium } from 'playwright-core';
import { consoleOperations } from './console.mjs';

const [executablePath, profile] = process.argv.slice(2);
const here = path.dirname(fileURLToPath(import.meta.url));
const scripts = {};
for (const library of ['jssip', 'sipjs']) {
  const built = await build({ entryPoints: [path.join(here, `${library}.js`)], bundle: true, write: false, format: 'iife', logLevel: 'error' });
  scripts[`/${library}.js`] = built.outputFiles[0].text;
}
// pages come from 127.0.0.1, which is a secure context
const server = http.createServer((request, response) => {
  const script = scripts[request.url];
  const library = /^\/(jssip|sipjs)$/.exec(request.url)?.[1];
  if (script) response.writeHead(200, { 'Content-Type': 'text/javascript' }).end(script);
  else if (library) response.writeHead(200, { 'Content-Type': 'text/html' }).end(`<!doctype html><title>${library}</title><link rel="icon" href="data:,"><script src="/${library}.js"></script>`);
  else response.writeHead(404).end();
});
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));

const browser = await chromium.launchPersistentContext(profile, {
  executablePath,
  headless: true,
  ignoreHTTPSErrors: true,
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync', '--disable-background-networking',
    '--disable-component-update', '--disable-renderer-backgrounding', '--disable-background-timer-throttling',
    '--disable-backgrounding-occluded-windows', '--autoplay-policy=no-user-gesture-required', '--ignore-certificate-errors',
    '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream', '--disable-audio-output',
    '--allow-loopback-in-peer-connection', '--disable-features=WebRtcHideLocalIpsWithMdns,LocalNetworkAccessChecks',
  ],
});

const pages = new Map();
const operations = {
  ...consoleOperations(browser, pages),
  async open({ page, library }) {
    const opened = await browser.newPage();
    opened.on('pageerror', (error) => process.stderr.write(`[${page}] ${error.stack ?? error}\n`));
    opened.on('console', (message) => process.stderr.write(`[${page}] ${message.text()}\n`));
    await opened.goto(`http://127.0.0.1:${server.address().port}/${library}`);
    await opened.waitForFunction('window.phone');
    pages.set(page, opened);
    return null;
  },
  async do({ page, name, args }) {
    return pages.get(page).evaluate(async ([verb, given]) => {
      const value = await window.phone[verb](...given);
      return value === undefined ? null : JSON.parse(JSON.stringify(value, (_, item) => (typeof item === 'function' ? undefined : item)));
    }, [name, args]);
  },
  async close({ page }) {
    await pages.get(page).close();
    pages.delete(page);
    return null;
  },
};

let ending = false;
async function end() {
  if (ending) return;
  ending = true;
  await Promise.race([browser.close().catch(() => {}), new Promise((late) => { setTimeout(late, 4000); })]);
  process.exit(0);
}
process.on('SIGTERM', end);
process.on('SIGINT', end);

async function carryOut(line) {
  const command = JSON.parse(line);
  let answer;
  try {
    answer = { id: command.id, value: await operations[command.op](command) };
  } catch (error) {
    answer = { id: command.id, error: String(error.message ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

process.stdout.write('{"id":0,"value":null}\n');
readline.createInterface({ input: process.stdin }).on('line', carryOut).on('close', end);
