// The accounts between two events: waiting and dialling again have no event of their own, so while an account is
// neither online nor off it is asked for.
import { fetchJson } from './api.js';
import { get, set } from './state.js';

const PERIOD_MS = 2000;
const SOON_MS = 150;
const SETTLED = new Set(['online', 'off']);

let timer = null;

async function ask() {
  timer = null;
  const { link, session, sessionOver } = get();
  if (link.phase !== 'live' || !session || sessionOver || document.hidden) return;
  const before = get().accounts;
  try {
    const { data } = await fetchJson('/v1/accounts');
    // an event that came meanwhile knows better
    if (get().accounts === before) set({ accounts: Object.fromEntries(data.map((account) => [account.id, account])) });
  } catch {
    // the link tells of it
  }
  watchAccounts(PERIOD_MS);
}

// Called after events of accounts, and by itself as long as one of them is on its way.
export function watchAccounts(delayMs = SOON_MS) {
  const moving = Object.values(get().accounts).some((account) => !SETTLED.has(account.state));
  if (delayMs === SOON_MS) clearTimeout(timer);
  else if (timer || !moving) return;
  timer = setTimeout(ask, delayMs);
}

document.addEventListener('visibilitychange', () => { if (!document.hidden) watchAccounts(); });
