// What a person can do, as requests. Each says by itself when it failed; the events tell the page what came of it.
import { post, remove } from './api.js';
import { get, set } from './state.js';
import { attempt } from './ui.js';

const callPath = (call) => `/v1/calls/${encodeURIComponent(call.id)}`;
const accountPath = (account) => `/v1/accounts/${encodeURIComponent(account.id)}`;

// The call as the verb left it: the event may be a moment behind, and a key pressed again must see it. Where an event
// was quicker, it knows better.
async function verb(call, name, body) {
  const before = get().calls[call.id];
  const changed = await post(`${callPath(call)}/${name}`, body);
  set((now) => (changed?.id === call.id && now.calls[call.id] === before ? { calls: { ...now.calls, [call.id]: changed } } : null));
}

export const answer = (call) => attempt('Answer', () => verb(call, 'answer'));
export const reject = (call) => attempt('Reject', () => verb(call, 'reject'));
export const hangup = (call) => attempt('Hang up', () => verb(call, 'hangup'));
export const toggleHold = (call) => attempt(call.hold.local ? 'Resume' : 'Hold', () => verb(call, call.hold.local ? 'unhold' : 'hold'));
export const toggleMute = (call) => attempt(call.muted ? 'Unmute' : 'Mute', () => verb(call, call.muted ? 'unmute' : 'mute'));
export const transfer = (call, body) => attempt('Hand over', () => verb(call, 'transfer', body));
export const repair = (call) => attempt('Repair', () => verb(call, 'reinvite', { ice_restart: true }));
export const record = (call) => attempt('Record', () => post(`${callPath(call)}/record`));

// Digits leave in the order in which they were pressed.
let digits = Promise.resolve();

export function dtmf(call, digit) {
  digits = digits.then(() => attempt('Tone', () => post(`${callPath(call)}/dtmf`, { digits: digit })));
  return digits;
}

export async function place(account, to) {
  const call = await post('/v1/calls', { account, to });
  set((now) => ({ calls: { [call.id]: call, ...now.calls }, currentCall: call.id }));
  return call;
}

export const register = (account) => attempt('Register', () => post(`${accountPath(account)}/register`));
export const unregister = (account) => attempt('Unregister', () => post(`${accountPath(account)}/unregister`));
export const retry = (account) => attempt('Retry', () => post(`${accountPath(account)}/retry`));
export const useProxy = (account, use) => attempt('Proxy', () => post(`${accountPath(account)}/outbound-proxy`, { use }));
export const setDoNotDisturb = (on) => attempt('Do not disturb', async () => {
  await (on ? post('/v1/do-not-disturb') : remove('/v1/do-not-disturb'));
  set({ doNotDisturb: on });
});
export const checkNetwork = () => attempt('Check the network', () => post('/v1/network/changed'));

const recordingPath = (recording) => `/v1/recordings/${encodeURIComponent(recording.id)}`;
export const stopRecording = (recording) => attempt('Stop', () => post(`${recordingPath(recording)}/stop`));
export const deleteRecording = (recording) => attempt('Delete', () => remove(recordingPath(recording)));
