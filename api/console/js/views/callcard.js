// One call: who, how it is, how it sounds, and what can be done with it. The same on the phone page and on its own.
import { html, useState } from '../lib.js';
import { answer, hangup, record, reject, toggleHold, toggleMute } from '../actions.js';
import { CALL_STATES, clock, milliseconds, mosWord, number, peerDetail, peerName } from '../format.js';
import { callLink } from '../router.js';
import { serverNow, set, use } from '../state.js';
import { share } from '../stats.js';
import { Action, Badge, Icon, useSeconds } from '../ui.js';
import { isIncoming } from '../world.js';
import { Transfer } from './transfer.js';

export function CallState({ call }) {
  useSeconds(call.state !== 'ended');
  const badges = [];
  if (call.recovering) {
    const forS = (serverNow() - Date.parse(call.recovering.since)) / 1000;
    const plane = { signalling: 'signalling', media: 'audio', both: 'signalling and audio' }[call.recovering.plane];
    badges.push(html`<${Badge} key="r" tone="warn">Repairing ${plane} · ${clock(forS)}<//>`);
  }
  if (call.hold.local) badges.push(html`<${Badge} key="h" tone="info">On hold<//>`);
  if (call.hold.remote) badges.push(html`<${Badge} key="hr" tone="info">Held by the other side<//>`);
  if (call.muted) badges.push(html`<${Badge} key="m" tone="warn">Muted<//>`);
  if (call.state === 'active' && call.media.state !== 'flowing' && !call.recovering && !call.hold.local && !call.hold.remote) {
    badges.push(html`<${Badge} key="a" tone=${call.media.state === 'failed' ? 'bad' : 'warn'}>Audio ${call.media.state.replace(/_/g, ' ')}<//>`);
  }
  const state = call.state === 'ringing' && call.direction === 'in' ? 'Incoming' : CALL_STATES[call.state];
  const tone = call.state === 'active' ? 'ok' : call.state === 'ended' ? '' : 'info';
  return html`<span class="call-state"><${Badge} tone=${tone}>${state}<//>${badges}</span>`;
}

export function Timer({ call }) {
  useSeconds(call.state !== 'ended');
  const since = call.answered_at ?? call.created_at;
  const seconds = call.state === 'ended' ? call.duration_s : (serverNow() - Date.parse(since)) / 1000;
  return html`<span class="timer" role="timer" aria-label=${call.answered_at ? 'Duration' : 'Since'}>${clock(seconds)}</span>`;
}

function Level({ icon, name, dbov }) {
  const value = Math.round(share(dbov) * 100);
  return html`<div class="level" title=${dbov === null || dbov === undefined ? name : `${name}: ${dbov} dBov`}>
    <${Icon} name=${icon} />
    <div class="level-bar" role="meter" aria-label=${name} aria-valuemin="0" aria-valuemax="100" aria-valuenow=${value}>
      <div class=${value > 92 ? 'level-fill loud' : 'level-fill'} style=${{ width: `${value}%` }}></div>
    </div>
  </div>`;
}

export function Sound({ call }) {
  const stats = use((state) => state.stats[call.id]);
  const last = use((state) => state.quality[call.id]);
  if (call.state !== 'active') return null;
  const mos = stats?.mos ?? last?.mos ?? null;
  const word = mosWord(mos);
  return html`<div class="sound">
    <${Level} icon="mic" name="We say" dbov=${stats?.sent_dbov} />
    <${Level} icon="phone" name="We hear" dbov=${stats?.received_dbov} />
    <dl class="sound-numbers">
      <div><dt>MOS</dt><dd class=${word ? `mos-${word}` : ''}>${number(mos, 1)}</dd></div>
      <div><dt>Loss</dt><dd>${number(stats?.loss_pct ?? last?.loss_pct, 1, ' %')}</dd></div>
      <div><dt>Jitter</dt><dd>${milliseconds(stats?.jitter_ms ?? last?.jitter_ms)}</dd></div>
      <div><dt>Round trip</dt><dd>${milliseconds(stats?.rtt_ms ?? last?.rtt_ms)}</dd></div>
    </dl>
  </div>`;
}

export function CallButtons({ call, current, detail }) {
  const [handing, setHanding] = useState(false);
  const hint = (key) => (current ? key : null);
  if (isIncoming(call)) {
    return html`<div class="call-buttons">
      <${Action} kind="go" icon="phone" label="Answer" hint=${hint('A')} run=${() => answer(call)} />
      <${Action} kind="danger" icon="hangup" label="Reject" hint=${hint('X')} run=${() => reject(call)} />
      ${detail && html`<a class="button" href=${callLink(call.id)}><${Icon} name="details" /><span>Details</span></a>`}
    </div>`;
  }
  const active = call.state === 'active';
  return html`<div class="call-buttons">
    ${active && html`<${Action} icon=${call.muted ? 'mute' : 'mic'} label=${call.muted ? 'Unmute' : 'Mute'} pressed=${call.muted} hint=${hint('M')} run=${() => toggleMute(call)} />
    <${Action} icon=${call.hold.local ? 'play' : 'pause'} label=${call.hold.local ? 'Resume' : 'Hold'} pressed=${call.hold.local} hint=${hint('O')} run=${() => toggleHold(call)} />`}
    ${active && !detail && html`<${Action} icon="record" label="Record" run=${() => record(call)} />
    <button type="button" class="button" aria-expanded=${String(handing)} onClick=${() => setHanding(!handing)}><${Icon} name="transfer" /><span>Hand over</span></button>`}
    ${detail && html`<a class="button" href=${callLink(call.id)} aria-keyshortcuts=${hint('I') && 'i'}><${Icon} name="details" /><span>Details</span>${current && html`<kbd aria-hidden="true">I</kbd>`}</a>`}
    ${call.state !== 'ended' && html`<${Action} kind="danger" icon="hangup" label=${active ? 'Hang up' : 'Cancel'} hint=${hint('H')} run=${() => hangup(call)} />`}
  </div>${handing && active && html`<${Transfer} call=${call} done=${() => setHanding(false)} />`}`;
}

export function CallCard({ call, current, many }) {
  const detail = peerDetail(call.peer);
  return html`<article class=${`card call ${current && many ? 'current' : ''}`} aria-label=${`Call with ${peerName(call.peer)}`}
    onClick=${() => set({ currentCall: call.id })} onFocusCapture=${() => set({ currentCall: call.id })}>
    <div class="call-head">
      <span class=${`direction ${call.direction}`}><${Icon} name=${call.direction === 'in' ? 'incoming' : 'outgoing'} /></span>
      <div class="who">
        <h3 class="name"><bdi>${peerName(call.peer)}</bdi></h3>
        <p class="muted">${detail && html`<bdi>${detail}</bdi> · `}${call.account}${call.media.codec ? ` · ${call.media.codec}` : ''}</p>
      </div>
      <div class="call-now"><${Timer} call=${call} /><${CallState} call=${call} /></div>
    </div>
    <${Sound} call=${call} />
    <${CallButtons} call=${call} current=${current} detail />
  </article>`;
}
