// The machine's network as the phone sees it, and the changes that mattered.
import { html } from '../lib.js';
import { checkNetwork } from '../actions.js';
import { fetchJson } from '../api.js';
import { when } from '../format.js';
import { set, use } from '../state.js';
import { Action, Badge, Empty, useLinkTurn, useLoaded } from '../ui.js';

export function Network() {
  const turn = useLinkTurn();
  const network = use((state) => state.network);
  const { error } = useLoaded(async () => set({ network: await fetchJson('/v1/network') }), [turn]);
  const head = html`<div class="bar"><h1>Network</h1><span class="grow"></span><${Action} scope="admin" icon="refresh" label="Check now" run=${checkNetwork} /></div>`;
  if (!network) return html`${head}${error && html`<${Empty} icon="network" title="Not known">${error.message}<//>`}`;
  const changes = [...network.changes].reverse();
  return html`${head}
    <p class="muted">Watched by ${network.source} · generation ${network.generation}</p>
    <section class="card table-box"><h2>Interfaces</h2><table><thead><tr><th>Name</th><th>Kind</th><th>State</th><th>Addresses</th></tr></thead>
      <tbody>${network.interfaces.map((one) => html`<tr key=${one.name}><td class="mono">${one.name}</td><td>${one.kind}</td>
        <td>${one.ignored ? html`<${Badge}>ignored<//>` : one.up && one.carrier ? html`<${Badge} tone="ok">up<//>` : html`<${Badge} tone="bad">${one.up ? 'no carrier' : 'down'}<//>`}</td>
        <td class="mono">${one.addresses.join('  ') || '–'}</td></tr>`)}</tbody></table></section>
    <section class="card table-box"><h2>Routes</h2><table><thead><tr><th>To</th><th>Over</th><th>Gateway</th><th>From</th><th>Metric</th></tr></thead>
      <tbody>${network.routes.map((one, index) => html`<tr key=${index}><td class="mono">${one.destination === 'default' ? `default (${one.family})` : one.destination}</td>
        <td class="mono">${one.device ?? 'refused'}</td><td class="mono">${one.gateway ?? '–'}</td><td class="mono">${one.source ?? '–'}</td><td class="numeric">${one.metric}</td></tr>`)}</tbody></table></section>
    <section class="card"><h2>Changes</h2>
      ${!changes.length ? html`<p class="muted">None since the phone was started.</p>` : html`<ol class="timeline">
        ${changes.map((change) => html`<li key=${change.generation} class=${change.became_unusable.length ? 'bad' : ''}><time>${when(change.at)}</time>
          <span>${change.reasons.join('; ') || change.trigger || 'looked at'}</span>
          <span class="muted">${change.became_unusable.length ? `lost: ${change.became_unusable.join(', ')}` : ''}${change.trigger && change.reasons.length ? ` · ${change.trigger}` : ''}</span></li>`)}
      </ol>`}</section>`;
}
