"""Mean and noise of the background at each distance from the beam.

Scattering that is no Bragg spot depends on the radius most of all, so pixels are compared with
those of their ring. Outliers are left out and the rest measured again, until spots no longer
count as background (Barty et al., J. Appl. Cryst. 47 (2014) 1118). Where spots of one height fill
more than 1 / snr² of a ring (4 % at 5) they raise its sigma so much that none is left out. What
this file does not know: what a peak is.

A photon counter that sees next to nothing has no such sigma: its pixels are 0, some are 1. There
the share of zeros tells how many photons a pixel expects, and Poisson's law how many are too many.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import poisson

LEAST_PIXELS = 50
"""A ring is one pixel wide, wider near the beam: fewer samples tell noise to 10 % at best."""

ENOUGH = 10
"""Measured pixels without which a ring says nothing, and nothing is found in it."""

NOISELESS = 1e-6
"""Noise below this share of what it was with the outliers is rounding, and no noise."""

ROUNDS = 4
"""Times that outliers are left out; spots are gone after the second, the rest is for rings that
are crowded with them."""

COMMON = 0.1
"""Share of a frame's pixels with one and the same value from which they are counts, mostly of 0;
of a frame with read noise next to no two pixels are alike."""

DARK = 0.7
"""Share of a ring's pixels at that value from which the ring is too dark for a sigma."""

FLAGGED = 0.01
"""Most pixels of a ring below that value: some detectors mark bad pixels so."""

BY_CHANCE = 1e-3
"""How often a dark pixel may reach the limit. Two neighbours must to make a peak, which happens in
one of ten frames of 350 x 350 pixels."""

SAMPLE = 97
"""One pixel of so many tells whether a frame is counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rings:
    """Which ring each pixel belongs to: index (rows, cols) intp, 0 innermost; `n` of them."""

    index: NDArray[np.intp]
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Levelled:
    """An image less its background. excess (rows, cols) float32: pixels less their ring's mean,
    0 where nothing was measured. mean and sigma (n,) float64: background of each ring, in the
    pixels' unit; sigma is infinite where a ring has too few pixels to tell, and 0
    where it shows no noise. least (n,) float64: excess that more than chance takes in a ring where
    photons are few, 0 in others.
    """

    excess: NDArray[np.float32]
    mean: NDArray[np.float64]
    sigma: NDArray[np.float64]
    least: NDArray[np.float64]


def radius_map(shape: tuple[int, int], beam_px: tuple[float, float]) -> NDArray[np.float32]:
    """(rows, cols) float32: distance in pixels of pixel centres from `beam_px`, which is (y, x)
    from the first pixel's outer corner.
    """
    y = np.arange(shape[0], dtype=np.float32) + np.float32(0.5 - beam_px[0])
    x = np.arange(shape[1], dtype=np.float32) + np.float32(0.5 - beam_px[1])
    radius: NDArray[np.float32] = np.hypot(y[:, None], x[None, :])
    return radius


def make_rings(radius_px: NDArray[np.float32]) -> Rings:
    """Rings of one pixel's width, those next to one another joined up to `LEAST_PIXELS`."""
    fine = radius_px.astype(np.intp)  # (rows, cols) intp
    fine -= fine.min()  # the beam may lie far off the image
    before = np.cumsum(np.bincount(fine.reshape(-1)))
    ring_of = np.zeros(len(before), np.intp)
    ring, closed = 0, 0
    for each, total in enumerate(before):
        ring_of[each] = ring
        if total - closed >= LEAST_PIXELS:
            ring, closed = ring + 1, total
    if ring_of[-1] and before[-1] - closed:  # what is left over at the rim is too little
        ring_of[ring_of == ring] = ring - 1
    return Rings(index=ring_of[fine], n=int(ring_of[-1]) + 1)


