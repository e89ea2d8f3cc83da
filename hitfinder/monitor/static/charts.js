// Charts as SVG, drawn anew with each snapshot; a hundred elements are nothing to a browser.

const SVG = "http://www.w3.org/2000/svg";
const LEFT = 52;
const RIGHT = 10;
const TOP = 8;
const BOTTOM = 20;

function add(parent, name, attributes, text) {
  const one = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
  if (text !== undefined) one.textContent = text;
  parent.append(one);
  return one;
}

// An empty chart: its inner box, and what turns values into places.
function begin(svg, ticks, xTicks) {
  const { width, height } = svg.getBoundingClientRect();
  svg.replaceChildren();
  if (width < 80 || height < 50) return null;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const inner = { left: LEFT, right: width - RIGHT, top: TOP, bottom: height - BOTTOM };
  const y = (share) => inner.bottom - share * (inner.bottom - inner.top);
  const x = (share) => inner.left + share * (inner.right - inner.left);
  for (const { share, text } of ticks) {
    add(svg, "line", { class: "grid", x1: inner.left, x2: inner.right, y1: y(share), y2: y(share) });
    add(svg, "text", { class: "tick", x: inner.left - 6, y: y(share) + 4, "text-anchor": "end" }, text);
  }
  for (const { share, text } of xTicks) {
    const anchor = share < 0.04 ? "start" : share > 0.96 ? "end" : "middle";
    add(svg, "text", { class: "tick", x: x(share), y: height - 4, "text-anchor": anchor }, text);
  }
  return { x, y, inner };
}

// A round number not below `value`.
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((m) => m * power).find((round) => round >= value * 0.999);
}

const AGO = {
  minutes: [[0, "2 min ago"], [0.5, "1 min"], [1, "now"]],
  hour: [[0, "1 h ago"], [0.5, "30 min"], [1, "now"]],
};
const SECONDS = { minutes: 120, hour: 3600 };

function times(span) {
  return AGO[span].map(([share, text]) => ({ share, text }));
}

// Bins with their place in the span, 1 = now. Of a second that still runs too little is known.
function placed(bins, span, now) {
  return bins
    .filter((bin) => now - bin.at >= 1)
    .map((bin) => ({ ...bin, share: 1 - (now - bin.at) / SECONDS[span] }))
    .filter((bin) => bin.share >= 0);
}

// A line that breaks where there is nothing, and the area under it.
function line(svg, chart, points, name, filled = false) {
  const runs = [[]];
  for (const [share, value] of points) {
    if (value === null) runs.push([]);
    else runs.at(-1).push([chart.x(share), chart.y(value)]);
  }
  for (const run of runs.filter((one) => one.length)) {
    const path = `M${run.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}`;
    if (filled && run.length > 1) {
      const floor = `L${run.at(-1)[0]} ${chart.inner.bottom}L${run[0][0]} ${chart.inner.bottom}Z`;
      add(svg, "path", { class: `area ${name}`, d: path + floor });
    }
    add(svg, "path", { class: `line ${name}`, d: run.length > 1 ? path : `${path}h1` });
  }
}

export function drawRate(svg, bins, span, now) {
  const shown = placed(bins, span, now);
  const top = ceiling(Math.max(0.05, ...shown.map((bin) => bin.hit_rate ?? 0)));
  const digits = top < 0.1 ? 1 : 0;
  const ticks = [0, 0.5, 1].map((share) => ({ share, text: `${(100 * share * top).toFixed(digits)} %` }));
  const chart = begin(svg, ticks, times(span));
  if (!chart) return;
  const width = Math.max(1.5, (chart.x(1) - chart.x(0)) / 120);
  for (const bin of shown) {
    // What was not judged is no miss: it hangs from the top.
    const all = bin.kept + bin.vetoed + bin.unjudged;
    if (!bin.unjudged) continue;
    const height = Math.max(3, (bin.unjudged / all) * (chart.inner.bottom - chart.inner.top));
    add(svg, "rect", { class: "unjudged", x: chart.x(bin.share), y: chart.inner.top, width, height });
  }
  const points = shown.map((bin) => [bin.share, bin.hit_rate === null ? null : Math.min(1, bin.hit_rate / top)]);
  line(svg, chart, points, "kept", true);
}

export function drawLatency(svg, bins, span, now, deadline) {
  const shown = placed(bins, span, now);
  const most = Math.max(1, ...shown.map((bin) => bin.p99_ms ?? 0));
  const top = ceiling(most);
  const unit = top >= 2000 ? [1000, "s"] : [1, "ms"];
  const ticks = [0, 0.5, 1].map((share) => ({ share, text: `${(share * top) / unit[0]} ${unit[1]}` }));
  const chart = begin(svg, ticks, times(span));
  if (!chart) return;
  if (deadline <= top) {
    const y = chart.y(deadline / top);
    add(svg, "line", { class: "limit", x1: chart.inner.left, x2: chart.inner.right, y1: y, y2: y });
  }
  const points = (key) => shown.map((bin) => [bin.share, bin[key] === null ? null : bin[key] / top]);
  line(svg, chart, points("p99_ms"), "p99");
  line(svg, chart, points("p50_ms"), "p50");
}

// Kept and vetoed side by side in each bin, on a logarithmic scale, with the threshold.
export function drawScores(svg, scores, threshold) {
  const most = Math.max(1, ...scores.kept, ...scores.vetoed);
  const decades = Math.max(1, Math.ceil(Math.log10(most + 1)));
  const share = (frames) => (frames ? (Math.log10(frames) + 0.3) / (decades + 0.3) : 0);
  const ticks = Array.from({ length: decades + 1 }, (_, k) => k)
    .filter((k) => decades < 4 || k % 2 === 0)
    .map((k) => ({ share: share(10 ** k), text: k < 4 ? String(10 ** k) : `1e${k}` }));
  const chart = begin(svg, ticks, [0, 0.25, 0.5, 0.75, 1].map((at) => ({ share: at, text: String(at) })));
  if (!chart) return;
  const bins = scores.kept.length;
  const width = (chart.x(1) - chart.x(0)) / bins;
  for (const name of ["vetoed", "kept"]) {
    scores[name].forEach((frames, k) => {
      if (!frames) return;
      const y = chart.y(share(frames));
      const height = chart.inner.bottom - y;
      add(svg, "rect", { class: name, x: chart.x(k / bins) + 0.5, y, width: Math.max(1, width - 1), height });
    });
  }
  if (threshold === null) return;
  const x = chart.x(threshold);
  add(svg, "line", { class: "threshold", x1: x, x2: x, y1: chart.inner.top, y2: chart.inner.bottom });
  const right = threshold > 0.6;
  const place = { class: "tick strong", x: x + (right ? -5 : 5), y: chart.inner.top + 10 };
  add(svg, "text", { ...place, "text-anchor": right ? "end" : "start" }, `threshold ${threshold.toFixed(3)}`);
}
