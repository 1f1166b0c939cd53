// The SIP of a call as a ladder: phoned on the left, the server on the right, a message a row; a row opens.
import { html } from '../lib.js';
import { fetchJson, send } from '../api.js';
import { clock, time } from '../format.js';
import { use } from '../state.js';
import { Action, Empty, attempt, useLinkTurn, useLoaded } from '../ui.js';
import { saveBlob } from '../save.js';

// The start line, and for a response the request that it answers.
export function summary(text) {
  const [head, body = ''] = text.split('\r\n\r\n');
  const [first, ...fields] = head.split('\r\n');
  const sdp = body.startsWith('v=0');
  if (!first.startsWith('SIP/2.0 ')) {
    const [method, uri] = first.split(' ');
    return { title: method, detail: uri ?? '', tone: 'request', sdp };
  }
  const status = first.slice(8);
  const cseq = fields.find((line) => /^cseq\s*:/i.test(line)) ?? '';
  const tone = /^1/.test(status) ? 'progress' : /^2/.test(status) ? 'success' : /^40[17]/.test(status) ? 'challenge' : 'failure';
  return { title: status, detail: cseq.trim().split(/\s+/).pop() ?? '', tone, sdp };
}

export function Ladder({ call }) {
  const turn = useLinkTurn();
  // a new message may have passed with any of these
  const mark = use((state) => state.events.reduce((last, event) => (event.data.call?.id === call.id && event.type !== 'call.quality' ? event.seq : last), 0));
  const path = `/v1/calls/${encodeURIComponent(call.id)}/trace`;
  const { data, error, reload } = useLoaded(() => fetchJson(path), [call.id, mark, turn]);
  if (error && !data) return html`<${Empty} icon="details" title="No trace">${error.message}<//>`;
  if (!data) return html`<p class="muted">Loading</p>`;
  const save = (accept, ending) => attempt('Download', async () => saveBlob(await (await send('GET', path, { accept })).blob(), `${call.id}.${ending}`));
  let flow = null;
  const began = data.messages.length ? Date.parse(data.messages[0].time) : 0;
  return html`<section class="card ladder-card">
    <div class="bar"><p class="muted">${data.messages.length} messages${data.complete ? '' : ', not all are kept'}. Secrets are left out.</p><span class="grow"></span>
      <${Action} scope="read" icon="refresh" label="Reload" run=${async () => reload()} />
      <${Action} scope="read" icon="download" label="Text" name="Download as text" run=${() => save('text/plain', 'txt')} />
      <${Action} scope="read" icon="download" label="Wireshark" name="Download for Wireshark" run=${() => save('application/vnd.tcpdump.pcap', 'pcap')} /></div>
    <div class="ladder-ends" aria-hidden="true"><span>phoned</span><span>server</span></div>
    <ol class="ladder">
      ${data.messages.map((message, index) => {
        const changed = message.flow !== flow;
        flow = message.flow;
        return html`${changed && html`<li class="flow" key=${`f${index}`}><span>flow ${message.flow} · ${message.local} ${message.transport} ${message.remote}</span></li>`}
          <${Message} key=${index} message=${message} afterMs=${Date.parse(message.time) - began} />`;
      })}
    </ol>
  </section>`;
}

function Message({ message, afterMs }) {
  const { title, detail, tone, sdp } = summary(message.text);
  const sent = message.direction === 'sent';
  return html`<li class=${`message ${message.direction} ${tone}`}><details>
    <summary><span class="at" title=${time(message.time)}>+${afterMs < 60_000 ? (afterMs / 1000).toFixed(3) : clock(afterMs / 1000)}</span>
      <span class="arrow"><span class="label"><span class="hidden">${sent ? 'sent' : 'received'} </span><strong>${title}</strong> <span class="muted">${detail}</span>${sdp && html` <span class="badge">SDP</span>`}</span></span>
    </summary><pre>${message.text}</pre></details></li>`;
}
