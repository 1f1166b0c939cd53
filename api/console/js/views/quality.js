// How a call sounded: three plots over the last hour, drawn by uPlot, which is loaded only here.
import { html, useEffect, useRef, useState } from '../lib.js';
import { fetchJson } from '../api.js';
import { milliseconds, number } from '../format.js';
import { use } from '../state.js';
import { Empty, useLinkTurn, useLoaded } from '../ui.js';

const PLOTS = [
  { key: 'mos', title: 'MOS (estimate)', range: [1, 4.6], lines: [['mos', 'MOS', '--plot-a', (v) => number(v, 2)]] },
  { key: 'delay', title: 'Delay, ms', range: [0, null], lines: [['jitter_ms', 'Jitter', '--plot-b', milliseconds], ['rtt_ms', 'Round trip', '--plot-c', milliseconds]] },
  { key: 'loss', title: 'Loss, %', range: [0, null], lines: [['loss_pct', 'Loss', '--plot-d', (v) => number(v, 1, ' %')]] },
];
const HEIGHT = 150;

let library = null;

function load() {
  library ??= new Promise((resolve, reject) => {
    const style = document.createElement('link');
    style.rel = 'stylesheet';
    style.href = 'vendor/uplot.css';
    document.head.append(style);
    import('../../vendor/uplot.js').then((module) => resolve(module.default), reject);
  });
  return library;
}

export function Quality({ call }) {
  const turn = useLinkTurn();
  const heard = use((state) => state.quality[call.id]);
  const [uplot, setUplot] = useState(null);
  const { data } = useLoaded(() => fetchJson(`/v1/calls/${encodeURIComponent(call.id)}/stats?series=1`), [call.id, heard, call.state, turn]);
  useEffect(() => { load().then((made) => setUplot(() => made), () => {}); }, []);
  if (!data) return html`<p class="muted">Loading</p>`;
  if (!data.series.length) {
    return html`<${Empty} icon="events" title="Nothing measured yet">${call.state === 'active' ? 'A sample is taken each five seconds.' : 'The call was too short, or its samples are no longer kept.'}<//>`;
  }
  return html`<section class="plots">
    ${PLOTS.map((plot) => html`<${Plot} key=${plot.key} plot=${plot} series=${data.series} recoveries=${data.recoveries} uplot=${uplot} />`)}
  </section>`;
}

// Read again with each rendering: the colours follow the scheme.
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function Plot({ plot, series, recoveries, uplot }) {
  const box = useRef(null);
  const made = useRef(null);
  const marks = useRef([]);
  const [scheme, setScheme] = useState(0);
  marks.current = recoveries.map(({ at }) => Date.parse(at) / 1000);
  const values = () => [series.map(({ time }) => Date.parse(time) / 1000), ...plot.lines.map(([key]) => series.map((sample) => sample[key]))];
  useEffect(() => {
    const dark = matchMedia('(prefers-color-scheme: dark)');
    const turn = () => setScheme((n) => n + 1);
    dark.addEventListener('change', turn);
    return () => dark.removeEventListener('change', turn);
  }, []);
  useEffect(() => {
    if (!uplot || !box.current) return undefined;
    made.current = new uplot(options(plot, box.current.clientWidth, marks), values(), box.current);
    const watch = new ResizeObserver(([{ contentRect }]) => made.current?.setSize({ width: Math.floor(contentRect.width), height: HEIGHT }));
    watch.observe(box.current);
    return () => {
      watch.disconnect();
      made.current.destroy();
      made.current = null;
    };
  }, [uplot, scheme]);
  useEffect(() => { made.current?.setData(values()); }, [series]);
  const last = series[series.length - 1];
  return html`<figure class="card plot"><figcaption><span>${plot.title}</span>
    ${plot.lines.map(([key, name, variable, show]) => html`<span key=${key} class="plot-now"><i class=${`swatch swatch${variable.slice(2)}`}></i>${plot.lines.length > 1 ? `${name} ` : ''}<strong>${show(last[key])}</strong></span>`)}
  </figcaption><div class="plot-box" ref=${box} role="img" aria-label=${`${plot.title}: ${series.length} samples, now ${plot.lines.map(([key, name, , show]) => `${name} ${show(last[key])}`).join(', ')}`}></div></figure>`;
}

function options({ lines, range: [low, high], title }, width, marks) {
  const axis = { stroke: colour('--muted'), grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false }, font: '12px system-ui', size: 44 };
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
    padding: [10, 8, 0, 0],
    scales: { x: { time: true }, y: { range: (u, min, max) => [low, high ?? nice(max)] } },
    axes: [
      { ...axis, size: 28, space: 70, values: (u, ticks) => ticks.map((tick) => new Date(tick * 1000).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' })) },
      { ...axis, space: 34 },
    ],
    series: [{}, ...lines.map(([, label, variable]) => ({ label: label || title, stroke: colour(variable), width: 2, points: { show: false }, spanGaps: true }))],
    hooks: { draw: [(u) => drawMarks(u, marks.current)] },
  };
}

// The top of the scale: never so low that noise looks like trouble.
const nice = (max) => Math.max(5, (max ?? 0) * 1.2);

// A dashed line where the call was repaired.
function drawMarks(u, times) {
  const { ctx, bbox: { left, top, width, height } } = u;
  ctx.save();
  ctx.strokeStyle = colour('--warn');
  ctx.setLineDash([4, 4]);
  for (const at of times) {
    const x = u.valToPos(at, 'x', true);
    if (x >= left && x <= left + width) {
      ctx.beginPath();
      ctx.moveTo(x, top);
      ctx.lineTo(x, top + height);
      ctx.stroke();
    }
  }
  ctx.restore();
}
