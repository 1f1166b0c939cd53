// Accounts: what is wished for, what is, since when, what is done about it, and over which proxy.
import { html, useState } from '../lib.js';
import { register, retry, unregister, useProxy } from '../actions.js';
import { ACCOUNT_STATES, duration, facts, time } from '../format.js';
import { may, serverNow, use } from '../state.js';
import { Action, Badge, Empty, Field, useSeconds } from '../ui.js';

const GOOD = new Set(['online']);
const BUSY = new Set(['connecting', 'registering', 'suspect', 'unregistering', 'throttled']);
const PROXIES = ['auto', 'primary', 'backup'];
const SHOWN = 6;
const MANY = 12;
const CARDS = 48;

export function accountTone(account) {
  if (GOOD.has(account.state)) return 'ok';
  if (account.state === 'off') return '';
  return BUSY.has(account.state) ? 'warn' : 'bad';
}

export function Accounts() {
  const accounts = use((state) => state.accounts);
  const ready = use((state) => state.ready);
  useSeconds();
  const [words, setWords] = useState('');
  const all = Object.values(accounts);
  const many = all.length > MANY;
  // of many the troubled ones come first; a few stay where they are
  const sorted = many ? [...all].sort((a, b) => rank(a) - rank(b)) : all;
  const needle = words.trim().toLowerCase();
  const found = sorted.filter((account) => `${account.id} ${account.aor} ${account.state}`.toLowerCase().includes(needle));
  const list = found.slice(0, CARDS);
  return html`<div class="bar"><h1>Accounts</h1>${many && html`<span class="muted">${all.filter((one) => one.state === 'online').length} of ${all.length} online</span>
      <span class="grow"></span><label class="hidden" for="account-words">Filter</label>
      <input id="account-words" type="search" class="filter" placeholder="Filter" value=${words} onInput=${(event) => setWords(event.target.value)} maxlength="100" />`}</div>
    ${ready && !all.length && html`<${Empty} icon="account" title="No accounts">phoned init writes a first one.<//>`}
    <div class="cards">${list.map((account) => html`<${Account} key=${account.id} account=${account} />`)}</div>
    ${found.length > list.length && html`<p class="muted">${found.length - list.length} more: use the filter.</p>`}`;
}

const rank = (account) => ['bad', 'warn', 'ok', ''].indexOf(accountTone(account));

function Account({ account }) {
  const wait = use((state) => state.retries[account.id]);
  const { registration, outbound_proxy: proxy } = account;
  const forS = (serverNow() - Date.parse(account.since)) / 1000;
  const leftS = registration.expires_at ? (Date.parse(registration.expires_at) - serverNow()) / 1000 : null;
  const error = registration.last_error;
  const wished = account.desired === 'registered';
  return html`<article class="card account" aria-label=${`Account ${account.id}`}>
    <div class="account-head">
      <div class="who"><h2 class="name">${account.id}</h2><p class="muted">${account.aor}</p></div>
      <div class="account-state"><${Badge} tone=${accountTone(account)}>${ACCOUNT_STATES[account.state]}<//><span class="muted">for ${duration(forS)}</span></div>
    </div>
    ${wait && account.state !== 'online' && html`<${Backoff} wait=${wait} />`}
    <div class="call-buttons">
      ${wished && account.state !== 'online' && html`<${Action} icon="refresh" kind="primary" label="Try now" run=${() => retry(account)} />`}
      ${wished && account.state !== 'off' ? html`<${Action} icon="leave" label="Unregister" confirm="Really unregister?" run=${() => unregister(account)} />`
        : html`<${Action} icon="account" kind="primary" label="Register" run=${() => register(account)} />`}
    </div>
    <dl class="fields">
      <${Field} name="Wish">${wished ? 'be registered' : 'be off'}<//>
      <${Field} name="Registration">${leftS === null ? '–' : leftS > 0 ? `good for ${duration(leftS)}` : 'over'}<//>
      <${Field} name="Flow">${registration.flow_generation || '–'}<//>
      <${Field} name="Last failure">${error ? `${error.cause}${error.sip_code ? ` (${error.sip_code})` : ''}` : 'none'}<//>
      ${error?.detail && html`<${Field} name="Detail" whole>${error.detail}<//>`}
      ${account.mailbox && html`<${Field} name="Mailbox">${mailbox(account.mailbox)}<//>`}
      <${Field} name="Contact" mono whole>${registration.contact}<//>
    </dl>
    <${Proxy} account=${account} proxy=${proxy} />
    <${History} account=${account} />
  </article>`;
}

function mailbox({ waiting, new: fresh, old }) {
  if (fresh === null || fresh === undefined) return waiting ? 'messages wait' : 'empty';
  return `${fresh} new, ${old ?? 0} old`;
}

function Backoff({ wait }) {
  const inS = (wait.at - serverNow()) / 1000;
  return html`<p class="backoff" role="status">Attempt ${wait.n + 1} ${inS >= 1 ? html`in <strong>${Math.ceil(inS)} s</strong>` : html`<strong>now</strong>`}<span class="muted"> · last: ${wait.cause}</span></p>`;
}

function Proxy({ account, proxy }) {
  return html`<div class="proxy">
    <dl class="fields"><${Field} name="Proxy in use" mono>${proxy.active}<//>${proxy.backup && html`<${Field} name="Backup" mono>${proxy.active === proxy.backup ? proxy.primary : proxy.backup}<//>`}</dl>
    ${proxy.backup && html`<div class="segments" role="group" aria-label="Outbound proxy">
      ${PROXIES.map((use_) => html`<${Action} key=${use_} scope="admin" label=${use_} pressed=${proxy.mode === use_} run=${() => useProxy(account, use_)} />`)}
    </div>`}
    ${proxy.backup && !may('admin') && html`<p class="muted small">Choosing the proxy needs the scope “admin”.</p>`}
  </div>`;
}

function History({ account }) {
  const events = use((state) => state.events);
  const mine = events.filter((event) => event.data.account?.id === account.id && event.type.startsWith('account.')).slice(-SHOWN).reverse();
  if (!mine.length) return null;
  return html`<section><h3>What happened</h3><ol class="timeline">
    ${mine.map((event) => html`<li key=${event.id} class=${eventTone(event.type)}><time>${time(event.time)}</time>
      <span>${event.type.slice(8).replace(/_/g, ' ')}</span><span class="muted">${facts(event.data)}</span></li>`)}
  </ol></section>`;
}

export function eventTone(type) {
  if (/failed|lost|gave_up|tls_error|stalled|no_inbound|stopping/.test(type)) return 'bad';
  if (/reconnecting|throttled|unregistered|draining|fallback|gap/.test(type)) return 'warn';
  if (/reconnected|registered|answered|verified|recovered|started/.test(type)) return 'ok';
  return '';
}
