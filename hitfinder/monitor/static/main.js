// The page: listens to /api/events, keeps what it was told, shows it. Nothing comes from elsewhere.

import { drawLatency, drawRate, drawScores } from "./charts.js";
import { ImageView, spotCount } from "./imageview.js";
import { fetchPixels } from "./pixels.js";
import * as text from "./text.js";
import { isDark, themed } from "./theme.js";

const at = (id) => document.getElementById(id);
const SILENT_S = 3;
const POWDER_EVERY_MS = 2000;
const STALE_MS = 4000; // a server that lives tells something twice a second
const AGAIN_MS = 4 * STALE_MS;

const look = { dark: isDark(), log: false, spots: true, rings: true, brightness: 0 };
const bare = new Proxy(look, { get: (all, key) => (key === "spots" ? false : all[key]) });
const frameView = new ImageView(at("frame"), look, (told) => (at("frame-readout").textContent = told || "\u00a0"));
const missView = new ImageView(at("miss"), look);
const powderView = new ImageView(at("powder"), bare);
const views = [frameView, missView, powderView];

const state = {
  told: null, // the last snapshot
  paused: false,
  follow: "kept", // or "vetoed", or null for one picked frame
  shown: null, // {series, frame} in the big view
  span: "minutes",
  powder: "max",
  reached: false,
};

// ---- one frame -------------------------------------------------------------------------------

async function fetchFrame(series, frame) {
  const query = { series, number: frame };
  const answer = await fetch(`/api/frame?${new URLSearchParams(query)}`);
  if (answer.status === 404) return null;
  if (!answer.ok) throw new Error(`frame: ${answer.status}`);
  const about = await answer.json();
  const [pixels, spots] = await Promise.all([
    about.image && fetchPixels("/api/frame/image", query),
    about.spots && fetchPixels("/api/frame/spots", query),
  ]);
  if (about.image && !pixels) return null; // it left between two answers
  return { about, pixels, spots: spots && { ...about.spots, values: spots.values } };
}

function words({ about, spots }, element) {
  const { verdict } = about;
  const told = [`series ${verdict.series}, frame ${verdict.frame}`];
  const outcome = document.createElement("b");
  outcome.className = verdict.outcome;
  outcome.textContent = verdict.outcome;
  if (verdict.score !== null) told.push(`score ${text.score(verdict.score)}`);
  if (verdict.diffuse) {
    const score = verdict.diffuse_score ?? null;
    told.push(`diffuse: ${verdict.diffuse}${score === null ? "" : ` ${text.score(score)}`}`);
  }
  if (spots) told.push(`${spotCount(spots)} spot cells`);
  told.push(`${text.ms(verdict.latency_ms)} ms`, text.clock(about.at));
  element.replaceChildren(outcome, ` · ${told.join(" · ")}`);
}

// A number may come again in a later life of its series; `at` then tells, where both know it.
const same = (one, other) =>
  one && other && one.series === other.series && one.frame === other.frame && (one.at ?? other.at) === (other.at ?? one.at);

// A view that loads one frame at a time; while it does, it forgets all but the last wish.
function loader(view, name, done) {
  let busy = false;
  let wish = null;
  let loaded = null;
  return async function load(wanted) {
    if (!busy && same(wanted, loaded)) return;
    wish = wanted;
    if (busy) return;
    busy = true;
    try {
      while (wish && !same(wish, loaded)) {
        const now = wish;
        const found = await fetchFrame(now.series, now.frame);
        loaded = now;
        if (found?.pixels) {
          view.show(found.pixels, found.about.view, found.spots);
          at(`${name}-note`).hidden = true;
          words(found, at(`${name}-words`));
          view.canvas.setAttribute("aria-label", at(`${name}-words`).textContent);
        } else {
          view.clear();
          at(`${name}-note`).hidden = false;
          at(`${name}-note`).textContent = found
            ? `No image: ${found.about.trouble}`
            : "This frame has left the buffer.";
          at(`${name}-words`).textContent = `series ${now.series}, frame ${now.frame}`;
        }
        view.canvas.dataset.frame = `${now.series}/${now.frame}`;
        done?.(now);
      }
    } catch (error) {
      console.warn(error); // the server went away; the next snapshot tries again
      loaded = null;
    } finally {
      wish = null;
      busy = false;
    }
  };
}

const loadFrame = loader(frameView, "frame", (now) => {
  state.shown = now;
  markShown();
});
const loadMiss = loader(missView, "miss", (now) => (at("miss-link").href = text.frameUrl(now.series, now.frame)));

function newest(outcome) {
  const line = state.told?.frames.find((one) => one.verdict.outcome === outcome && one.shown);
  return line && { series: line.verdict.series, frame: line.verdict.frame, at: line.at };
}

