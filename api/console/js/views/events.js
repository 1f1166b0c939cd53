// What happens, as it happens: filtered by kind and by words; a row opens to the whole event.
import { html, useState } from '../lib.js';
import { facts, subject, time, when } from '../format.js';
import { callLink } from '../router.js';
import { use } from '../state.js';
import { Badge, Empty, Icon } from '../ui.js';
import { eventTone } from './accounts.js';

const KINDS = ['account', 'call', 'message', 'recording', 'network', 'system'];
const SHOWN = 300;

const kindOf = ({ type }) => {
  const kind = type.split('.')[0];
  return kind === 'playback' ? 'recording' : KINDS.includes(kind) ? kind : 'system';
};

export function Events() {
  const live = use((state) => state.events);
  const ready = use((state) => state.ready);
  const [held, setHeld] = useState(null);
  const [off, setOff] = useState(new Set());
  const [quality, setQuality] = useState(false);
  const [words, setWords] = useState('');
  const events = held ?? live;
  const needle = words.trim().toLowerCase();
  const fits = (event) => !off.has(kindOf(event)) && (quality || event.type !== 'call.quality')
    && (!needle || `${event.type} ${subject(event.data)} ${facts(event.data)} ${event.data.call?.id ?? ''}`.toLowerCase().includes(needle));
  const found = [];
  for (let index = events.length - 1; index >= 0 && found.length < SHOWN; index -= 1) if (fits(events[index])) found.push(events[index]);
  const toggle = (kind) => setOff((before) => {
    const next = new Set(before);
    if (!next.delete(kind)) next.add(kind);
    return next;
  });
  const waiting = held ? live.filter((event) => event.seq > (held[held.length - 1]?.seq ?? 0)).length : 0;
  return html`<div class="bar events-bar"><h1>Events</h1><span class="grow"></span>
      <label class="hidden" for="words">Filter</label>
      <input id="words" class="filter" type="search" placeholder="Filter" value=${words} onInput=${(event) => setWords(event.target.value)} maxlength="100" />
      <button type="button" class="button" aria-pressed=${String(Boolean(held))} onClick=${() => setHeld(held ? null : live)}>
        <${Icon} name=${held ? 'play' : 'pause'} /><span>${held ? `Go on (${waiting} new)` : 'Pause'}</span></button></div>
    <div class="chips" role="group" aria-label="Kinds of events">
      ${KINDS.map((kind) => html`<button type="button" key=${kind} class="chip" aria-pressed=${String(!off.has(kind))} onClick=${() => toggle(kind)}>${kind}</button>`)}
      <button type="button" class="chip" aria-pressed=${String(quality)} onClick=${() => setQuality(!quality)}>quality reports</button>
    </div>
    ${ready && !found.length && html`<${Empty} icon="events" title="No events">${words || off.size ? 'None fits the filter.' : 'Nothing has happened yet.'}<//>`}
    <ol class="events">${found.map((event) => html`<${Row} key=${event.id} event=${event} />`)}</ol>`;
}

function Row({ event }) {
  const [open, setOpen] = useState(false);
  const { data } = event;
  return html`<li class="event"><details onToggle=${({ target }) => setOpen(target.open)}>
    <summary><time title=${when(event.time)}>${time(event.time)}</time><${Badge} tone=${eventTone(event.type)}>${event.type}<//>
      <span class="event-subject"><bdi>${subject(data)}</bdi></span><span class="muted event-facts"><bdi>${facts(data)}</bdi></span></summary>
    ${open && html`<div class="event-open">${data.call && html`<a href=${callLink(data.call.id)}>To the call</a>`}<pre>${JSON.stringify(event, null, 2)}</pre></div>`}
  </details></li>`;
}