def level(
    values: NDArray[np.float32], rings: Rings, measured: NDArray[np.bool_], snr: float
) -> Levelled:
    """Values (rows, cols) float32 less the mean of their ring, which leaves out what is more than
    `snr` sigmas off. Exact: no sampling. Values that are not `measured` must be finite.
    """
    index = rings.index.reshape(-1)
    known = measured.reshape(-1)
    flat = np.where(known, values.reshape(-1), np.float32(0))  # (rows * cols,) float32
    dark = _dark(flat, index, known, rings.n)
    n_pixels = sums(index, known, rings.n)
    rough = sums(index, flat, rings.n) / np.maximum(n_pixels, 1.0)
    # Squares are taken off the mean, or float32 would lose the noise in them.
    flat -= rough.astype(np.float32)[index]
    flat[~known] = 0
    squares = sums(index, np.square(flat, dtype=np.float64), rings.n)
    total = sums(index, flat, rings.n)
    mean, sigma = _moments(n_pixels, total, squares)
    spread = sigma
    for _ in range(ROUNDS):
        # Outliers are few, so their sums are taken off instead of adding all the others again.
        low = (mean - snr * sigma).astype(np.float32)[index]
        high = (mean + snr * sigma).astype(np.float32)[index]
        outliers = np.flatnonzero(((flat > high) | (flat < low)) & known)
        of, what = index[outliers], flat[outliers].astype(np.float64)
        before = sigma
        mean, sigma = _moments(
            n_pixels - np.bincount(of, minlength=rings.n),
            total - sums(of, what, rings.n),
            squares - sums(of, what * what, rings.n),
        )
        if np.array_equal(sigma, before):
            break
    flat -= mean.astype(np.float32)[index]
    flat[~known] = 0
    sigma = np.where(sigma > NOISELESS * spread, sigma, 0.0)
    least = np.zeros(rings.n)
    if dark is not None:
        few = dark.expected < -np.log(DARK)
        expected = dark.expected[few]
        too_many = poisson.isf(BY_CHANCE, expected) + 0.5  # between that and one more
        least[few] = dark.none + dark.photon * too_many - (rough + mean)[few]
        sigma[few] = dark.photon * np.sqrt(expected)
    return Levelled(
        excess=flat.reshape(values.shape),
        mean=rough + mean,
        sigma=np.where(n_pixels >= ENOUGH, sigma, np.inf),
        least=least,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dark:
    """A frame of counts: the value of a pixel with no photon, what one photon adds, and the
    photons expected (n,) in a pixel of each ring, by its share of empty ones; infinite where that
    says nothing.
    """

    none: float
    photon: float
    expected: NDArray[np.float64]


def _dark(
    flat: NDArray[np.float32], index: NDArray[np.intp], known: NDArray[np.bool_], n: int
) -> _Dark | None:
    """None for a frame that is not mostly one value."""
    values, counts = np.unique(flat[known][::SAMPLE], return_counts=True)
    if not len(counts):
        return None
    common = counts.argmax()
    if counts[common] < COMMON * counts.sum():
        return None
    none = values[common]
    above = flat[known & (flat > none)]
    if not len(above):
        return None
    n_pixels = np.maximum(sums(index, known, n), 1.0)
    n_empty = sums(index, known & (flat == none), n)
    n_below = sums(index, known & (flat < none), n)
    # Where all are empty, half a photon may yet have come.
    share = np.clip(n_empty / n_pixels, 0.5 / n_pixels, 1 - 0.5 / n_pixels)
    return _Dark(
        none=float(none),
        photon=float(above.min() - none),
        expected=np.where(n_below <= FLAGGED * n_pixels, -np.log(share), np.inf),
    )


def sums(of: NDArray[np.intp], values: NDArray[Any], n: int) -> NDArray[np.float64]:
    """(n,) float64: the sum of the values (m,) that belong `of` (m,) each of n groups."""
    return np.bincount(of, values, n).astype(np.float64, copy=False)


def _moments(
    n_pixels: NDArray[np.float64], total: NDArray[np.float64], squares: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and sigma (n,) of each ring."""
    divisor = np.maximum(n_pixels, 1.0)
    mean = total / divisor
    return mean, np.sqrt(np.maximum(squares / divisor - mean * mean, 0.0))
