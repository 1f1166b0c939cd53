// Events become state. Pure: (state, envelope) -> the changes.
const KEPT_EVENTS = 1000;
const KEPT_CALLS = 500;
const GONE = { 'account.removed': 'account', 'recording.deleted': 'recording' };
const BY_ID = { account: 'accounts', call: 'calls', recording: 'recordings' };

const byId = (list) => Object.fromEntries(list.map((item) => [item.id, item]));

function snapshot(state, { data }) {
  const live = new Set(data.accounts.map((account) => account.id));
  return {
    ready: true,
    lastSeq: data.last_seq,
    accounts: byId(data.accounts),
    calls: byId(data.calls),
    network: data.network ?? state.network,
    retries: Object.fromEntries(Object.entries(state.retries).filter(([id]) => live.has(id))),
  };
}

function retries(state, { type, time, data }) {
  const account = data.account?.id;
  if (!account) return state.retries;
  if (type === 'account.reconnecting') {
    return { ...state.retries, [account]: { n: data.n, cause: data.cause, at: Date.parse(time) + data.next_in_s * 1000 } };
  }
  if (!(account in state.retries) || type === 'account.connect_failed') return state.retries;
  const { [account]: _, ...others } = state.retries;
  return others;
}

// Applied one after the other; `old` ones are for the list of events only.
export function apply(state, envelope, old = false) {
  if (envelope.type === 'events.snapshot' || envelope.type === 'events.gap') return { ...state, ...snapshot(state, envelope) };
  const next = { ...state };
  if (envelope.type === 'call.quality' && !old) {
    next.quality = { ...state.quality, [envelope.data.call.id]: envelope.data };
  }
  next.retries = retries(state, envelope);
  if (old) return next;
  next.lastSeq = envelope.seq;
  for (const [kind, key] of Object.entries(BY_ID)) {
    const object = envelope.data[kind];
    if (object) next[key] = { ...next[key], [object.id]: object };
  }
  const gone = GONE[envelope.type];
  if (gone) {
    const { [envelope.data[gone].id]: _, ...kept } = next[BY_ID[gone]];
    next[BY_ID[gone]] = kept;
  }
  if (envelope.type === 'system.do_not_disturb') next.doNotDisturb = envelope.data.do_not_disturb;
  if (envelope.data.network) next.network = envelope.data.network;
  if (envelope.type === 'system.draining' && state.status) {
    next.status = { ...state.status, draining: envelope.data.draining };
  }
  return next;
}

// The list of events, each once, in order.
export function remember(events, more) {
  const known = new Set(events.map((event) => event.id));
  const added = more.filter((event) => event.seq !== undefined && !known.has(event.id));
  if (!added.length) return events;
  const all = [...events, ...added];
  if (events.length && added[0].seq < events[events.length - 1].seq) all.sort((a, b) => a.seq - b.seq);
  return all.slice(-KEPT_EVENTS);
}

export const isLive = (call) => call.state !== 'ended';

const newestFirst = (a, b) => (a.created_at < b.created_at ? 1 : a.created_at > b.created_at ? -1 : 0);

// A page may stay open for months: of the calls that ended the newest are kept, and with them what is known of them.
export function forgetOld(state) {
  const ended = endedCalls(state.calls);
  if (ended.length <= 2 * KEPT_CALLS) return state;
  const old = new Set(ended.slice(KEPT_CALLS).map((call) => call.id));
  const kept = (of) => Object.fromEntries(Object.entries(of).filter(([id]) => !old.has(id)));
  return { ...state, calls: kept(state.calls), quality: kept(state.quality), stats: kept(state.stats) };
}

export const liveCalls = (calls) => Object.values(calls).filter(isLive).sort(newestFirst);

export const endedCalls = (calls) => Object.values(calls).filter((call) => !isLive(call)).sort(newestFirst);

export const isIncoming = (call) => call.direction === 'in' && call.state === 'ringing';

// Which call a key without a target means: the chosen one, else one that rings, else the newest.
export function currentCall(state) {
  const chosen = state.calls[state.currentCall];
  if (chosen && isLive(chosen)) return chosen;
  const live = liveCalls(state.calls);
  return live.find((call) => call.state === 'active') ?? live[0] ?? null;
}
