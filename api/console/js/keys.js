// The keyboard: one listener; pages say what keys mean while they are shown. Letters can be turned off (WCAG 2.1.4).
import { useEffect, useRef } from './lib.js';
import { get } from './state.js';

const KEY = 'phoned.keys';
const layers = [];

export function lettersOn() {
  try {
    return localStorage.getItem(KEY) !== 'off';
  } catch {
    return true;
  }
}

export function setLetters(on) {
  try {
    if (on) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, 'off');
  } catch {
    // then it lasts until the page is left
  }
}

const isField = (element) => element instanceof HTMLElement && (/^(INPUT|TEXTAREA|SELECT)$/.test(element.tagName) || element.isContentEditable);

function handle(event) {
  if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
  if (get().sessionOver || document.querySelector('dialog[open]')) return;
  if (isField(event.target)) {
    if (event.key === 'Escape') event.target.blur();
    return;
  }
  // what a focused button does with these is its own affair
  if ((event.key === 'Enter' || event.key === ' ') && event.target !== document.body) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (/^[a-z]$/.test(key) && (!lettersOn() || event.repeat)) return;
  for (const layer of [...layers].reverse()) {
    const meaning = layer.current[key];
    if (meaning && meaning(event) !== false) {
      event.preventDefault();
      return;
    }
  }
}

document.addEventListener('keydown', handle);

// While the component is shown: {key: function}; one that returns false passes the key on.
export function useKeys(meanings) {
  const layer = useRef(meanings);
  layer.current = meanings;
  useEffect(() => {
    layers.push(layer);
    return () => { layers.splice(layers.indexOf(layer), 1); };
  }, []);
}
