// One image in a canvas, with spots, beam and rings over it; zoom by wheel, buttons or keys.

import { paint } from "./pixels.js";
import { value as valueText } from "./text.js";

const MOST_ZOOM = 40;
const SPOT = 0.5; // probability from which a cell counts as a spot
const PERHAPS = 0.2; // and from which it is worth a faint outline

export class ImageView {
  // `readout` is told what lies under the pointer.
  constructor(canvas, look, readout = null) {
    this.canvas = canvas;
    this.look = look;
    this.readout = readout;
    this.pixels = null;
    this.view = null;
    this.spots = null;
    this.zoom = 1;
    this.centre = [0.5, 0.5]; // of what is shown, in shares of the image
    this.painted = null;
    new ResizeObserver(() => this.draw()).observe(canvas);
    this.#listen();
  }

  // `view` is the geometry, `spots` {rows, cols, cell_px, values} or null.
  show(pixels, view, spots = null) {
    const other = !this.pixels || this.pixels.rows !== pixels.rows || this.pixels.cols !== pixels.cols;
    this.pixels = pixels;
    this.view = view;
    this.spots = spots;
    this.painted = null;
    if (other) this.fit();
    else this.draw();
  }

  clear() {
    this.pixels = this.painted = null;
    this.draw();
  }

  repaint() {
    this.painted = null;
    this.draw();
  }

  fit() {
    this.zoom = 1;
    this.centre = [0.5, 0.5];
    this.draw();
  }

  // Around a place given in shares of the canvas.
  zoomBy(factor, x = 0.5, y = 0.5) {
    const before = this.#at(x, y);
    this.zoom = Math.min(MOST_ZOOM, Math.max(1, this.zoom * factor));
    const after = this.#at(x, y);
    this.move(before[0] - after[0], before[1] - after[1]);
  }

  // In shares of the image.
  move(dx, dy) {
    const half = 0.5 / this.zoom;
    this.centre = [this.centre[0] + dx, this.centre[1] + dy].map((c) =>
      Math.min(1 - half, Math.max(half, c)),
    );
    this.draw();
  }

