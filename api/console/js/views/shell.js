// What is around every page: navigation, how the link to the daemon is, an incoming call wherever one is.
import { html, useEffect, useRef } from '../lib.js';
import { answer, hangup, reject, setDoNotDisturb, toggleHold, toggleMute } from '../actions.js';
import { tryNow } from '../feed.js';
import { peerDetail, peerName, time } from '../format.js';
import { useKeys } from '../keys.js';
import { PAGES, callLink, go, useRoute } from '../router.js';
import { logOut } from '../session.js';
import { get, may, set, use } from '../state.js';
import { Action, Icon, Toasts, useSeconds } from '../ui.js';
import { currentCall, isIncoming, liveCalls } from '../world.js';
import { Accounts } from './accounts.js';
import { CallPage } from './call.js';
import { Events } from './events.js';
import { Help } from './help.js';
import { Network } from './network.js';
import { Phone } from './phone.js';
import { Recordings } from './recordings.js';
import { Webhooks } from './webhooks.js';

const VIEWS = { '': Phone, accounts: Accounts, events: Events, recordings: Recordings, network: Network, webhooks: Webhooks, call: CallPage };

export function Shell() {
  const { page, id } = useRoute();
  const View = VIEWS[page];
  const over = use((state) => state.sessionOver);
  const stale = use((state) => state.ready && state.link.phase !== 'live');
  const main = useRef(null);
  const before = useRef(`${page}/${id}`);
  useEffect(() => {
    if (before.current === `${page}/${id}`) return;
    before.current = `${page}/${id}`;
    main.current?.focus({ preventScroll: true }); // a new page is read from its top
    main.current?.scrollTo(0, 0);
  }, [page, id]);
  useShortcuts();
  return html`<div class="shell" inert=${Boolean(over)}>
    <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); main.current?.focus(); }}>Skip to the page</a>
    <${Header} page=${page} />
    <${Banner} />
    <${Incoming} shown=${page === 'call' ? id : null} />
    <main id="main" ref=${main} tabindex="-1" class=${`page page-${page || 'phone'} ${stale ? 'stale' : ''}`}><${View} key=${id ?? page} id=${id} /></main>
    <${Toasts} />
    <${Help} />
  </div>`;
}

function useShortcuts() {
  const onCall = (act, fits = () => true) => () => {
    const call = currentCall(get());
    if (!call || !fits(call)) return false;
    act(call);
    return true;
  };
  const onRinging = (act) => () => {
    const call = liveCalls(get().calls).find(isIncoming);
    if (!call) return false;
    act(call);
    return true;
  };
  const active = (call) => call.state === 'active';
  useKeys({
    ...Object.fromEntries(PAGES.map(({ key, path }) => [key, () => go(path)])),
    a: onRinging(answer),
    x: onRinging(reject),
    h: onCall(hangup),
    o: onCall(toggleHold, active),
    m: onCall(toggleMute, active),
    i: onCall((call) => { location.hash = callLink(call.id); }),
    d: () => (get().doNotDisturb === null || !may('call') ? false : setDoNotDisturb(!get().doNotDisturb)),
    '?': () => set({ help: true }),
  });
}

function Header({ page }) {
  const draining = use((state) => state.status?.draining);
  const shown = page === 'call' ? '' : page;
  return html`<header class="top">
    <a class="brand" href="#/" aria-label="phoned, to the dial pad"><img src="icon.svg" alt="" width="28" height="28" /><span>phoned</span></a>
    <nav aria-label="Pages"><ul>
      ${PAGES.map(({ path, name, icon, key }) => html`<li key=${path}>
        <a href=${`#/${path}`} aria-current=${path === shown ? 'page' : null} aria-keyshortcuts=${key}><${Icon} name=${icon} /><span>${name}</span></a>
      </li>`)}
    </ul></nav>
    <div class="top-end">
      ${draining && html`<span class="badge warn" title="The phone takes no new calls">Draining</span>`}
      <${Disturb} />
      <${LinkState} />
      <button type="button" class="quiet" aria-label="Keyboard shortcuts" aria-keyshortcuts="?" title="Keyboard shortcuts (?)" onClick=${() => set({ help: true })}><${Icon} name="help" /></button>
      <button type="button" class="quiet" aria-label="Log out" title="Log out" onClick=${logOut}><${Icon} name="leave" /></button>
    </div>
  </header>`;
}

function Disturb() {
  const on = use((state) => state.doNotDisturb);
  use((state) => state.session?.scope);
  if (on === null) return null;
  const name = on ? 'Do not disturb: incoming calls are refused' : 'Incoming calls ring';
  return html`<button type="button" class=${`quiet ${on ? 'on' : ''}`} aria-label="Do not disturb" aria-pressed=${String(on)} aria-keyshortcuts="d" disabled=${!may('call')}
    title=${`${name} (D)`} onClick=${() => setDoNotDisturb(!on)}><${Icon} name=${on ? 'silent' : 'bell'} /></button>`;
}

const LINK = {
  live: ['ok', 'Live'], connecting: ['warn', 'Connecting'], away: ['bad', 'Away'], silent: ['bad', 'No answer'],
};

function LinkState() {
  const phase = use((state) => state.link.phase);
  const node = use((state) => state.status?.node);
  const version = use((state) => state.status?.version);
  const [tone, text] = LINK[phase];
  return html`<span class="link-state" role="status" title=${node ? `${node}, phoned ${version}` : null}><span class=${`dot ${tone}`}></span>${text}</span>`;
}

function Banner() {
  const link = use((state) => state.link);
  const away = link.phase === 'away' || link.phase === 'silent';
  useSeconds(away);
  useEffect(() => {
    const ringing = () => liveCalls(get().calls).find(isIncoming);
    const call = ringing();
    document.title = away ? 'Away · phoned' : call ? `${peerName(call.peer)} calls` : 'phoned';
  });
  if (!away) return null;
  const inS = link.retryAt ? Math.max(0, Math.ceil((link.retryAt - Date.now()) / 1000)) : null;
  const what = link.phase === 'silent' ? 'The daemon is connected but does not answer.' : 'The daemon is away.';
  return html`<div class="banner bad">
    <p role="alert"><strong>${what}</strong> ${link.seen ? html`What you see is from ${time(link.seen)}.` : ''}</p>
    ${link.phase === 'away' && html`<span class="banner-next">${inS ? `Trying again in ${inS} s` : 'Trying now'}</span>
      <button type="button" class="button" onClick=${tryNow}><${Icon} name="refresh" /><span>Try now</span></button>`}
  </div>`;
}

// Rings on every page but its own.
function Incoming({ shown }) {
  const calls = use((state) => state.calls);
  const ringing = liveCalls(calls).filter((call) => isIncoming(call) && call.id !== shown);
  return html`<div class="incoming-list" aria-live="assertive">
    ${ringing.map((call) => html`<section key=${call.id} class="incoming" aria-label="Incoming call">
      <span class="ring" aria-hidden="true"><${Icon} name="phone" /></span>
      <div class="who"><p class="name"><bdi>${peerName(call.peer)}</bdi></p><p class="muted">calls ${call.account}${peerDetail(call.peer) && html` · <bdi>${peerDetail(call.peer)}</bdi>`}</p></div>
      <${Action} kind="go" icon="phone" label="Answer" hint="A" run=${() => answer(call)} />
      <${Action} kind="danger" icon="hangup" label="Reject" hint="X" run=${() => reject(call)} />
      <a class="button" href=${callLink(call.id)}><${Icon} name="details" /><span>Details</span></a>
    </section>`)}
  </div>`;
}
