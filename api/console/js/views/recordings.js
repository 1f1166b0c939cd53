// Recordings: listen, keep, stop, delete.
import { html, useEffect, useRef, useState } from '../lib.js';
import { deleteRecording, stopRecording } from '../actions.js';
import { fetchJson, send } from '../api.js';
import { clock, momentOf, peerName, when } from '../format.js';
import { callLink } from '../router.js';
import { saveBlob } from '../save.js';
import { set, use } from '../state.js';
import { Action, Badge, Empty, attempt, useLinkTurn, useLoaded, useSeconds } from '../ui.js';

const TONES = { recording: 'bad', paused: 'warn', finished: '', failed: 'bad' };
const PLAYABLE = 60_000_000; // bytes; a longer one is downloaded

const fileOf = async (recording) => (await send('GET', `/v1/recordings/${encodeURIComponent(recording.id)}/file`, { accept: '*/*', deadlineMs: 120_000 })).blob();

export function Recordings() {
  const turn = useLinkTurn();
  const known = use((state) => state.recordings);
  const { data, error } = useLoaded(async () => {
    const { data: list } = await fetchJson('/v1/recordings?limit=500');
    set({ recordings: Object.fromEntries(list.map((one) => [one.id, one])) });
    return list;
  }, [turn]);
  useSeconds(Object.values(known).some((one) => one.state === 'recording'));
  const player = usePlayer();
  const list = Object.values(known).sort((a, b) => (a.id < b.id ? 1 : -1));
  return html`<h1>Recordings</h1>
    ${error && !data && html`<${Empty} icon="record" title="Not to be had">${error.message}<//>`}
    ${data && !list.length && html`<${Empty} icon="record" title="No recordings">“Record” on a call's page makes one.<//>`}
    ${list.length > 0 && html`<div class="card table-box"><table>
      <thead><tr><th>When</th><th>Call</th><th>State</th><th>Length</th><th>Format</th><th><span class="hidden">What to do</span></th></tr></thead>
      <tbody>${list.map((one) => html`<${Row} key=${one.id} recording=${one} player=${player} />`)}</tbody>
    </table></div>`}`;
}

function Row({ recording, player }) {
  const call = use((state) => state.calls[recording.call]);
  const done = recording.state === 'finished';
  const playing = player.playing === recording.id;
  const forget = async () => {
    if (await deleteRecording(recording)) set((now) => ({ recordings: Object.fromEntries(Object.entries(now.recordings).filter(([id]) => id !== recording.id)) }));
  };
  const length = recording.state === 'recording' ? (Date.now() - Date.parse(momentOf(recording.id))) / 1000 : recording.duration_s;
  return html`<tr><td>${when(momentOf(recording.id))}</td>
    <td><a href=${callLink(recording.call)}><bdi>${call ? peerName(call.peer) : recording.call.slice(0, 13)}</bdi></a></td>
    <td><${Badge} tone=${TONES[recording.state]}>${recording.state}<//>${recording.recovered && html` <${Badge} tone="info" title="Closed after the phone had been killed">recovered<//>`}
      ${recording.gaps.length > 0 && html` <${Badge} tone="warn">${recording.gaps.length} gaps<//>`}</td>
    <td class="numeric">${clock(length)}</td><td>${recording.format}, ${recording.channels}</td>
    <td class="row-actions">
      ${recording.state === 'recording' && html`<${Action} icon="stop" label="Stop" run=${() => stopRecording(recording)} />`}
      ${done && html`<${Action} scope="read" icon=${playing ? 'stop' : 'play'} label=${playing ? 'Stop' : 'Listen'} run=${() => (playing ? player.stop() : player.play(recording))} />
        <${Action} scope="read" icon="download" label="Download" iconOnly run=${() => attempt('Download', async () => saveBlob(await fileOf(recording), recording.file))} />
        <${Action} icon="trash" kind="danger-quiet" label="Delete" iconOnly confirm="Really delete?" run=${forget} />`}
    </td></tr>`;
}

// One sound at a time, decoded here: an <audio> element could not send the token.
function usePlayer() {
  const [playing, setPlaying] = useState(null);
  const now = useRef(null);
  const stop = () => {
    now.current?.context.close();
    now.current = null;
    setPlaying(null);
  };
  const play = (recording) => attempt('Listen', async () => {
    stop();
    const context = new AudioContext(); // while the click still counts as the permission to be heard
    const mine = { context };
    now.current = mine;
    const blob = await fileOf(recording);
    if (blob.size > PLAYABLE) throw new Error('too long to be played here; download it');
    const source = new AudioBufferSourceNode(context, { buffer: await context.decodeAudioData(await blob.arrayBuffer()) });
    if (now.current !== mine) return;
    source.connect(context.destination);
    source.onended = () => { if (now.current === mine) stop(); };
    source.start();
    setPlaying(recording.id);
  });
  useEffect(() => stop, []);
  return { playing, play, stop };
}
