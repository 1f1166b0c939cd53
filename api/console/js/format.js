// Values as people read them. Everything returns text, and text is all that is ever done with what peers sent.
export const CAUSES = {
  completed: 'ended', canceled: 'canceled', busy: 'busy', rejected: 'refused', no_answer: 'no answer', not_found: 'unknown number',
  forbidden: 'forbidden', media_failed: 'no common audio', timeout: 'timed out', unreachable: 'unreachable', media_timeout: 'audio lost',
  transferred: 'transferred', replaced: 'replaced', answered_elsewhere: 'answered elsewhere', lost: 'lost', shutdown: 'phone stopped', failed: 'failed',
};

export const ACCOUNT_STATES = {
  off: 'Off', net_down: 'No network', connecting: 'Connecting', registering: 'Registering', online: 'Online', suspect: 'Checking',
  backoff: 'Waiting', throttled: 'Slowed by server', auth_failed: 'Password refused', unregistering: 'Leaving',
};

export const CALL_STATES = {
  queued: 'Waiting for the line', dialing: 'Calling', ringing: 'Ringing', early_media: 'Ringing', active: 'Active', ended: 'Ended',
};

export const MEDIA_STATES = {
  negotiating: 'negotiating', connecting_media: 'connecting', flowing: 'flowing', quiet: 'quiet', stalled: 'stalled', checking: 'checking',
  inbound_only: 'one way', restarting: 'restarting', rebuilding: 'rebuilding', wait_signalling: 'waiting for signalling', failed: 'failed',
};

// A name may hold what turns the direction of writing or is not seen at all: it could pass for another.
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

const seen = (text) => text.replace(UNSEEN, '\ufffd');

export function peerName(peer) {
  return seen(peer.display_name || peer.number || peer.uri);
}

export function peerDetail(peer) {
  const shown = peer.display_name ? peer.number || peer.uri : peer.uri;
  return seen(shown) === peerName(peer) ? '' : seen(shown);
}

export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const tail = `${String(m).padStart(2, '0')}:${String(s).padStart(2, '0')}`;
  return h ? `${h}:${tail}` : tail;
}

export function duration(seconds) {
  const s = Math.max(0, seconds);
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 172_800) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
  return `${Math.floor(s / 86_400)} days`;
}

export const milliseconds = (ms) => (ms === null || ms === undefined ? '–' : ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

const TIME = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
const DAY = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric' });

export const time = (moment) => (moment ? TIME.format(new Date(moment)) : '–');

export function when(moment) {
  if (!moment) return '–';
  const date = new Date(moment);
  return date.toDateString() === new Date().toDateString() ? TIME.format(date) : `${DAY.format(date)}, ${TIME.format(date)}`;
}

export const number = (value, digits = 0, unit = '') => (value === null || value === undefined ? '–' : `${value.toFixed(digits)}${unit}`);

export function bytes(count) {
  return count < 1e6 ? `${Math.round(count / 1e3)} kB` : `${(count / 1e6).toFixed(1)} MB`;
}

export function mosWord(mos) {
  if (mos === null || mos === undefined) return null;
  if (mos >= 4) return 'good';
  return mos >= 3.4 ? 'fair' : 'bad';
}

// The moment inside of a UUIDv7: `rec_019...`.
export const momentOf = (id) => new Date(parseInt(id.slice(id.indexOf('_') + 1).slice(0, 12), 16)).toISOString();

export function endText(call) {
  const { end } = call;
  if (!end) return '';
  const cause = CAUSES[end.cause] ?? end.cause;
  const sip = end.sip_code ? ` (${end.sip_code}${end.sip_reason ? ` ${end.sip_reason}` : ''})` : '';
  if (end.cause === 'completed') return end.by === 'remote' ? 'ended by the other side' : 'ended';
  if (end.cause === 'canceled') return call.direction === 'in' ? 'missed' : 'canceled';
  return cause + sip;
}

// What an event says beside the object that it is about.
const NAMED = { n: 'attempt', attempts: 'attempts', next_in_s: 'next in', outage_ms: 'away for', gap_ms: 'gap', mos: 'MOS', rtt_ms: 'round trip', jitter_ms: 'jitter', loss_pct: 'loss' };
const PLAIN = new Set(['plane', 'cause', 'direction', 'why', 'reason', 'reasons', 'detail', 'digit', 'method']);

export function facts(data) {
  const shown = [];
  for (const [name, value] of Object.entries(data)) {
    if (value === null || value === false || (typeof value === 'object' && !Array.isArray(value))) continue;
    const text = Array.isArray(value) ? value.join(', ') : value;
    if (PLAIN.has(name)) shown.push(String(text).replace(/_/g, ' '));
    else if (value === true) shown.push(label(name));
    else if (name.endsWith('_ms')) shown.push(`${NAMED[name] ?? label(name)} ${milliseconds(value)}`);
    else shown.push(`${NAMED[name] ?? label(name)} ${typeof text === 'number' ? Math.round(text * 10) / 10 : text}${unit(name)}`);
  }
  return shown.join(' · ');
}

const label = (name) => name.replace(/_(ms|s|pct)$/, '').replace(/_/g, ' ');

const unit = (name) => (name.endsWith('_pct') ? ' %' : name.endsWith('_s') ? ' s' : '');

export function subject(data) {
  if (data.call) return peerName(data.call.peer);
  if (data.message) return peerName(data.message.peer);
  return data.account?.id ?? data.recording?.id ?? data.playback?.file ?? '';
}
