// Which keys do what.
import { html, useEffect, useRef, useState } from '../lib.js';
import { lettersOn, setLetters } from '../keys.js';
import { PAGES } from '../router.js';
import { set, use } from '../state.js';

const GROUPS = [
  ['Calls', [['A', 'Answer'], ['X', 'Reject'], ['H', 'Hang up'], ['O', 'Hold, resume'], ['M', 'Mute, unmute'], ['I', 'Details of the call'], ['D', 'Do not disturb']]],
  ['Dial pad', [['0–9 * #', 'Dial, or send tones'], ['/', 'To the number'], ['Enter', 'Call'], ['Backspace', 'Erase'], ['T', 'Tones or numbers']]],
  ['Pages', [...PAGES.map(({ key, name }) => [key.toUpperCase(), name]), ['?', 'This help'], ['Esc', 'Close, leave a field']]],
];

export function Help() {
  const open = use((state) => state.help);
  const [letters, setOn] = useState(lettersOn());
  const dialog = useRef(null);
  useEffect(() => {
    if (open && !dialog.current.open) dialog.current.showModal();
    if (!open && dialog.current.open) dialog.current.close();
  }, [open]);
  const toggle = (event) => {
    setLetters(event.target.checked);
    setOn(event.target.checked);
  };
  return html`<dialog ref=${dialog} class="help" aria-labelledby="help-title" onClose=${() => set({ help: false })}
    onClick=${(event) => { if (event.target === dialog.current) set({ help: false }); }}>
    <div class="help-body">
      <h2 id="help-title">Keyboard</h2>
      <div class="help-groups">
        ${GROUPS.map(([title, keys]) => html`<section key=${title}><h3>${title}</h3><dl>
          ${keys.map(([key, what]) => html`<div key=${key}><dt><kbd>${key}</kbd></dt><dd>${what}</dd></div>`)}
        </dl></section>`)}
      </div>
      <div class="help-end">
        <label class="check"><input type="checkbox" checked=${letters} onChange=${toggle} /> Single letters do something</label>
        <button type="button" class="button" onClick=${() => set({ help: false })}>Close</button>
      </div>
    </div>
  </dialog>`;
}
