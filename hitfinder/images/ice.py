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


SLIVER_PX = 12
"""Rings no further apart are one."""


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
    y = np.arange(shape[0], dtype=np.float32)[:, np.newaxis] + np.float32(0.5 - beam_px[0])
    x = np.arange(shape[1], dtype=np.float32) + np.float32(0.5 - beam_px[1])
    radius = np.hypot(y, x).astype(np.int32)  # (rows, cols), whole pixels from the beam
    icy = np.zeros(int(radius.max()) + 1, np.bool_)  # by radius
    for spacing in ICE_ANGSTROM:
        if wavelength < 2 * spacing:
            angle = 2 * math.asin(wavelength / (2 * spacing))
            if angle < math.pi / 2:
                middle = math.tan(angle) * distance_mm / pixel_mm
                reach = WIDTH * middle + SPOT_PX
                first, last = max(0, round(middle - reach)), max(0, round(middle + reach))
                # Rings come from the inside out. What little shows between two would be all edge.
                before = icy[max(0, first - SLIVER_PX) : first]
                first -= int(before[::-1].argmax()) if before.any() else 0
                icy[first:last] = True
    rings: NDArray[np.bool_] = icy[radius]
    return rings
