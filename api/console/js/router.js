// The page that is shown stands in the fragment: `#/calls/call_...`. It is never sent to the daemon.
import { useEffect, useState } from './lib.js';

export const PAGES = [
  { path: '', name: 'Phone', icon: 'phone', key: 'p' },
  { path: 'accounts', name: 'Accounts', icon: 'account', key: 'u' },
  { path: 'events', name: 'Events', icon: 'events', key: 'e' },
  { path: 'recordings', name: 'Recordings', icon: 'record', key: 'r' },
  { path: 'network', name: 'Network', icon: 'network', key: 'n' },
  { path: 'webhooks', name: 'Webhooks', icon: 'webhook', key: 'w' },
];

export function route() {
  const [page = '', id = null] = location.hash.replace(/^#\/?/, '').split('/');
  if (page === 'calls' && id) return { page: 'call', id: decode(id) };
  return { page: PAGES.some(({ path }) => path === page) ? page : '', id: null };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export const go = (path) => { location.hash = `#/${path}`; };

export const callLink = (id) => `#/calls/${encodeURIComponent(id)}`;

export function useRoute() {
  const [found, setFound] = useState(route());
  useEffect(() => {
    const look = () => setFound(route());
    addEventListener('hashchange', look);
    look();
    return () => removeEventListener('hashchange', look);
  }, []);
  return found;
}