  draw() {
    const box = this.canvas.getBoundingClientRect();
    if (!box.width) return;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(box.width * ratio), Math.round(box.height * ratio)];
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    if (!this.pixels) return;
    this.painted ??= paint(this.pixels, this.look);
    const [scale, left, top] = this.#frame(width, height);
    context.imageSmoothingEnabled = scale < 1;
    const { rows, cols, binning } = this.pixels;
    context.drawImage(this.painted, left, top, cols * scale, rows * scale);
    // From here on in pixels of the region.
    const overlay = { context, scale: scale / binning, left, top, ratio, dark: this.look.dark };
    if (this.look.rings && this.view) drawRings(overlay, this.view);
    if (this.look.spots && this.spots) {
      drawSpots(overlay, this.spots, PERHAPS, 0.45);
      drawSpots(overlay, this.spots, SPOT, 1);
    }
  }

  // Screen pixels of a painted pixel, and where the image's corner is on the canvas.
  #frame(width, height) {
    const { rows, cols } = this.pixels;
    const scale = Math.min(width / cols, height / rows) * this.zoom;
    return [scale, width / 2 - this.centre[0] * cols * scale, height / 2 - this.centre[1] * rows * scale];
  }

  // The place in the image, in shares, under a place on the canvas, in shares.
  #at(x, y) {
    if (!this.pixels) return [x, y];
    const { width, height } = this.canvas;
    const [scale, left, top] = this.#frame(width, height);
    return [(x * width - left) / (scale * this.pixels.cols), (y * height - top) / (scale * this.pixels.rows)];
  }

  #shares(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  #listen() {
    const canvas = this.canvas;
    let from = null;
    canvas.addEventListener(
      "wheel",
      (event) => {
        if (!this.pixels) return;
        event.preventDefault();
        this.zoomBy(Math.exp(-event.deltaY * 0.0015), ...this.#shares(event));
      },
      { passive: false },
    );
    canvas.addEventListener("pointerdown", (event) => {
      from = this.#at(...this.#shares(event));
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointerup", () => (from = null));
    canvas.addEventListener("pointermove", (event) => {
      if (!this.pixels) return;
      const here = this.#at(...this.#shares(event));
      if (from && this.zoom > 1) this.move(from[0] - here[0], from[1] - here[1]);
      else this.readout?.(this.#tell(here));
    });
    canvas.addEventListener("pointerleave", () => this.readout?.(""));
    canvas.addEventListener("dblclick", () => this.fit());
    canvas.addEventListener("keydown", (event) => {
      const step = 0.1 / this.zoom;
      const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
      if (event.shiftKey && moves[event.key]) {
        event.preventDefault();
        event.stopPropagation();
        this.move(...moves[event.key]);
      }
    });
  }

  #tell([x, y]) {
    const { rows, cols, binning, values } = this.pixels;
    const [row, col] = [Math.floor(y * rows), Math.floor(x * cols)];
    if (row < 0 || col < 0 || row >= rows || col >= cols) return "";
    const place = `row ${row * binning}, column ${col * binning}`;
    const angstrom = resolution(this.view, (col + 0.5) * binning, (row + 0.5) * binning);
    const where = angstrom === null ? place : `${place}, ${angstrom.toFixed(2)} Å`;
    return `${where}: ${valueText(values[row * cols + col])}`;
  }
}

// Of a place in the region, by Bragg's law; null where the geometry is not known.
function resolution(view, x, y) {
  if (!view || view.beam_x_px === null || !view.pixel_mm || !view.distance_mm || !view.wavelength_angstrom) {
    return null;
  }
  const radius = Math.hypot(x - view.beam_x_px, y - view.beam_y_px) * view.pixel_mm;
  const angle = Math.atan2(radius, view.distance_mm);
  return angle > 0 ? view.wavelength_angstrom / (2 * Math.sin(angle / 2)) : null;
}

function drawRings({ context, scale, left, top, ratio, dark }, view) {
  if (view.beam_x_px === null) return;
  const [x, y] = [left + view.beam_x_px * scale, top + view.beam_y_px * scale];
  context.lineWidth = ratio;
  context.strokeStyle = dark ? "rgba(120, 190, 255, 0.55)" : "rgba(0, 84, 166, 0.5)";
  context.fillStyle = dark ? "#9fd0ff" : "#00468c";
  context.font = `${11 * ratio}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.setLineDash([4 * ratio, 4 * ratio]);
  for (const ring of view.rings) {
    context.beginPath();
    context.arc(x, y, ring.radius_px * scale, 0, 2 * Math.PI);
    context.stroke();
  }
  context.setLineDash([]);
  for (const ring of view.rings) {
    const text = `${ring.angstrom} Å`;
    const at = labelPlace(context.canvas, x, y, ring.radius_px * scale);
    if (!at) continue;
    context.lineWidth = 4 * ratio;
    context.strokeStyle = dark ? "rgba(8, 12, 18, 0.8)" : "rgba(255, 255, 255, 0.85)";
    context.strokeText(text, ...at);
    context.fillText(text, ...at);
  }
  const arm = 7 * ratio;
  context.lineWidth = 1.5 * ratio;
  context.strokeStyle = dark ? "#9fd0ff" : "#00468c";
  context.beginPath();
  context.moveTo(x - arm, y);
  context.lineTo(x + arm, y);
  context.moveTo(x, y - arm);
  context.lineTo(x, y + arm);
  context.stroke();
}

// A place on the ring that can be seen, to the upper right if there is one.
function labelPlace(canvas, x, y, radius) {
  for (const degrees of [-45, -135, 135, 45, -90, 0, 90, 180]) {
    const angle = (degrees * Math.PI) / 180;
    const [u, v] = [x + radius * Math.cos(angle), y + radius * Math.sin(angle)];
    if (u > 20 && v > 10 && u < canvas.width - 20 && v < canvas.height - 10) return [u, v];
  }
  return null;
}

// The outline of all cells where the model sees a spot with at least this probability.
function drawSpots({ context, scale, left, top, ratio, dark }, spots, least, alpha) {
  const { rows, cols, cell_px: cell, values } = spots;
  const isSpot = (r, c) => r >= 0 && c >= 0 && r < rows && c < cols && values[r * cols + c] >= least;
  const X = (c) => left + c * cell * scale;
  const Y = (r) => top + r * cell * scale;
  context.beginPath();
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < cols; c++) {
      if (!isSpot(r, c)) continue;
      if (!isSpot(r - 1, c)) context.moveTo(X(c), Y(r)), context.lineTo(X(c + 1), Y(r));
      if (!isSpot(r + 1, c)) context.moveTo(X(c), Y(r + 1)), context.lineTo(X(c + 1), Y(r + 1));
      if (!isSpot(r, c - 1)) context.moveTo(X(c), Y(r)), context.lineTo(X(c), Y(r + 1));
      if (!isSpot(r, c + 1)) context.moveTo(X(c + 1), Y(r)), context.lineTo(X(c + 1), Y(r + 1));
    }
  }
  context.lineCap = "square";
  context.lineWidth = 1.5 * ratio;
  context.strokeStyle = dark ? "#ffb347" : "#d1470c";
  context.globalAlpha = alpha;
  context.stroke();
  context.globalAlpha = 1;
}

export function spotCount(spots) {
  let cells = 0;
  for (const value of spots.values) cells += value >= SPOT;
  return cells;
}
