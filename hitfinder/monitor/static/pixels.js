// Pixels from the page's own server, and how bright they are shown.

const NOT_MEASURED = 65535; // among 16-bit counts; floats say NaN

const ARRAYS = { uint16: Uint16Array, float32: Float32Array };

// {rows, cols, binning, values: Float32Array, NaN = not measured}, or null when it is gone.
export async function fetchPixels(path, query) {
  const answer = await fetch(`${path}?${new URLSearchParams(query)}`);
  if (answer.status === 404) return null;
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  const dtype = answer.headers.get("x-dtype");
  const raw = new ARRAYS[dtype](await answer.arrayBuffer());
  const values = new Float32Array(raw);
  if (dtype === "uint16") {
    for (let i = 0; i < raw.length; i++) if (raw[i] === NOT_MEASURED) values[i] = NaN;
  }
  const [rows, cols, binning] = ["x-rows", "x-cols", "x-binning"].map((name) =>
    Number(answer.headers.get(name)),
  );
  return { rows, cols, binning, values, levels: levels(values) };
}

// What is black and what is white before anyone turns a knob: some of the darkest and of the
// brightest pixels are beyond. A sample of pixels tells.
function levels(values) {
  const step = Math.max(1, Math.floor(values.length / 40000));
  const sample = [];
  for (let i = 0; i < values.length; i += step) {
    if (!Number.isNaN(values[i])) sample.push(values[i]);
  }
  if (!sample.length) return { low: 0, high: 1 };
  sample.sort((a, b) => a - b);
  const at = (share) => sample[Math.min(sample.length - 1, Math.floor(share * sample.length))];
  const low = at(0.02);
  const middle = at(0.5);
  // An image of few counts has hardly any shades among its usual pixels; leave room for spots.
  const high = Math.max(at(0.998), low + 3 * Math.max(1e-9, middle - low), low + 1e-6);
  return { low, high };
}

const LOG_GAIN = 4;
const LOG_REACH = 30;

// Paint into an offscreen canvas, one pixel a value.
export function paint(pixels, look) {
  const { rows, cols, values } = pixels;
  const { low, high } = pixels.levels;
  const white = low + (high - low) * 2 ** -look.brightness;
  const canvas = new OffscreenCanvas(cols, rows);
  const context = canvas.getContext("2d");
  const image = context.createImageData(cols, rows);
  const out = new Uint32Array(image.data.buffer);
  const shades = look.dark ? DARK : LIGHT;
  const last = shades.length - 1;
  const range = Math.max(1e-9, white - low);
  // On the logarithmic scale white lies where only the brightest spots reach.
  const logRange = Math.log1p(LOG_GAIN * LOG_REACH * 2 ** -look.brightness);
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (Number.isNaN(value)) {
      out[i] = look.dark ? GAP_DARK : GAP_LIGHT;
      continue;
    }
    let share = (value - low) / range;
    if (look.log) {
      share = Math.log1p(LOG_GAIN * Math.max(0, (value - low) / (high - low))) / logRange;
    }
    out[i] = shades[share <= 0 ? 0 : share >= 1 ? last : Math.round(share * last)];
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

const packed = (r, g, b) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
const GAP_DARK = packed(27, 39, 56);
const GAP_LIGHT = packed(214, 224, 236);

function ramp(stops) {
  const shades = new Uint32Array(256);
  for (let i = 0; i < 256; i++) {
    const place = (i / 255) * (stops.length - 1);
    const k = Math.min(stops.length - 2, Math.floor(place));
    const mixed = stops[k].map((from, c) => Math.round(from + (stops[k + 1][c] - from) * (place - k)));
    shades[i] = packed(...mixed);
  }
  return shades;
}

// Black on white as on film; or light on black, with brightness rising evenly either way.
const LIGHT = ramp([[255, 255, 255], [168, 172, 178], [88, 92, 100], [10, 12, 18]]);
const DARK = ramp([[5, 8, 14], [62, 72, 92], [142, 152, 168], [236, 240, 246], [255, 255, 255]]);
