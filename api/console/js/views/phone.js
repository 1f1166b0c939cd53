// The first page: calls that are up, the accounts at a glance, the last calls, and the dial pad.
import { html } from '../lib.js';
import { ACCOUNT_STATES, duration, endText, peerName, when } from '../format.js';
import { callLink } from '../router.js';
import { use } from '../state.js';
import { useStats } from '../stats.js';
import { Empty, Icon } from '../ui.js';
import { currentCall, endedCalls, isIncoming, liveCalls } from '../world.js';
import { accountTone } from './accounts.js';
import { CallCard } from './callcard.js';
import { DialPad, redial } from './dialpad.js';

const SHOWN = 30;

export function Phone() {
  const calls = use((state) => state.calls);
  const ready = use((state) => state.ready);
  const current = use((state) => currentCall(state)?.id ?? null);
  const live = liveCalls(calls).filter((call) => !isIncoming(call)); // those that ring are above the page
  const ringing = Object.values(calls).some(isIncoming);
  const ended = endedCalls(calls);
  useStats(live.filter((call) => call.state === 'active').map((call) => call.id));
  return html`<div class="phone">
    <div class="phone-main">
      <h1 class="hidden">Phone</h1>
      <${AccountStrip} />
      <section aria-labelledby="live-title">
        <h2 id="live-title" class="hidden">Calls now</h2>
        ${live.map((call) => html`<${CallCard} key=${call.id} call=${call} current=${call.id === current} many=${live.length > 1} />`)}
        ${ready && !live.length && !ringing && html`<${Empty} icon="phone" title="No calls">Dial a number, or wait for one.<//>`}
      </section>
      ${ended.length > 0 && html`<section aria-labelledby="last-title" class="card last">
        <h2 id="last-title">Last calls</h2>
        <ul class="rows">${ended.slice(0, SHOWN).map((call) => html`<${LastCall} key=${call.id} call=${call} />`)}</ul>
      </section>`}
    </div>
    <${DialPad} />
  </div>`;
}

function AccountStrip() {
  const accounts = use((state) => state.accounts);
  const list = Object.values(accounts);
  return html`<ul class="strip" aria-label="Accounts">
    ${list.slice(0, 8).map((account) => html`<li key=${account.id}><a href="#/accounts"><span class=${`dot ${accountTone(account)}`}></span>
      <span class="strip-id">${account.id}</span><span class="muted">${ACCOUNT_STATES[account.state]}</span></a></li>`)}
    ${list.length > 8 && html`<li><a href="#/accounts">${list.length - 8} more</a></li>`}
  </ul>`;
}

function LastCall({ call }) {
  const missed = call.direction === 'in' && !call.answered_at;
  return html`<li class="row">
    <span class=${`direction ${missed ? 'missed' : call.direction}`}><${Icon} name=${missed ? 'missed' : call.direction === 'in' ? 'incoming' : 'outgoing'} /></span>
    <a class="row-main" href=${callLink(call.id)}><span class="name"><bdi>${peerName(call.peer)}</bdi></span>
      <span class="muted">${endText(call)}${call.answered_at ? ` · ${duration(call.duration_s)}` : ''}</span></a>
    <span class="muted row-when">${when(call.created_at)}</span>
    <button type="button" class="quiet" aria-label=${`Dial ${peerName(call.peer)} again`} title="Dial again" onClick=${() => redial(call)}><${Icon} name="phone" /></button>
  </li>`;
}
