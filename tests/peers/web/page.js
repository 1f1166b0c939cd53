// What both pages share: a tone instead of the microphone, a recorder of the received audio, the SIP messages as they
// went over the WebSocket, statistics of the newest peer connection, and the log of what happened.
// Import it first: it replaces constructors that the SIP libraries take from `window`.

export const log = [];
export const note = (type, detail = {}) => log.push({ at: Date.now(), type, ...detail });

const wire = [];
window.WebSocket = class extends window.WebSocket {
  constructor(...args) {
    super(...args);
    this.addEventListener('message', (event) => wire.push({ at: Date.now(), sent: false, text: event.data }));
  }

  send(data) {
    wire.push({ at: Date.now(), sent: true, text: data });
    super.send(data);
  }
};

let connection = null;
let asked = '';
window.RTCPeerConnection = class extends window.RTCPeerConnection {
  constructor(...args) {
    super(...args);
    connection = this;
    this.addEventListener('track', (event) => record(event.track));
    this.addEventListener('connectionstatechange', () => note('connection', { state: this.connectionState }));
  }

  setRemoteDescription({ type, sdp }) {
    // what the far end asks of our Opus encoder, in the test's words instead of its own
    const said = asked ? sdp.replace(/^(a=fmtp:\d+ minptime=10).*$/m, `$1;${asked}`) : sdp;
    return super.setRemoteDescription({ type, sdp: said });
  }
};

const context = new AudioContext({ sampleRate: 48000 });
let oscillator = null;
let gain = null;
let tone = 0;
let right = 0;

function microphone() {
  const sink = context.createMediaStreamDestination();
  oscillator = context.createOscillator();
  gain = context.createGain();
  gain.gain.value = tone ? 0.5 : 0;
  oscillator.frequency.value = tone || 440;
  oscillator.connect(gain);
  oscillator.start();
  if (right) {
    const [merger, other] = [context.createChannelMerger(2), context.createOscillator()];
    other.frequency.value = right;
    gain.connect(merger, 0, 0);
    other.connect(merger, 0, 1);
    other.start();
    merger.connect(sink);
  } else gain.connect(sink);
  return sink.stream;
}
navigator.mediaDevices.getUserMedia = async () => microphone();

// The recorder keeps the newest minute of what the decoder gave, in blocks of 50 ms.
const BLOCK = 2400;
const recorderModule = URL.createObjectURL(new Blob([`
  registerProcessor('recorder', class extends AudioWorkletProcessor {
    constructor() { super(); this.block = new Int16Array(${BLOCK}); this.filled = 0; }
    process([[channel]]) {
      if (!channel) return true;
      for (const sample of channel) {
        this.block[this.filled++] = Math.max(-32768, Math.min(32767, sample * 32768));
        if (this.filled === ${BLOCK}) { this.port.postMessage(this.block.slice()); this.filled = 0; }
      }
      return true;
    }
  });`], { type: 'text/javascript' }));
const recorderReady = context.audioWorklet.addModule(recorderModule);
let blocks = [];
let recorder = null;

async function record(track) {
  await recorderReady;
  const stream = new MediaStream([track]);
  // without an element that plays it, Chromium does not decode a remote track for the audio graph
  const player = new Audio();
  player.srcObject = stream;
  player.muted = true;
  player.play();
  recorder?.port.close();
  recorder?.disconnect();
  recorder = new AudioWorkletNode(context, 'recorder', { numberOfInputs: 1, numberOfOutputs: 1 });
  blocks = [];
  recorder.port.onmessage = (event) => {
    blocks.push(event.data);
    if (blocks.length > 1200) blocks.shift();
  };
  context.createMediaStreamSource(stream).connect(recorder).connect(context.destination);
}

function base64(bytes) {
  let text = '';
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}

async function statistics() {
  const found = { packetsReceived: 0, packetsSent: 0, packetsLost: 0, concealedSamples: 0, codec: null, pair: null, sends: null };
  if (!connection) return found;
  const report = await connection.getStats();
  report.forEach((entry) => {
    if (entry.type === 'inbound-rtp') {
      found.packetsReceived = entry.packetsReceived;
      found.packetsLost = entry.packetsLost;
      found.concealedSamples = entry.concealedSamples;
      found.codec = report.get(entry.codecId)?.mimeType ?? null;
    } else if (entry.type === 'outbound-rtp') {
      found.packetsSent = entry.packetsSent;
      found.sends = report.get(entry.codecId)?.sdpFmtpLine ?? null;
    } else if (entry.type === 'candidate-pair' && entry.nominated && entry.state === 'succeeded') {
      const [local, remote] = [report.get(entry.localCandidateId), report.get(entry.remoteCandidateId)];
      found.pair = `${local.address}:${local.port} ${remote.address}:${remote.port}`;
    }
  });
  return found;
}

// The longest time without a received packet since `watch`. Chromium renews its counters each 50 ms.
let watching = null;
const watched = { packets: 0, since: 0, longest: 0 };

async function look() {
  const { packetsReceived } = await statistics();
  const now = performance.now();
  if (packetsReceived !== watched.packets) {
    watched.longest = Math.max(watched.longest, now - watched.since);
    watched.packets = packetsReceived;
    watched.since = now;
  }
}

export function expose(phone) {
  window.phone = {
    ...phone,
    async start(options) {
      tone = options.tone;
      await context.resume();
      await recorderReady;
      await phone.start(options);
    },
    ask(parameters) { asked = parameters; },
    stereo(frequency) { right = frequency; },
    speak(on) { gain.gain.value = on ? 0.5 : 0; },
    retune(frequency) { oscillator.frequency.value = frequency; },
    heard(seconds) {
      const wanted = blocks.slice(-Math.round(seconds * 48000 / BLOCK));
      const samples = new Int16Array(wanted.length * BLOCK);
      wanted.forEach((block, index) => samples.set(block, index * BLOCK));
      return { rate: context.sampleRate, blocks: blocks.length, samples: base64(new Uint8Array(samples.buffer)) };
    },
    forget() { blocks = []; },
    watch() {
      Object.assign(watched, { packets: 0, since: performance.now(), longest: 0 });
      watching ??= setInterval(look, 25);
    },
    watched: () => Math.max(watched.longest, performance.now() - watched.since),
    statistics,
    state: () => ({
      ...phone.state(),
      direction: connection?.getTransceivers()[0]?.currentDirection ?? null,
      connection: connection?.connectionState ?? null,
    }),
    log: () => log,
    wire: () => wire,
  };
}
