// One call: controls, how it sounds, what was repaired, what was said on the wire.
import { html, useEffect, useState } from '../lib.js';
import { repair } from '../actions.js';
import { fetchJson } from '../api.js';
import { MEDIA_STATES, bytes, endText, milliseconds, number, peerDetail, peerName, when } from '../format.js';
import { patchIn, use } from '../state.js';
import { useStats } from '../stats.js';
import { Action, Empty, Field, Icon, useLinkTurn } from '../ui.js';
import { CallButtons, CallState, Sound, Timer } from './callcard.js';
import { Ladder } from './ladder.js';
import { Quality } from './quality.js';
import { Recovery } from './recovery.js';

const PARTS = [['sound', 'Sound'], ['recovery', 'Recovery'], ['sip', 'SIP'], ['facts', 'Facts']];

export function CallPage({ id }) {
  const call = use((state) => state.calls[id]);
  const ready = use((state) => state.ready);
  const turn = useLinkTurn();
  const [gone, setGone] = useState(false);
  const [part, setPart] = useState('sound');
  useStats(call?.state === 'active' ? [id] : []);
  useEffect(() => {
    if (call || !ready || turn < 0) return;
    fetchJson(`/v1/calls/${encodeURIComponent(id)}`).then((found) => patchIn('calls', id, found), (error) => setGone(error.missing));
  }, [ready, turn, Boolean(call)]);
  if (!call) {
    return html`<${Back} />${gone && html`<${Empty} icon="phone" title="No such call">Ended calls are kept for a day.<//>`}`;
  }
  return html`<${Back} />
    <article class="card call-top" aria-label=${`Call with ${peerName(call.peer)}`}>
      <div class="call-head">
        <span class=${`direction ${call.direction}`}><${Icon} name=${call.direction === 'in' ? 'incoming' : 'outgoing'} /></span>
        <div class="who"><h1 class="name"><bdi>${peerName(call.peer)}</bdi></h1>
          <p class="muted">${peerDetail(call.peer) && html`<bdi>${peerDetail(call.peer)}</bdi> · `}${call.account}${call.end ? ` · ${endText(call)}` : ''}</p></div>
        <div class="call-now"><${Timer} call=${call} /><${CallState} call=${call} /></div>
      </div>
      <${Sound} call=${call} />
      <${CallButtons} call=${call} current />
    </article>
    <div class="tabs" role="tablist" aria-label="About this call" onKeyDown=${(event) => move(event, part, setPart)}>
      ${PARTS.map(([key, name]) => html`<button key=${key} type="button" role="tab" id=${`tab-${key}`} aria-selected=${String(part === key)} aria-controls="part"
        tabindex=${part === key ? 0 : -1} onClick=${() => setPart(key)}>${name}</button>`)}
    </div>
    <div id="part" role="tabpanel" aria-labelledby=${`tab-${part}`}>
      ${part === 'sound' && html`<${Quality} call=${call} />`}
      ${part === 'recovery' && html`<${Recovery} call=${call} />`}
      ${part === 'sip' && html`<${Ladder} call=${call} />`}
      ${part === 'facts' && html`<${Facts} call=${call} />`}
    </div>`;
}

const Back = () => html`<a class="back" href="#/"><${Icon} name="back" /><span>Phone</span></a>`;

// The arrow keys walk through the tabs (WAI-ARIA, tabs pattern).
function move(event, part, setPart) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const at = PARTS.findIndex(([key]) => key === part);
  const [next] = PARTS[(at + step + PARTS.length) % PARTS.length];
  setPart(next);
  document.getElementById(`tab-${next}`)?.focus();
}

function Facts({ call }) {
  const stats = use((state) => state.stats[call.id]);
  useEffect(() => {
    fetchJson(`/v1/calls/${encodeURIComponent(call.id)}/stats`).then((found) => patchIn('stats', call.id, found), () => {});
  }, [call.id, call.state]);
  const named = (object) => Object.entries(object).map(([name, value]) => `${name}: ${value}`).join('\n');
  return html`<section class="card"><dl class="fields wide-fields">
    <${Field} name="Address" mono><bdi>${call.peer.uri}</bdi><//>
    <${Field} name="Created">${when(call.created_at)}<//>
    <${Field} name="Ringing">${when(call.ringing_at)}<//>
    <${Field} name="Answered">${when(call.answered_at)}<//>
    <${Field} name="Ended">${when(call.ended_at)}<//>
    <${Field} name="Codec">${call.media.codec}<//>
    <${Field} name="Audio">${MEDIA_STATES[call.media.state] ?? call.media.state}<//>
    <${Field} name="Our address" mono>${call.media.local}<//>
    <${Field} name="Their address" mono>${call.media.remote}<//>
    ${stats && html`<${Field} name="Packets out">${stats.packets_sent} (${bytes(stats.bytes_sent)})<//>
    <${Field} name="Packets in">${stats.packets_received} (${bytes(stats.bytes_received)})<//>
    <${Field} name="Packets lost">${stats.packets_lost} (${number(stats.loss_pct, 1, ' %')})<//>
    <${Field} name="Made up">${milliseconds(stats.concealed_ms)}<//>
    <${Field} name="ICE, DTLS generation">${stats.ice_generation}, ${stats.dtls_generation}<//>`}
    <${Field} name="Call" mono>${call.id}<//>
    <${Field} name="SIP Call-ID" mono>${call.sip_call_id}<//>
    ${Object.keys(call.tags).length > 0 && html`<${Field} name="Tags" mono>${named(call.tags)}<//>`}
    ${Object.keys(call.headers).length > 0 && html`<${Field} name="Headers" mono>${named(call.headers)}<//>`}
  </dl>
  ${call.state === 'active' && html`<div class="call-buttons"><${Action} icon="repair" label="Repair now" run=${() => repair(call)} /></div>`}</section>`;
}
