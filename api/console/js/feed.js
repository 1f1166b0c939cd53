// The stream of events: a WebSocket opened with a one-use ticket, resumed with `after`, opened again for ever.
// `link` in the state tells how it is. A daemon that has stopped in its tracks keeps its socket: it is asked over HTTP.
import { watchAccounts } from './accounts.js';
import { ApiError, fetchJson, post } from './api.js';
import { get, set } from './state.js';
import { apply, forgetOld, remember } from './world.js';

const WAITS_MS = [250, 500, 1000, 2000, 4000];
const OPEN_MS = 8000;
const QUIET_MS = 6000;
const HISTORY = 300;

let socket = null;
let timer = null;
let generation = 0;
let heardAt = 0;
let buffer = [];
let flushing = null;

const link = (changes) => set((now) => ({ link: { ...now.link, ...changes } }));

export function start() {
  stop();
  link({ phase: 'connecting', attempt: 0, retryAt: null });
  connect();
}

export function stop() {
  generation += 1;
  clearTimeout(timer);
  socket?.close();
  socket = null;
  buffer = [];
}

export function tryNow() {
  if (get().link.phase === 'live' || !get().session || get().sessionOver) return;
  generation += 1;
  clearTimeout(timer);
  socket?.close();
  connect();
}

async function connect() {
  const mine = (generation += 1);
  link({ retryAt: null });
  try {
    const { subprotocol } = await post('/v1/tickets');
    if (mine !== generation) return;
    open(mine, subprotocol);
  } catch (error) {
    if (mine !== generation) return;
    if (error instanceof ApiError && error.status === 401) return; // the login lies over the page; `start` follows it
    again(mine, error.message);
  }
}

function open(mine, subprotocol) {
  const { lastSeq, ready } = get();
  const place = ready && lastSeq !== null ? `?after=${lastSeq}` : '';
  const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
  socket = new WebSocket(`${scheme}://${location.host}/v1/events/ws${place}`, ['phoned.v1', subprotocol]);
  const opening = setTimeout(() => socket.close(), OPEN_MS);
  socket.onopen = () => {
    clearTimeout(opening);
    if (mine !== generation) return;
    heardAt = Date.now();
    link({ phase: 'live', attempt: 0, retryAt: null, seen: null, turn: (get().link.turn ?? 0) + 1 });
    refresh();
  };
  socket.onmessage = ({ data }) => {
    if (mine !== generation) return;
    heardAt = Date.now();
    buffer.push(JSON.parse(data));
    flushing ??= setTimeout(flush, 16);
  };
  socket.onclose = () => {
    clearTimeout(opening);
    if (mine === generation) again(mine, 'The connection was lost.');
  };
}

// Bursts are applied in one go: one rendering for what came within a frame.
function flush() {
  flushing = null;
  const batch = buffer;
  buffer = [];
  if (!batch.length || !get().session) return;
  let next = get();
  for (const envelope of batch) next = apply(next, envelope);
  next = forgetOld(next);
  const first = !get().ready && next.ready;
  const snapshot = batch.find((envelope) => envelope.type === 'events.snapshot'); // the only one that is of now for sure
  const skewMs = snapshot ? Date.parse(snapshot.time) - Date.now() : next.skewMs;
  set({ ...next, skewMs, events: remember(next.events, batch) });
  if (first || batch.some(({ type }) => type.startsWith('account.'))) watchAccounts();
  if (first) {
    performance.mark('phoned-ready');
    history();
  }
}

// What happened before this page was opened, for the lists; the state is in the snapshot already.
async function history() {
  const { lastSeq } = get();
  try {
    const page = await fetchJson(`/v1/events?after=${Math.max(0, lastSeq - HISTORY)}&limit=${HISTORY}`);
    const past = page.data.filter((event) => event.seq !== undefined && event.seq <= lastSeq);
    let next = get();
    for (const event of past) next = apply(next, event, true);
    set({ retries: current(next), events: remember(get().events, past) });
  } catch {
    // the page works without its past
  }
}

// Of the back-offs that history told, those that still run.
const current = ({ retries, accounts }) => Object.fromEntries(
  Object.entries(retries).filter(([id]) => accounts[id] && accounts[id].state !== 'online' && accounts[id].state !== 'off'),
);

async function refresh() {
  try {
    const status = await fetchJson('/v1/status');
    set({ status, network: status.network ?? get().network });
    set({ doNotDisturb: (await fetchJson('/v1/do-not-disturb')).do_not_disturb });
  } catch {
    // the link's own state tells of it
  }
}

function again(mine, why) {
  if (mine !== generation) return;
  socket = null;
  const attempt = get().link.attempt + 1;
  const waitMs = WAITS_MS[Math.min(attempt, WAITS_MS.length) - 1] * (0.8 + Math.random() * 0.4);
  link({ phase: 'away', attempt, why, retryAt: Date.now() + waitMs, seen: get().link.seen ?? Date.now() });
  timer = setTimeout(connect, waitMs);
}

// Nothing came for a while: does the daemon still breathe? `/healthz` answers while its loop runs.
async function check() {
  const { link: { phase } } = get();
  if ((phase !== 'live' && phase !== 'silent') || Date.now() - heardAt < QUIET_MS) return;
  const mine = generation;
  try {
    await fetchJson('/healthz', { deadlineMs: 3000, token: null });
    heardAt = Date.now();
    if (mine === generation && get().link.phase === 'silent') link({ phase: 'live', seen: null });
  } catch {
    if (mine === generation && get().link.phase === 'live') link({ phase: 'silent', seen: Date.now() });
  }
}

setInterval(check, 2000);
addEventListener('online', tryNow);
document.addEventListener('visibilitychange', () => { if (!document.hidden) tryNow(); });
