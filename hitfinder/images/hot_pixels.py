"""Which pixels of a region are hot: those that stand out of their surroundings in most frames.

Fed with regions as a model sees them. A look at a frame takes one band of rows, so that it costs
the same for every detector; looks go through the bands in turn. What stands out is told from order
and differences only, so gain, offset and unit do not matter.
What this file does not know: when to look, where a region lies in a detector, and whether the
result is used.
"""

import numpy as np
from numpy.typing import NDArray

PIXELS_PER_LOOK = 2**18
"""More than a 350 x 350 region, so it is seen whole; a 16M frame takes about 70 looks. To take and
learn one costs 5 ms, and 1.6 ms with 350 x 350 pixels."""

LOOKS_FIRST = 50
"""Looks at a pixel, measured in each, before it may be called hot. One that stands out in a
tenth of the frames, as in a bright ring of spots, then reaches half of them less than once in
10^12."""

LOOKS_KEPT = 500
"""A share is a running mean over about as many looks: what changes is noticed, slowly."""

PASSES_EACH = 10
"""Looks at every pixel between two decisions."""

ENTERS = 0.5
"""A pixel that stands out in a larger share of its looks is hot: "in most frames". A Bragg spot
comes back to one pixel in a few of a hundred frames."""

LEAVES = 0.25
"""A hot pixel is one until its share is down here, so that the mask does not flicker."""

LARGEST_SHARE = 0.01
"""Of the measured pixels. Detectors have fewer hot ones than that; where more stand out it is
something else, such as a wrong data type, and none is masked."""


def stands_out(padded: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which pixels belong to a defect: they lie in some square of 2 x 2 and rise over the ring of
    12 around it by more than the ring itself spans.

    padded (h + 4, w + 4) has two rows and columns of surroundings on each side, NaN where nothing
    was measured. Returns (h, w). Whatever does not fit into a square, such as a line, an edge or
    a wider spot, has a part of itself in the ring and does not stand out. A ring that was not
    measured all around says nothing, so the outermost pixels of a module, which see more or fewer
    photons than others, never stand out. A pixel that lies 3.9 standard deviations above normal
    noise stands out in half the frames.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        high = _ring(np.maximum, padded)
        limits = high - _ring(np.minimum, padded) + high  # (h + 1, w + 1), a ring each
        # Each pixel lies in four squares, and one is enough; NaN only where there is none.
        limits = np.fmin(limits[:-1], limits[1:])
        limits = np.fmin(limits[:, :-1], limits[:, 1:])
        found: NDArray[np.bool_] = padded[2:-2, 2:-2] > limits
    return found


def _ring(extreme: np.ufunc, padded: NDArray[np.float32]) -> NDArray[np.float32]:
    """Extremes of the borders of all blocks of 4 x 4: (h + 4, w + 4) to (h + 1, w + 1).

    Runs of four are made from runs of two: two operations an axis in place of three a side.
    """
    pairs = extreme(padded[:, :-1], padded[:, 1:])
    rows = extreme(pairs[:, :-2], pairs[:, 2:])  # (h + 4, w + 1)
    pairs = extreme(padded[:-1], padded[1:])
    cols = extreme(pairs[:-2], pairs[2:])  # (h + 1, w + 4)
    found: NDArray[np.float32] = extreme(
        extreme(rows[:-3], rows[3:]), extreme(cols[:, :-3], cols[:, 3:])
    )
    return found


class HotPixels:
    """What is known of one region. `look` is quick, `learn` takes longer and can wait.

    `hot` (K,) counts pixels of the flat region, ascending; it is replaced, never changed.
    `too_many` is how many stood out when that was more than can be believed, else 0.
    """

    def __init__(self, shape: tuple[int, int], known: NDArray[np.intp]) -> None:
        """`known` are pixels that were hot before: they count as having stood out in as many looks
        as it takes to call a pixel hot, and in no other.
        """
        self.shape = shape
        self.too_many = 0
        believed = known.size <= LARGEST_SHARE * shape[0] * shape[1]
        self.hot = known if believed else known[:0]
        self._share = np.zeros(shape, np.float32)
        self._share.flat[self.hot] = 1.0
        self._looks = np.zeros(shape, np.uint16)  # no more than LOOKS_KEPT are counted
        self._looks.flat[self.hot] = LOOKS_FIRST
        self._passes = 0
        self._rows = max(1, PIXELS_PER_LOOK // shape[1])
        self._row = 0
        self._band: NDArray[np.float32] | None = None

    @property
    def shares(self) -> NDArray[np.float32]:
        """(K,) in which share of the latest looks each hot pixel stood out."""
        found: NDArray[np.float32] = self._share.flat[self.hot]
        return found

    def look(self, region: NDArray[np.float32]) -> None:
        """Copy the next band of region (H, W) float32, NaN = no measurement, to learn from."""
        height, width = self.shape
        stop = min(self._row + self._rows, height)
        above, below = max(self._row - 2, 0), min(stop + 2, height)
        band = np.full((stop - self._row + 4, width + 4), np.nan, np.float32)
        first = above - self._row + 2
        band[first : first + below - above, 2:-2] = region[above:below]
        self._band = band

    def learn(self) -> bool:
        """Learn from the last look; True when `hot` was decided anew."""
        band, self._band = self._band, None
        if band is None:
            return False
        measured = ~np.isnan(band[2:-2, 2:-2])
        rows = slice(self._row, self._row + len(measured))
        share, looks = self._share[rows], self._looks[rows]
        looks += measured
        np.minimum(looks, LOOKS_KEPT, out=looks)
        change = (stands_out(band) - share) / np.maximum(looks, 1, dtype=np.float32)
        share += np.where(measured, change, np.float32(0))
        self._row += len(measured)
        if self._row < self.shape[0]:
            return False
        self._row = 0
        self._passes += 1
        decides = self._passes % PASSES_EACH == 0
        if decides:
            self._decide()
        return decides

    def _decide(self) -> None:
        candidates = (self._share > ENTERS) & (self._looks >= LOOKS_FIRST)
        candidates.flat[self.hot] = self.shares > LEAVES
        count = int(np.count_nonzero(candidates))
        known = int(np.count_nonzero(self._looks >= LOOKS_FIRST))
        self.too_many = count if count > LARGEST_SHARE * known else 0
        self.hot = np.flatnonzero(candidates) if not self.too_many else self.hot[:0]
