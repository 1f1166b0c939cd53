// Begins: a code of the address bar, a session of this tab, or the login.
import { html, render, useEffect } from './lib.js';
import * as feed from './feed.js';
import { logInWithCode, remembered, restore, takeCode } from './session.js';
import { get, set, use } from './state.js';
import { Login } from './views/login.js';
import { Shell } from './views/shell.js';

function App() {
  const token = use((state) => state.session?.token);
  const over = use((state) => state.sessionOver);
  useEffect(() => {
    if (token && !over) feed.start();
    else feed.stop();
  }, [token, over]);
  if (!token) return html`<${Login} />`;
  return html`<${Shell} />${over && html`<${Login} over=${over} />`}`;
}

async function useCode(code) {
  try {
    await logInWithCode(code);
  } catch (error) {
    set({ loginError: error.message });
  }
}

async function begin() {
  const code = takeCode();
  const session = remembered();
  if (session) await restore(session);
  if (code) await useCode(code);
  const root = document.getElementById('app');
  root.textContent = '';
  render(html`<${App} />`, root);
}

// a link that is opened in a tab that has this page already changes the fragment only
addEventListener('hashchange', () => {
  const code = takeCode();
  if (code) useCode(code);
});

begin();
export { get };
