// Numbers and times as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export function count(value) {
  return value === null || value === undefined ? "–" : whole.format(value);
}

export function percent(share, digits = 1) {
  return share === null || share === undefined ? "–" : `${(100 * share).toFixed(digits)} %`;
}

export function ms(value) {
  if (value === null || value === undefined) return "–";
  return value < 10 ? value.toFixed(1) : whole.format(value);
}

// Two times side by side, in a unit that suits the second.
export function msPair(p50, p99) {
  if (p99 === null || p99 === undefined) return "–";
  if (p99 >= 1000) return `${(p50 / 1000).toFixed(2)} / ${(p99 / 1000).toFixed(2)} s`;
  return `${ms(p50)} / ${ms(p99)} ms`;
}

export function score(value) {
  return value === null || value === undefined ? "–" : value.toFixed(3);
}

export function clock(seconds) {
  return new Date(1000 * seconds).toLocaleTimeString("en-GB");
}

export function megabytes(bytes) {
  return `${(bytes / 2 ** 20).toFixed(bytes < 10 * 2 ** 20 ? 1 : 0)} MiB`;
}

export function value(pixel) {
  if (Number.isNaN(pixel)) return "not measured";
  return Number.isInteger(pixel) ? whole.format(pixel) : pixel.toPrecision(4);
}

export function frameUrl(series, frame) {
  return `/frame/${series.split("/").map(encodeURIComponent).join("/")}/${frame}`;
}

// {series, frame} of such an address; null for any other.
export function frameOf(path) {
  const match = path.match(/^\/frame\/(.*)\/(\d+)$/);
  try {
    return match && { series: match[1].split("/").map(decodeURIComponent).join("/"), frame: Number(match[2]) };
  } catch {
    return null; // no UTF-8
  }
}
