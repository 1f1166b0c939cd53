// Numbers to call, and tones during a call: by touch, mouse and the keys of the keyboard.
import { html, useEffect, useRef, useState } from '../lib.js';
import { dtmf, place } from '../actions.js';
import { peerName } from '../format.js';
import { useKeys } from '../keys.js';
import { get, may, set, use } from '../state.js';
import { Icon, Key } from '../ui.js';
import { currentCall } from '../world.js';

const KEYS = [['1', ''], ['2', 'abc'], ['3', 'def'], ['4', 'ghi'], ['5', 'jkl'], ['6', 'mno'], ['7', 'pqrs'], ['8', 'tuv'], ['9', 'wxyz'], ['*', ''], ['0', '+'], ['#', '']];
const SENT_SHOWN = 24;

// Called from lists: the number waits in the field, and Enter calls it.
export function redial(call) {
  const own = get().accounts[call.account]?.aor.split('@')[1];
  const [user, host] = call.peer.uri.replace(/^sips?:/, '').split(';')[0].split('@');
  set({ dialed: host === own || !host ? user : `sip:${user}@${host}`, dialAccount: call.account, dialFocus: (get().dialFocus ?? 0) + 1 });
}

export function DialPad() {
  const accounts = use((state) => state.accounts);
  const number = use((state) => state.dialed ?? '');
  const chosen = use((state) => state.dialAccount);
  const focusTurn = use((state) => state.dialFocus ?? 0);
  const call = use(currentCall);
  use((state) => state.session?.scope);
  const talking = call?.state === 'active' ? call : null;
  const [mode, setMode] = useState(talking ? 'tones' : 'number');
  const [sent, setSent] = useState('');
  const [pressed, setPressed] = useState(null);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const field = useRef(null);
  useEffect(() => {
    setMode(talking ? 'tones' : 'number');
    setSent('');
  }, [talking?.id]);
  useEffect(() => {
    if (focusTurn) {
      setMode('number');
      setTimeout(() => field.current?.focus(), 0);
    }
  }, [focusTurn]);
  useEffect(() => {
    if (!pressed) return undefined;
    const timer = setTimeout(() => setPressed(null), 140);
    return () => clearTimeout(timer);
  }, [pressed]);

  const list = Object.values(accounts);
  const account = accounts[chosen] ?? list.find(({ state }) => state === 'online') ?? list[0];
  const setNumber = (text) => {
    set({ dialed: text });
    setError(null);
  };
  const press = (digit) => {
    setPressed({ digit });
    if (mode === 'tones' && talking) {
      setSent((before) => (before + digit).slice(-SENT_SHOWN));
      dtmf(talking, digit);
    } else {
      setNumber((get().dialed ?? '') + digit);
    }
  };
  const dial = async () => {
    const to = (get().dialed ?? '').trim();
    if (!to || !account || busy) return;
    setBusy(true);
    setError(null);
    try {
      await place(account.id, to);
      set({ dialed: '' });
      field.current?.blur();
    } catch (failure) {
      setError(failure.message);
    }
    setBusy(false);
  };
  const erase = () => setNumber((get().dialed ?? '').slice(0, -1));
  const toField = () => {
    if (field.current) field.current.focus(); // at once: what is typed next is meant for it
    else setMode('number');
    setTimeout(() => field.current?.focus(), 0);
  };
  useKeys({
    ...Object.fromEntries(KEYS.map(([digit]) => [digit, () => press(digit)])),
    '+': () => mode === 'number' && press('+'),
    Backspace: () => mode === 'number' && erase(),
    Enter: () => (mode === 'number' && number ? dial() : false),
    '/': toField,
    t: () => (talking ? setMode(mode === 'tones' ? 'number' : 'tones') : false),
  });

  const tones = mode === 'tones' && talking;
  return html`<section class="card dial" aria-label="Dial pad">
    ${talking && html`<div class="segments" role="group" aria-label="What the keys do">
      <button type="button" aria-pressed=${String(Boolean(tones))} onClick=${() => setMode('tones')}>Tones</button>
      <button type="button" aria-pressed=${String(!tones)} onClick=${() => setMode('number')}>Number</button>
    </div>`}
    ${tones ? html`<div class="dial-display" aria-live="polite"><span class="muted">To <bdi>${peerName(talking.peer)}</bdi></span><output>${sent || ' '}</output></div>`
      : html`<form class="dial-line" onSubmit=${(event) => { event.preventDefault(); dial(); }}>
      <label class="hidden" for="number">Number or address</label>
      <input id="number" ref=${field} value=${number} onInput=${(event) => setNumber(event.target.value)} placeholder="Number or address"
        autocomplete="off" autocapitalize="off" spellcheck="false" inputmode="tel" maxlength="512" enterkeyhint="go" aria-keyshortcuts="/" />
      ${number ? html`<button type="button" class="quiet" aria-label="Erase" onClick=${erase}><${Icon} name="erase" /></button>` : html`<${Key}>/<//>`}
    </form>`}
    <div class="keys" role="group" aria-label=${tones ? 'Tones' : 'Digits'}>
      ${KEYS.map(([digit, letters]) => html`<button type="button" key=${digit} class=${`key ${pressed?.digit === digit ? 'down' : ''}`} onClick=${() => press(digit)}
        disabled=${tones && !may('call')}><span>${digit}</span><small aria-hidden="true">${letters}</small></button>`)}
    </div>
    ${!tones && html`<div class="dial-end">
      ${list.length > 1 && html`<label class="dial-from"><span>From</span><select value=${account?.id} onChange=${(event) => set({ dialAccount: event.target.value })}>
        ${list.map(({ id, state }) => html`<option key=${id} value=${id}>${id}${state === 'online' ? '' : ` (${state})`}</option>`)}
      </select></label>`}
      <button type="button" class="button go wide" onClick=${dial} disabled=${!number.trim() || !account || busy || !may('call')}
        title=${may('call') ? null : 'Needs a token of the scope “call”'}><${Icon} name="phone" /><span>Call</span></button>
    </div>`}
    ${error && html`<p class="form-error" role="alert">${error}</p>`}
  </section>`;
}