function pick(series, frame) {
  state.follow = null;
  history.pushState(null, "", text.frameUrl(series, frame));
  loadFrame({ series, frame });
  markShown();
}

function follow(outcome) {
  state.follow = outcome;
  if (location.pathname !== "/") history.pushState(null, "", "/");
  if (newest(outcome)) loadFrame(newest(outcome));
  markShown();
}

function step(by) {
  const lines = state.told?.frames.filter((one) => one.shown) ?? [];
  if (!lines.length) return;
  const here = lines.findIndex((one) => same(state.shown, one.verdict));
  const next = lines[Math.min(lines.length - 1, Math.max(0, here + by))];
  pick(next.verdict.series, next.verdict.frame);
}

// What the address says: one frame, or the latest hit.
function readAddress() {
  const named = text.frameOf(location.pathname);
  state.follow = named ? null : "kept";
  if (named) loadFrame(named);
}

function markShown() {
  at("follow-kept").setAttribute("aria-pressed", state.follow === "kept");
  at("follow-vetoed").setAttribute("aria-pressed", state.follow === "vetoed");
  for (const link of at("frames").querySelectorAll("a")) {
    const is = link.dataset.series === state.shown?.series && Number(link.dataset.frame) === state.shown?.frame;
    if (is) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

// ---- numbers ---------------------------------------------------------------------------------

function sum(counts) {
  return Object.values(counts).reduce((all, one) => all + one, 0);
}

function showTiles(told) {
  const totals = told.totals;
  at("tile-rate").textContent = text.percent(told.hit_rate);
  at("tile-speed").textContent = told.frames_per_s.toFixed(told.frames_per_s < 10 ? 1 : 0);
  at("tile-received").textContent = text.count(totals?.received);
  at("tile-kept").textContent = text.count(totals?.kept);
  at("tile-vetoed").textContent = text.count(totals?.vetoed);
  const unjudged = totals ? sum(totals.unjudged) : null;
  at("tile-unjudged").textContent = text.count(unjudged);
  at("tile-unjudged").parentElement.classList.toggle("some", unjudged > 0);
  at("tile-lost").textContent = text.count(totals?.lost);
  at("tile-lost").parentElement.classList.toggle("some", totals?.lost > 0);
  at("tile-latency").textContent = text.msPair(told.p50_ms, told.p99_ms);
}

function showCharts(told) {
  const bins = told.history[state.span];
  drawRate(at("rate"), bins, state.span, told.at);
  drawLatency(at("latency"), bins, state.span, told.at, told.source.deadline_ms);
  drawScores(at("scores"), told.scores, told.threshold);
  at("rate-now").textContent = text.percent(told.hit_rate);
  at("latency-now").textContent = `p50 / p99: ${text.msPair(told.p50_ms, told.p99_ms)}`;
  at("scores-now").textContent = `${text.count(sum(told.scores.kept) + sum(told.scores.vetoed))} frames, log`;
}

function fact(list, name, value, kind = "") {
  const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
  [dt.textContent, dd.textContent, dd.className] = [name, value, kind];
  list.push(dt, dd);
}

function showFacts(told) {
  const list = [];
  const { source, totals } = told;
  if (told.model && told.model !== source.model) {
    fact(list, "model", told.model);
    fact(list, "spots are of", `${source.model}: this page began before the service changed its model; restart it`, "some");
  } else {
    fact(list, "model", `${source.model}, version ${source.model_version}`);
    fact(list, "graph", `SHA-256 ${source.model_sha256.slice(0, 12)}…`);
  }
  fact(list, "threshold", text.score(told.threshold));
  if (totals) {
    for (const [reason, frames] of Object.entries(totals.unjudged)) {
      if (frames) fact(list, `unjudged: ${reason}`, text.count(frames), "some");
    }
    if (totals.diffuse || totals.not_diffuse) {
      fact(list, "hits diffuse", `${text.count(totals.diffuse)} yes, ${text.count(totals.not_diffuse)} no`);
    }
    fact(list, "in flight", text.count(totals.in_flight));
    fact(list, "forwarded", text.count(totals.forwarded));
    fact(list, "dropped", text.count(totals.dropped), totals.dropped ? "some" : "");
    fact(list, "spilled", text.count(totals.spilled));
    fact(list, "duplicates", text.count(totals.duplicates));
    fact(list, "bad messages", text.count(totals.bad_messages), totals.bad_messages ? "some" : "");
  }
  fact(list, "missed by this page", text.count(told.missed));
  fact(list, "frames held", `${text.megabytes(told.buffer_bytes)} of ${text.megabytes(told.buffer_max_bytes)}`);
  if (told.complaint) fact(list, "not understood", told.complaint, "some");
  at("models").replaceChildren(...list);
}

function showAlerts(told) {
  const lasting = told.alerts.filter((one) => one.until === null);
  at("banner").hidden = !lasting.length;
  const banner = lasting.map((one) => `${one.name}: ${one.summary}`).join("\n");
  if (at("banner").textContent !== banner) at("banner").textContent = banner;
  // Read aloud when one begins, not whenever a number in one changes.
  const names = lasting.map((one) => one.name).join();
  if (at("spoken").dataset.names !== names) at("spoken").textContent = banner;
  at("spoken").dataset.names = names;
  const items = told.alerts.map((one) => {
    const item = document.createElement("li");
    item.className = one.until === null ? "lasts" : "over";
    const [name, when, what] = ["b", "time", "span"].map((tag) => document.createElement(tag));
    name.textContent = one.name;
    when.textContent = `${text.clock(one.since)} – ${one.until === null ? "now" : text.clock(one.until)}`;
    what.textContent = one.summary;
    item.append(name, " ", when, what);
    return item;
  });
  if (!items.length) {
    const calm = document.createElement("li");
    calm.className = "calm";
    calm.textContent = "None.";
    items.push(calm);
  }
  at("alerts").replaceChildren(...items);
}

function showState(told) {
  const pill = at("state");
  const silent = told && told.silent_s > SILENT_S;
  const [words, kind] = !state.reached
    ? ["page server gone", "bad"]
    : state.paused
      ? ["paused", "paused"]
      : silent
        ? [`service silent since ${text.clock(told.at - told.silent_s)}`, "bad"]
        : ["live", "live"];
  if (pill.textContent !== words) pill.textContent = words;
  pill.className = `pill ${kind}`;
  if (told) at("source").textContent = `${told.source.verdicts} · hitfinder ${told.source.version}`;
}

// ---- lists and pictures ----------------------------------------------------------------------

let listed = "";

function showFrames(told) {
  if (!told.frames.length && !told.source.samples) {
    at("frame-note").textContent = "The service sends no frames: its configuration has no [samples].";
  }
  const key = told.frames.map((one) => `${one.verdict.series}/${one.verdict.frame}/${one.at}`).join();
  if (key === listed) return;
  listed = key;
  const focused = document.activeElement?.closest?.("#frames a")?.getAttribute("href");
  const items = told.frames.map(({ verdict, shown }) => {
    const [item, link, mark, name, score] = ["li", "a", "i", "span", "span"].map((tag) => document.createElement(tag));
    link.href = text.frameUrl(verdict.series, verdict.frame);
    link.dataset.series = verdict.series;
    link.dataset.frame = verdict.frame;
    link.className = verdict.outcome + (shown ? "" : " blank");
    link.title = `${verdict.outcome}, series ${verdict.series}, frame ${verdict.frame}`;
    link.setAttribute("aria-label", `${link.title}, score ${text.score(verdict.score)}${shown ? "" : ", no image"}`);
    mark.setAttribute("aria-hidden", "true");
    name.textContent = verdict.frame;
    score.textContent = text.score(verdict.score);
    link.append(mark, name, score);
    item.append(link);
    return item;
  });
  at("frames").replaceChildren(...items);
  if (focused) at("frames").querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  markShown();
}

let powderShown = "";
let powderAt = 0;

async function showPowder(told) {
  const { series, hits, view } = told.powder;
  if (!hits) return;
  const kind = state.powder;
  const key = `${kind} ${series} ${hits}`;
  const hurried = !powderShown.startsWith(kind);
  if (key === powderShown || (!hurried && performance.now() - powderAt < POWDER_EVERY_MS)) return;
  powderShown = key;
  powderAt = performance.now();
  try {
    const pixels = await fetchPixels("/api/powder", { kind });
    if (!pixels || kind !== state.powder) return; // another was asked for meanwhile
    powderView.show(pixels, view);
    at("powder-note").hidden = true;
    at("powder-words").textContent = `series ${series}, ${text.count(hits)} sampled hits`;
    at("powder").setAttribute("aria-label", `Powder pattern, ${kind}, of ${hits} hits`);
    at("powder").dataset.hits = hits;
  } catch (error) {
    console.warn(error);
    powderShown = "";
  }
}

function show() {
  const told = state.told;
  showState(told);
  if (!told || state.paused) return;
  showTiles(told);
  showCharts(told);
  showFacts(told);
  showAlerts(told);
  showFrames(told);
  showPowder(told);
  if (state.follow && newest(state.follow)) loadFrame(newest(state.follow));
  if (newest("vetoed")) loadMiss(newest("vetoed"));
}

// ---- what a person does ----------------------------------------------------------------------

function toggle(id, key) {
  at(id).addEventListener("click", () => {
    look[key] = !look[key];
    at(id).setAttribute("aria-pressed", look[key]);
    for (const view of views) view.repaint();
  });
}

function choose(ids, chosen) {
  for (const [id, value] of Object.entries(ids)) {
    at(id).addEventListener("click", () => {
      chosen(value);
      for (const other of Object.keys(ids)) at(other).setAttribute("aria-pressed", other === id);
    });
  }
}

function pause() {
  state.paused = !state.paused;
  at("pause").setAttribute("aria-pressed", state.paused);
  at("pause").textContent = state.paused ? "Go on" : "Pause";
  document.body.classList.toggle("paused", state.paused);
  if (!state.paused) state.told = state.latest ?? state.told;
  show();
}

async function copyLink() {
  if (!state.shown) return;
  const url = new URL(text.frameUrl(state.shown.series, state.shown.frame), location.href).href;
  try {
    await navigator.clipboard.writeText(url);
    at("copy").textContent = "Copied";
    setTimeout(() => (at("copy").textContent = "Copy link"), 1500);
  } catch {
    pick(state.shown.series, state.shown.frame); // no clipboard: the address bar has it
  }
}

at("pause").addEventListener("click", pause);
at("follow-kept").addEventListener("click", () => follow("kept"));
at("follow-vetoed").addEventListener("click", () => follow("vetoed"));
at("older").addEventListener("click", () => step(1));
at("newer").addEventListener("click", () => step(-1));
at("copy").addEventListener("click", copyLink);
at("zoom-in").addEventListener("click", () => frameView.zoomBy(1.5));
at("zoom-out").addEventListener("click", () => frameView.zoomBy(1 / 1.5));
at("zoom-fit").addEventListener("click", () => frameView.fit());
at("help").addEventListener("click", () => at("keys").showModal());
at("brightness").addEventListener("input", (event) => {
  look.brightness = Number(event.target.value);
  for (const view of views) view.repaint();
});
toggle("log", "log");
toggle("spots", "spots");
toggle("rings", "rings");
choose({ "span-minutes": "minutes", "span-hour": "hour" }, (span) => {
  state.span = span;
  if (state.told) showCharts(state.told);
});
choose({ "powder-max": "max", "powder-sum": "sum" }, (kind) => {
  state.powder = kind;
  if (state.told) showPowder(state.told);
});

for (const list of [at("frames"), at("miss-panel")]) {
  list.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return; // a tab of its own
    event.preventDefault();
    const named = text.frameOf(new URL(link.href).pathname);
    if (named) pick(named.series, named.frame);
  });
}

