// What was repaired: the finished repairs from the stats, and the events that tell how each went.
import { html } from '../lib.js';
import { fetchJson } from '../api.js';
import { facts, milliseconds, time } from '../format.js';
import { use } from '../state.js';
import { Badge, Empty, useLinkTurn, useLoaded } from '../ui.js';
import { eventTone } from './accounts.js';

const PLANES = { signalling: 'Signalling', media: 'Audio', both: 'Signalling and audio' };
const TIERS = ['by itself', 'another path (ICE restart)', 'new association'];
const TOLD = /^call\.(reconnect|dialog_verified|media_|no_inbound|lost|codec_fallback|answered|ended|created|incoming|held|unheld)/;

export function Recovery({ call }) {
  const turn = useLinkTurn();
  const events = use((state) => state.events);
  const mine = events.filter((event) => event.data.call?.id === call.id && TOLD.test(event.type));
  const { data } = useLoaded(() => fetchJson(`/v1/calls/${encodeURIComponent(call.id)}/stats`), [call.id, mine.length, turn]);
  const repairs = data?.recoveries ?? [];
  const longest = Math.max(1, ...repairs.map(({ gap_ms }) => gap_ms));
  return html`<section class="card">
    <h2>Repairs</h2>
    ${!repairs.length ? html`<${Empty} icon="repair" title=${call.recovering ? 'The first one is under way' : 'Nothing had to be repaired'} />`
      : html`<div class="table-box"><table><thead><tr><th>When</th><th>What</th><th>Why</th><th>How</th><th>Attempts</th><th>Gap in the sound</th></tr></thead><tbody>
        ${repairs.map((one, index) => html`<tr key=${index}><td>${time(one.at)}</td><td>${PLANES[one.plane]}</td><td><${Badge}>${one.cause.replace(/_/g, ' ')}<//></td>
          <td class="muted">${TIERS[one.tier]}</td><td>${one.attempts}</td>
          <td>${one.gap_ms ? html`<span class="gap"><span class="gap-bar" style=${{ width: `${Math.max(2, (one.gap_ms / longest) * 100)}%` }}></span></span> ${milliseconds(one.gap_ms)}` : 'none'}</td></tr>`)}
      </tbody></table></div>`}
    <h2>Timeline</h2>
    ${mine.length ? html`<ol class="timeline">${mine.map((event) => html`<li key=${event.id} class=${eventTone(event.type)}><time>${time(event.time)}</time>
      <span>${event.type.slice(5).replace(/_/g, ' ')}</span><span class="muted">${facts(event.data)}</span></li>`)}</ol>`
      : html`<p class="muted">Its events are older than what this page has read.</p>`}
  </section>`;
}
