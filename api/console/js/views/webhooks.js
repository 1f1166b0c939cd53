// Webhooks: where events are sent, whether they arrive, and a test of each.
import { html, useEffect, useState } from '../lib.js';
import { fetchJson, json, post } from '../api.js';
import { time, when } from '../format.js';
import { Action, Badge, Empty, Icon, attempt, linkIsLive, toast, useLinkTurn, useLoaded } from '../ui.js';

const path = (webhook) => `/v1/webhooks/${encodeURIComponent(webhook.id)}`;

export function Webhooks() {
  const turn = useLinkTurn();
  const { data, error, reload } = useLoaded(() => fetchJson('/v1/webhooks'), [turn]);
  const shown = data !== null;
  useEffect(() => {
    if (!shown) return undefined;
    const timer = setInterval(() => { if (!document.hidden && linkIsLive()) reload(); }, PERIOD_MS);
    return () => clearInterval(timer);
  }, [shown]);
  const head = html`<div class="bar"><h1>Webhooks</h1><span class="grow"></span>${data && html`<${Action} scope="read" icon="refresh" label="Reload" run=${async () => reload()} />`}</div>`;
  if (error && !data) {
    const [title, text] = error.missing ? ['This phone has no webhooks', 'The daemon that runs here was built without them.'] : ['Not to be had', error.message];
    return html`${head}<${Empty} icon="webhook" title=${title}>${text}<//>`;
  }
  if (!data) return head;
  const list = data.data ?? [];
  return html`${head}
    ${!list.length && html`<${Empty} icon="webhook" title="No webhooks">A table [[webhooks]] in the configuration makes one.<//>`}
    <div class="cards">${list.map((webhook) => html`<${Webhook} key=${webhook.id} webhook=${webhook} reload=${reload} />`)}</div>`;
}

const TONES = { delivered: 'ok', pending: 'warn', failed: 'bad' };
const PERIOD_MS = 5000;
const TEST_MS = 65_000; // a far end may take its time

const answerTone = (status) => (status >= 200 && status < 300 ? 'ok' : 'bad');

// What the far end said, or why nothing was heard of it.
const answerOf = ({ last_status: status, last_error: error }) => (status ? String(status) : error ?? '–');

function Webhook({ webhook, reload }) {
  const [open, setOpen] = useState(false);
  const [turn, setTurn] = useState(0);
  const enabled = webhook.enabled !== false;
  const test = () => attempt('Test', async () => {
    const sent = await json('POST', `${path(webhook)}/test`, { body: {}, deadlineMs: TEST_MS });
    const good = sent?.state === 'delivered';
    toast(good ? `The test was taken (${answerOf(sent)}).` : `The test was not taken: ${answerOf(sent ?? {})}`, good ? 'ok' : 'bad');
    setTurn((n) => n + 1);
    reload();
  });
  const turnOn = () => attempt(enabled ? 'Turn off' : 'Turn on', async () => {
    await json('PATCH', path(webhook), { body: { enabled: !enabled } });
    reload();
  });
  return html`<article class="card" aria-label=${`Webhook ${webhook.url}`}>
    <div class="account-head"><div class="who"><h2 class="name mono">${webhook.url}</h2><p class="muted">${(webhook.events ?? []).join('  ')}</p></div>
      <div class="account-state"><${Badge} tone=${enabled ? 'ok' : 'warn'}>${enabled ? 'On' : webhook.disabled_reason ? `Off: ${webhook.disabled_reason}` : 'Off'}<//>
        <span class="muted">${webhook.last_status ? html`last answer <${Badge} tone=${answerTone(webhook.last_status)}>${webhook.last_status}<//>` : 'no answer yet'}</span></div></div>
    ${(webhook.failing_since || webhook.pending > 0) && html`<p class="backoff">${webhook.failing_since ? `Failing since ${when(webhook.failing_since)}. ` : ''}${webhook.pending > 0 ? `${webhook.pending} wait to be sent.` : ''}</p>`}
    <div class="call-buttons"><${Action} scope="admin" icon="webhook" label="Test" run=${test} />
      <${Action} scope="admin" icon=${enabled ? 'pause' : 'play'} label=${enabled ? 'Turn off' : 'Turn on'} run=${turnOn} />
      <button type="button" class="button" aria-expanded=${String(open)} onClick=${() => setOpen(!open)}><${Icon} name="details" /><span>Deliveries</span></button></div>
    ${open && html`<${Deliveries} webhook=${webhook} mark=${turn} />`}
  </article>`;
}

function Deliveries({ webhook, mark }) {
  const { data, error, reload } = useLoaded(() => fetchJson(`${path(webhook)}/deliveries?limit=50`), [webhook.id, mark]);
  if (error && !data) return html`<p class="muted">${error.message}</p>`;
  if (!data) return html`<p class="muted">Loading</p>`;
  const list = data.data ?? [];
  if (!list.length) return html`<p class="muted">Nothing was sent yet.</p>`;
  const again = (delivery) => attempt('Send again', async () => {
    await post(`${path(webhook)}/deliveries/${encodeURIComponent(delivery.id)}/retry`);
    reload();
  });
  return html`<div class="table-box"><table><thead><tr><th>When</th><th>Event</th><th>State</th><th>Answer</th><th>Attempts</th><th><span class="hidden">What to do</span></th></tr></thead>
    <tbody>${list.map((one) => html`<tr key=${one.id}><td>${when(one.created_at)}</td><td class="mono">${one.type}</td>
      <td><${Badge} tone=${TONES[one.state]}>${String(one.state).replace(/_/g, ' ')}<//>${one.next_attempt_at && html` <span class="muted">next ${time(one.next_attempt_at)}</span>`}</td>
      <td>${answerOf(one)}</td><td class="numeric">${one.attempts}</td>
      <td class="row-actions"><${Action} scope="admin" icon="refresh" label="Send again" run=${() => again(one)} /></td></tr>`)}</tbody></table></div>`;
}