const KEYS = {
  " ": "pause",
  h: "follow-kept",
  m: "follow-vetoed",
  ArrowLeft: "older",
  ArrowRight: "newer",
  "+": "zoom-in",
  "=": "zoom-in",
  "-": "zoom-out",
  0: "zoom-fit",
  l: "log",
  s: "spots",
  r: "rings",
  c: "copy",
  t: "theme",
  "?": "help",
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || at("keys").open) return;
  const target = event.target;
  if (target.matches?.("input")) return;
  // A button that has the focus is pressed by the space bar itself.
  if (event.key === " " && target.matches?.("button, a")) return;
  const id = KEYS[event.key];
  if (!id) return;
  event.preventDefault();
  at(id).click();
});

window.addEventListener("popstate", () => {
  readAddress();
  show();
});
new ResizeObserver(() => state.told && showCharts(state.told)).observe(at("rate"));

themed(at("theme"), () => {
  look.dark = isDark();
  for (const view of views) view.repaint();
});
readAddress();

// ---- listening -------------------------------------------------------------------------------

let events = null;
let heardAt = 0; // of this page's clock, in ms

function listen() {
  events?.close();
  heardAt = performance.now();
  events = new EventSource("/api/events");
  events.onmessage = (event) => {
    heardAt = performance.now();
    state.reached = true;
    state.latest = JSON.parse(event.data);
    if (!state.paused) state.told = state.latest;
    show();
  };
  events.onerror = () => {
    state.reached = false;
    showState(state.told);
  };
}

// The server may hang, or a tunnel to it, and no error tells; or it answers that it wants a token.
async function check() {
  if (document.hidden || performance.now() - heardAt < STALE_MS) return;
  state.reached = false;
  showState(state.told);
  if (performance.now() - heardAt < AGAIN_MS) return;
  listen();
  const answer = await fetch("/api/status", { signal: AbortSignal.timeout(STALE_MS) }).catch(() => null);
  if (answer?.status === 401) location.reload();
}

// A browser gives one server six connections for all its tabs: one that nobody sees needs none.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) events?.close();
  else listen();
});
if (!document.hidden) listen();
setInterval(check, 1000);
