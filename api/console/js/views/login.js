// The login: a token or a link, pasted once. With `over` it lies over a page whose session has ended.
import { html, useEffect, useRef, useState } from '../lib.js';
import { logInWith } from '../session.js';
import { set, use } from '../state.js';
import { Icon } from '../ui.js';

export function Login({ over }) {
  const first = use((state) => state.loginError);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const field = useRef(null);
  useEffect(() => { field.current?.focus(); }, []);
  const submit = async (event) => {
    event.preventDefault();
    if (busy || !field.current.value.trim()) return;
    setBusy(true);
    set({ loginError: null });
    try {
      await logInWith(field.current.value);
    } catch (failure) {
      setBusy(false);
      setError(failure.status === 401 ? 'This token or link is not good (any more). Make another one.' : failure.message);
      field.current?.select();
    }
  };
  const shown = error ?? first;
  return html`<div class=${`login ${over ? 'login-over' : ''}`} role=${over ? 'dialog' : null} aria-modal=${over ? 'true' : null} aria-labelledby="login-title">
    <form class="login-card" onSubmit=${submit}>
      <img src="icon.svg" alt="" width="48" height="48" />
      <h1 id="login-title">${over ? 'Session ended' : 'phoned'}</h1>
      ${over && html`<p class="muted">${over}</p>`}
      <label for="token">Token or link</label>
      <input id="token" ref=${field} type="password" autocomplete="off" spellcheck="false" maxlength="512"
        aria-describedby="login-help" aria-invalid=${shown ? 'true' : null} />
      ${shown && html`<p class="form-error" role="alert">${shown}</p>`}
      <button type="submit" class="button primary wide" disabled=${busy}><${Icon} name="leave" /><span>${busy ? 'Checking' : 'Log in'}</span></button>
      <div id="login-help" class="login-help">
        <p>On the machine of the phone, run</p>
        <pre><code>phoned token --console</code></pre>
        <p>and open the link that it prints, or paste it here. It is good once.</p>
      </div>
    </form>
  </div>`;
}
