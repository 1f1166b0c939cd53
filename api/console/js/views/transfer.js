// Handing a call over: to a number, or to the far end of another call that is up.
import { html, useEffect, useRef, useState } from '../lib.js';
import { transfer } from '../actions.js';
import { peerName } from '../format.js';
import { use } from '../state.js';
import { Action } from '../ui.js';
import { liveCalls } from '../world.js';

export function Transfer({ call, done }) {
  const calls = use((state) => state.calls);
  const [to, setTo] = useState('');
  const field = useRef(null);
  useEffect(() => { field.current?.focus(); }, []);
  const others = liveCalls(calls).filter((other) => other.id !== call.id && other.state === 'active' && other.account === call.account);
  const hand = async (body) => { if (await transfer(call, body)) done(); };
  const submit = (event) => {
    event.preventDefault();
    if (to.trim()) hand({ to: to.trim() });
  };
  return html`<form class="transfer" onSubmit=${submit} onKeyDown=${(event) => { if (event.key === 'Escape') done(); }}>
    <label for="transfer-to">Hand <bdi>${peerName(call.peer)}</bdi> over to</label>
    <div class="call-buttons">
      <input id="transfer-to" ref=${field} value=${to} onInput=${(event) => setTo(event.target.value)} placeholder="Number or address"
        autocomplete="off" autocapitalize="off" spellcheck="false" maxlength="512" />
      <${Action} kind="primary" icon="transfer" label="Hand over" disabled=${!to.trim()} run=${() => hand({ to: to.trim() })} />
      ${others.map((other) => html`<${Action} key=${other.id} icon="transfer" label=${`Connect with ${peerName(other.peer)}`} run=${() => hand({ replaces: other.id })} />`)}
      <button type="button" class="button" onClick=${done}>Cancel</button>
    </div>
  </form>`;
}
