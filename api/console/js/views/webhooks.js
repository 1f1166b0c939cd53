// Webhooks: where events are sent, whether they arrive, and a test of each.
import { html, useState } from '../lib.js';
import { fetchJson, post } from '../api.js';
import { when } from '../format.js';
import { Action, Badge, Empty, attempt, toast, useLinkTurn, useLoaded } from '../ui.js';

const path = (webhook) => `/v1/webhooks/${encodeURIComponent(webhook.id)}`;

export function Webhooks() {
  const turn = useLinkTurn();
  const { data, error, reload } = useLoaded(() => fetchJson('/v1/webhooks'), [turn]);
  const head = html`<div class="bar"><h1>Webhooks</h1><span class="grow"></span>${data && html`<${Action} scope="read" icon="refresh" label="Reload" run=${async () => reload()} />`}</div>`;
  if (error && !data) {
    const [title, text] = error.missing ? ['This phone has no webhooks', 'The daemon that runs here was built without them.'] : ['Not to be had', error.message];
    return html`${head}<${Empty} icon="webhook" title=${title}>${text}<//>`;
  }
  if (!data) return head;
  const list = data.data ?? [];
  return html`${head}
    ${!list.length && html`<${Empty} icon="webhook" title="No webhooks">A table [[webhooks]] in the configuration makes one.<//>`}
    <div class="cards">${list.map((webhook) => html`<${Webhook} key=${webhook.id} webhook=${webhook} />`)}</div>`;
}

function tone(status) {
  if (status === null || status === undefined) return '';
  if (typeof status === 'number') return status >= 200 && status < 300 ? 'ok' : 'bad';
  return /^(ok|delivered|2\d\d)/.test(status) ? 'ok' : /pending|retry|waiting/.test(status) ? 'warn' : 'bad';
}

function Webhook({ webhook }) {
  const [open, setOpen] = useState(false);
  const [turn, setTurn] = useState(0);
  const test = () => attempt('Test', async () => {
    await post(`${path(webhook)}/test`);
    toast('The test was sent.', 'ok');
    setOpen(true);
    setTurn((n) => n + 1);
  });
  return html`<article class="card" aria-label=${`Webhook ${webhook.url}`}>
    <div class="account-head"><div class="who"><h2 class="name mono">${webhook.url}</h2><p class="muted">${(webhook.events ?? []).join('  ')}</p></div>
      <div class="account-state"><${Badge} tone=${webhook.enabled === false ? 'warn' : 'ok'}>${webhook.enabled === false ? 'Off' : 'On'}<//>
        <span class="muted">last answer: <${Badge} tone=${tone(webhook.last_status)}>${String(webhook.last_status ?? 'none')}<//></span></div></div>
    <div class="call-buttons"><${Action} scope="admin" icon="webhook" label="Test" run=${test} />
      <button type="button" class="button" aria-expanded=${String(open)} onClick=${() => setOpen(!open)}>Deliveries</button></div>
    ${open && html`<${Deliveries} webhook=${webhook} mark=${turn} />`}
  </article>`;
}

function Deliveries({ webhook, mark }) {
  const { data, error, reload } = useLoaded(() => fetchJson(`${path(webhook)}/deliveries`), [webhook.id, mark]);
  if (error && !data) return html`<p class="muted">${error.message}</p>`;
  if (!data) return html`<p class="muted">Loading</p>`;
  const list = data.data ?? [];
  if (!list.length) return html`<p class="muted">Nothing was sent yet.</p>`;
  const again = (delivery) => attempt('Retry', async () => {
    await post(`${path(webhook)}/deliveries/${encodeURIComponent(delivery.id)}/retry`);
    reload();
  });
  return html`<div class="table-box"><table><thead><tr><th>When</th><th>Event</th><th>State</th><th>Answer</th><th>Attempts</th><th><span class="hidden">What to do</span></th></tr></thead>
    <tbody>${list.map((one) => html`<tr key=${one.id}><td>${when(one.created_at ?? one.time ?? one.last_attempt_at)}</td><td class="mono">${one.type ?? one.event ?? '–'}</td>
      <td><${Badge} tone=${tone(one.state)}>${one.state ?? '–'}<//></td><td>${String(one.last_status ?? one.status ?? one.last_error ?? '–')}</td><td class="numeric">${one.attempts ?? '–'}</td>
      <td class="row-actions"><${Action} scope="admin" icon="refresh" label="Retry" run=${() => again(one)} /></td></tr>`)}</tbody></table></div>`;
}
