"""Where ice scatters: the rings of hexagonal ice, from a detector's geometry.

Frozen drops give smooth rings and, worse, single bright spots that nothing but their place tells
from a crystal's. What this file does not know: tilted detectors, and ice of other kinds.
"""

import math

import numpy as np
from numpy.typing import NDArray

from hitfinder.frame import Detector

ICE_ANGSTROM = (3.895, 3.661, 3.438, 2.667, 2.249, 2.068, 1.947, 1.916, 1.882, 1.719)
"""Lattice spacings of hexagonal ice whose reflections are strong (a = 4.497, c = 7.322 angstrom,
Röttger et al., Acta Cryst. B50 (1994) 644)."""

WIDTH = 0.012
"""Half of a ring's width as a share of its radius: strained grains, and a distance that is known
to a percent."""

SPOT_PX = 3.0
"""Beyond that, so much of a spot reaches out of the ring."""


FARTHEST_PX = 1e6
"""No detector reaches further."""

SLIVER_PX = 12
"""Rings no further apart are one."""

ROWS_AT_ONCE = 32
"""They stay in the cache: less than half the time of all rows at once."""


def ice_rings(
    shape: tuple[int, int], beam_px: tuple[float, float], detector: Detector
) -> NDArray[np.bool_] | None:
    """(rows, cols) bool, True where ice may scatter; `beam_px` is the beam's (y, x) in the region,
    from its first pixel's outer corner. None where the detector does not say its pixel, distance
    and wavelength.
    """
    pixel_mm, distance_mm = detector.pixel_x_mm, detector.distance_mm
    wavelength = detector.wavelength_angstrom
    if not pixel_mm or not distance_mm or not wavelength:
        return None
    spans: list[tuple[int, int]] = []  # radii [first, last) in pixels, from the inside out
    for spacing in ICE_ANGSTROM:
        angle = 2 * math.asin(min(1.0, wavelength / (2 * spacing)))
        middle = math.tan(angle) * distance_mm / pixel_mm if angle < math.pi / 2 else math.inf
        if middle <= FARTHEST_PX:
            reach = WIDTH * middle + SPOT_PX
            first, last = max(0, round(middle - reach)), round(middle + reach)
            # What little shows between two rings would be all edge.
            near = bool(spans) and first - spans[-1][1] <= SLIVER_PX
            spans.append((spans[-1][1] if near else first, last))
    beyond = max((last for _, last in spans), default=0)
    icy = np.zeros(beyond + 1, np.bool_)  # by radius; the last one stands for all beyond
    for first, last in spans:
        icy[first:last] = True
    rings = np.empty(shape, np.bool_)
    with np.errstate(over="ignore"):  # a beam centre may be any number
        y = np.arange(shape[0], dtype=np.float32)[:, np.newaxis] + np.float32(0.5 - beam_px[0])
        x = np.arange(shape[1], dtype=np.float32) + np.float32(0.5 - beam_px[1])
        down, across = np.square(y, dtype=np.float64), np.square(x, dtype=np.float64)
        for first in range(0, shape[0], ROWS_AT_ONCE):
            some = slice(first, first + ROWS_AT_ONCE)
            radius = np.minimum(np.sqrt(down[some] + across).astype(np.float32), beyond)
            icy.take(radius.astype(np.intp), mode="clip", out=rings[some])
    return rings
