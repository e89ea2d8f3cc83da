"""Poisson noise for a whole frame in about 12 ms, where numpy's generator needs 100 and more.

Pixels are sorted into levels of equal mean once for a series. A frame then costs a table of
quantiles for each level and one look-up for each pixel with a 12-bit random number. The few
entries that a step of the distribution divides, its whole tail among them, send their pixels on
to an exact draw, so that the rare high counts are right: they make the false peaks which a hit
finder must live with. (Rejected: rolling a pool of noise frames; a model would learn the pool.)
"""

import numpy as np
from numpy.typing import NDArray

_BITS = 12
_STEPS = 1 << _BITS
_DIVIDED = 65535  # more photons than any mean allows
_ROWS_AT_ONCE = 64  # keeps the working set in the processor's cache


class PoissonField:
    """Draws frames whose pixels have one of a few means. levels: (rows, cols) integers >= 0."""

    def __init__(self, levels: NDArray[np.integer]) -> None:
        self._starts = levels.astype(np.intp) * _STEPS

    def draw(self, means: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.uint16]:
        """A frame (rows, cols) uint16; means: (levels,) photons a pixel, at most some hundred."""
        cumulative = _cumulative(means)
        table = _table(cumulative)
        out = np.empty(self._starts.shape, np.uint16)
        random = _random_bits(out.shape, rng)
        for row in range(0, len(out), _ROWS_AT_ONCE):
            rows = slice(row, row + _ROWS_AT_ONCE)
            np.take(table, self._starts[rows] + random[rows], out=out[rows], mode="clip")
        open_px = np.flatnonzero(out == _DIVIDED)
        uniform = (random.reshape(-1)[open_px] + rng.random(len(open_px))) / _STEPS
        level = self._starts.reshape(-1)[open_px] >> _BITS
        out.reshape(-1)[open_px] = (cumulative[level] <= uniform[:, None]).sum(axis=1)
        return out


def _random_bits(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.uint16]:
    size = int(np.prod(shape))
    words = rng.integers(0, 2**64 - 1, size=-(-size // 4), dtype=np.uint64, endpoint=True)
    bits: NDArray[np.uint16] = words.view(np.uint16)[:size]
    bits &= np.uint16(_STEPS - 1)
    return bits.reshape(shape)


def _cumulative(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """(levels, counts): probability of at most so many photons, far enough into the tail."""
    top = float(means.max())
    counts = int(top + 12 * np.sqrt(top) + 12)
    factors = np.empty((len(means), counts))
    factors[:, 0] = np.exp(-means)
    factors[:, 1:] = means[:, None] / np.arange(1, counts)
    return np.cumsum(np.cumprod(factors, axis=1), axis=1)


def _table(cumulative: NDArray[np.float64]) -> NDArray[np.uint16]:
    """(levels * _STEPS,): photons at each level's quantiles, or _DIVIDED."""
    edges = np.rint(cumulative * _STEPS).astype(np.int64)
    edges[:, -1] = _STEPS
    often = np.diff(edges, axis=1, prepend=0)
    counts = np.broadcast_to(np.arange(often.shape[1], dtype=np.uint16), often.shape)
    table = np.repeat(counts.reshape(-1), often.reshape(-1))
    divided = np.minimum((cumulative * _STEPS).astype(np.int64), _STEPS - 1)
    table[(np.arange(len(divided))[:, None] * _STEPS + divided).reshape(-1)] = _DIVIDED
    return table
