// Small parts that every page uses, and the hooks behind them.
import { html, useEffect, useRef, useState } from './lib.js';
import { ICONS } from './icons.js';
import { get, may, set, use } from './state.js';

export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path d=${ICONS[name]} /></svg>`;
}

const NEEDS = {
  call: 'Needs a token of the scope “call”',
  admin: 'Needs a token of the scope “admin”: phoned token --scope admin',
};

// A button that does something at the daemon: busy while it does, and closed to whoever may not.
export function Action({ run, scope = 'call', icon, label, kind = '', iconOnly = false, hint, disabled, pressed, confirm, name }) {
  const [busy, setBusy] = useState(false);
  const [asking, setAsking] = useState(false);
  const alive = useRef(true);
  use((state) => state.session?.scope);
  useEffect(() => () => { alive.current = false; }, []);
  useEffect(() => {
    if (!asking) return undefined;
    const timer = setTimeout(() => setAsking(false), 4000);
    return () => clearTimeout(timer);
  }, [asking]);
  const allowed = may(scope);
  const act = async () => {
    if (busy) return;
    if (confirm && !asking) {
      setAsking(true);
      return;
    }
    setAsking(false);
    setBusy(true);
    try {
      await run();
    } finally {
      if (alive.current) setBusy(false);
    }
  };
  const text = asking ? confirm : label;
  return html`<button type="button" class=${`button ${kind} ${iconOnly ? 'icon-only' : ''} ${asking ? 'asking' : ''}`} onClick=${act}
    disabled=${disabled || !allowed} aria-busy=${busy ? 'true' : null} aria-pressed=${pressed === undefined ? null : String(pressed)}
    aria-label=${iconOnly ? text : name ?? null} title=${allowed ? (iconOnly ? text : null) : NEEDS[scope]}>
    ${icon && html`<${Icon} name=${icon} />`}${iconOnly ? null : html`<span>${text}</span>`}${hint && html`<${Key}>${hint}<//>`}
  </button>`;
}

export const Key = ({ children }) => html`<kbd aria-hidden="true">${children}</kbd>`;

export const Badge = ({ tone = '', children, title }) => html`<span class=${`badge ${tone}`} title=${title}>${children}</span>`;

export const Empty = ({ icon, title, children }) => html`<div class="empty">
  ${icon && html`<${Icon} name=${icon} />`}<p class="empty-title">${title}</p>${children && html`<p>${children}</p>`}
</div>`;

export const Field = ({ name, children, mono, whole }) => html`<div class=${whole ? 'field whole' : 'field'}><dt>${name}</dt><dd class=${mono ? 'mono' : ''}>${children ?? '–'}</dd></div>`;

// Renders each second: for what shows how long something has been so.
export function useSeconds(on = true) {
  const [, force] = useState(0);
  useEffect(() => {
    if (!on) return undefined;
    const timer = setInterval(() => force((n) => n + 1), 1000);
    return () => clearInterval(timer);
  }, [on]);
}

// Loads what a page shows: {data, error, reload}. What was loaded stays while it is loaded again.
export function useLoaded(load, dependencies) {
  const [found, setFound] = useState({ data: null, error: null });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let current = true;
    load().then(
      (data) => { if (current) setFound({ data, error: null }); },
      (error) => { if (current) setFound((before) => ({ data: before.data, error })); },
    );
    return () => { current = false; };
  }, [...dependencies, turn]);
  return { ...found, reload: () => setTurn((n) => n + 1) };
}

// True again each time the daemon has come back: pages load again then.
export const useLinkTurn = () => use((state) => (state.link.phase === 'live' ? state.link.turn ?? 0 : -1));

let toastNumber = 0;

export function toast(text, tone = '') {
  const id = (toastNumber += 1);
  set((now) => ({ toasts: [...now.toasts, { id, text, tone }].slice(-4) }));
  setTimeout(() => dismiss(id), tone === 'bad' ? 9000 : 4000);
}

export const dismiss = (id) => set((now) => ({ toasts: now.toasts.filter((item) => item.id !== id) }));

export function Toasts() {
  const toasts = use((state) => state.toasts);
  return html`<div class="toasts" role="status" aria-live="polite">
    ${toasts.map(({ id, text, tone }) => html`<div key=${id} class=${`toast ${tone}`}>
      <p>${text}</p><button type="button" class="quiet" aria-label="Dismiss" onClick=${() => dismiss(id)}><${Icon} name="close" /></button>
    </div>`)}
  </div>`;
}

// Runs a command of the daemon and says when it failed. True when it worked.
export async function attempt(what, run) {
  try {
    await run();
    return true;
  } catch (error) {
    // 401 has its own dialog; 410: the call ended meanwhile, as everybody sees
    if (error.status !== 401 && error.status !== 410) toast(`${what}: ${error.message}`, 'bad');
    return false;
  }
}

export const linkIsLive = () => get().link.phase === 'live';
