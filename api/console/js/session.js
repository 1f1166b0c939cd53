// Who is logged in. The token is kept in sessionStorage: it survives a reload of this tab (a kiosk reloads), is seen by
// no other tab, and is gone with the tab. It is sent in the Authorization header only, never in a URL or a cookie.
import { ApiError, json, whenUnauthorized } from './api.js';
import { get, set } from './state.js';

const KEY = 'phoned.session';

function store(session) {
  try {
    if (session) sessionStorage.setItem(KEY, JSON.stringify(session));
    else sessionStorage.removeItem(KEY);
  } catch {
    // storage is off: the session lives as long as the page
  }
}

export function remembered() {
  try {
    const found = JSON.parse(sessionStorage.getItem(KEY) ?? 'null');
    return found && typeof found.token === 'string' ? found : null;
  } catch {
    return null;
  }
}

// The code of a link, taken out of the address bar before anything else happens.
export function takeCode() {
  const found = /^#login=([\w-]{1,128})$/.exec(location.hash);
  if (location.hash.startsWith('#login=')) history.replaceState(null, '', `${location.pathname}#/`);
  return found ? found[1] : null;
}

function begin(session) {
  store(session);
  set({ session, sessionOver: null });
}

export async function logInWithCode(code) {
  const made = await json('POST', '/v1/login', { body: { code }, token: null });
  begin({ token: made.token, scope: made.scope, id: made.id, expiresAt: made.expires_at });
}

// A token, a code, or a whole link that was pasted.
export async function logInWith(text) {
  const given = text.trim();
  const code = /(?:#login=)?(phoned_login_[\w-]+)$/.exec(given);
  if (code) return logInWithCode(code[1]);
  if (!/^[\x21-\x7e]+$/.test(given)) throw new ApiError(401, { detail: 'That is not a token. “phoned token” prints one.' });
  const who = await json('GET', '/v1/login', { token: given });
  return begin({ token: given, scope: who.scope, id: who.id, expiresAt: who.expires_at });
}

export async function restore(session) {
  set({ session });
  try {
    const who = await json('GET', '/v1/login', { token: session.token });
    begin({ ...session, scope: who.scope, id: who.id, expiresAt: who.expires_at });
  } catch (error) {
    if (error.status === 401) {
      store(null);
      set({ session: null });
    } // else the daemon is away: the page says so, and goes on once it is back
  }
}

export async function logOut() {
  const { session } = get();
  store(null);
  set({ session: null, sessionOver: null, ready: false, calls: {}, accounts: {}, events: [], stats: {}, recordings: {} });
  if (session) await json('DELETE', '/v1/login', { token: session.token }).catch(() => {});
}

// 401: the page stays as it is, and the login lies over it.
whenUnauthorized(() => {
  store(null);
  set((now) => (now.session ? { sessionOver: 'Your session has ended. Log in again to go on where you were.' } : null));
});
