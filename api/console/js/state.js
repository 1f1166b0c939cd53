// What the page knows, in one place. `get`, `set` and `use`; who changes what is in world.js, feed.js and session.js.
import { useEffect, useRef, useState } from './lib.js';

let state = {
  session: null, // {token, scope, id, expiresAt}
  sessionOver: null, // why the session ended, while its page is still open
  link: { phase: 'connecting', attempt: 0, retryAt: null, seen: null },
  status: null,
  doNotDisturb: null, // null: not known
  skewMs: 0, // the daemon's clock minus ours
  ready: false, // a snapshot has come
  lastSeq: null,
  accounts: {},
  calls: {},
  network: null,
  recordings: {},
  retries: {}, // account -> {n, cause, at}: the back-off that runs
  quality: {}, // call -> the newest call.quality
  stats: {}, // call -> the newest stats, while somebody looks
  events: [], // oldest first
  toasts: [],
  currentCall: null,
  help: false,
};
const listeners = new Set();

export const get = () => state;

export function set(patch) {
  const changes = typeof patch === 'function' ? patch(state) : patch;
  if (!changes) return;
  state = { ...state, ...changes };
  for (const listener of [...listeners]) listener();
}

// The selected part, and a new rendering whenever it becomes another value.
export function use(select) {
  const [, force] = useState(0);
  const shown = useRef(null);
  shown.current = { select, value: select(state) };
  useEffect(() => {
    const look = () => {
      if (!Object.is(shown.current.select(state), shown.current.value)) force((n) => n + 1);
    };
    look(); // what changed between the rendering and this
    listeners.add(look);
    return () => listeners.delete(look);
  }, []);
  return shown.current.value;
}

export function patchIn(key, id, value) {
  set((now) => ({ [key]: { ...now[key], [id]: value } }));
}

const SCOPES = { read: ['read'], call: ['read', 'call'], media: ['read', 'media'], admin: ['read', 'call', 'media', 'admin'] };

export const grants = (held, needed) => (SCOPES[held] ?? []).includes(needed);

export const may = (needed) => grants(state.session?.scope, needed);

// A time of the daemon's clock, as ours has it.
export const serverNow = () => Date.now() + state.skewMs;
