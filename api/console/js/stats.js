// How calls sound right now: asked for only while somebody looks, and only for the calls that are shown.
import { useEffect } from './lib.js';
import { fetchJson } from './api.js';
import { get, patchIn } from './state.js';
import { linkIsLive } from './ui.js';

const PERIOD_MS = 500;
const AT_ONCE = 6;

async function ask(id) {
  try {
    patchIn('stats', id, await fetchJson(`/v1/calls/${encodeURIComponent(id)}/stats`, { deadlineMs: 4000 }));
  } catch {
    // the link tells of it
  }
}

export function useStats(ids) {
  const key = ids.slice(0, AT_ONCE).join(' ');
  useEffect(() => {
    if (!key) return undefined;
    let timer = null;
    let on = true;
    const turn = async () => {
      if (!document.hidden && linkIsLive() && !get().sessionOver) await Promise.all(key.split(' ').map(ask));
      if (on) timer = setTimeout(turn, PERIOD_MS);
    };
    turn();
    return () => {
      on = false;
      clearTimeout(timer);
    };
  }, [key]);
}

// dBov (0 the loudest, -127 silence) as a share of a bar that begins at -60.
export const share = (dbov) => (dbov === null || dbov === undefined ? 0 : Math.max(0, Math.min(1, (dbov + 60) / 60)));
