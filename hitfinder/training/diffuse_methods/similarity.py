"""How alike frames are, each with each: (n, n) float64, for diffusion maps.

`euclidean` and `correlation` compare pictures as they lie. Diffuse features lie where the crystal
turned them, so that two diffuse frames are as unlike as any: in Su's report both failed.

`common_line` compares them where they must agree. Two frames of one crystal are cuts of the same
field by two spheres through its origin, and spheres cut one another in a circle, of which each
frame holds two arcs from its middle outwards:

    azimuth(s) = a ± (90° + asin(wavelength s tan(tilt / 2) / (2 cos(theta))))

for beams `tilt` apart that lie towards azimuth a of one another. How the crystals lay is not known;
so every azimuth of one frame is tried with every one of the other, at a few tilts, and the highest
correlation counts. (Su does not say how orientations were found.) All pairs of a tilt are one
product of matrices. Left out: Friedel's pairs, which double the arcs at small angles.
"""

import numpy as np
from numpy.typing import NDArray

from hitfinder.training.diffuse_methods.prepared import (
    HIGHEST_S,
    LOWEST_S,
    RINGS,
    SECTORS,
    Prepared,
)

TILTS_DEG = (25.0, 55.0, 80.0, 100.0)
"""From one to the next arcs bend by some 6 degrees more at their ends, about a sector. Larger tilts
bend them until they leave most detectors."""

MEASURED_SHARE = 0.6
"""An arc counts when so much of it was measured."""

_LINES_AT_ONCE = 4096
"""Rows of a block of the product: 4096 x 4096 float32 are 64 MB."""

Matrix = NDArray[np.float64]


def euclidean(frames: Prepared) -> Matrix:
    """exp(-|x - x'|² / sigma), sigma the median of |x - x'|²: Su's first try, who does not give
    sigma.
    """
    products = _products(frames)
    square = np.diag(products)
    distance = np.maximum(square[:, None] + square[None, :] - 2 * products, 0)
    others = ~np.eye(len(distance), dtype=np.bool_)
    alike: Matrix = np.exp(-distance / max(float(np.median(distance[others])), 1e-30))
    return alike


def correlation(frames: Prepared) -> Matrix:
    """exp(correlation coefficient of two pictures): Su's second try."""
    products = _products(frames)
    norm = np.sqrt(np.maximum(np.diag(products), 1e-30))
    alike: Matrix = np.exp(products / norm[:, None] / norm[None, :])
    return alike


def common_line(frames: Prepared) -> Matrix:
    """exp(highest correlation along any common arc)."""
    best = np.full((len(frames), len(frames)), -1.0, np.float32)
    for tilt_deg in TILTS_DEG:
        lines = arcs(frames, tilt_deg)  # (n, SECTORS, 2 RINGS)
        # What lies on one side of the circle in one frame lies on the other side in the other.
        swapped = np.roll(lines, RINGS, axis=2)
        step = max(_LINES_AT_ONCE // SECTORS, 1)
        for first in range(0, len(frames), step):
            ours = lines[first : first + step].reshape(-1, 2 * RINGS)
            for other in range(first, len(frames), step):
                theirs = swapped[other : other + step].reshape(-1, 2 * RINGS)
                found = ours @ theirs.T
                shape = (len(ours) // SECTORS, SECTORS, len(theirs) // SECTORS, SECTORS)
                highest = found.reshape(shape).max(axis=3).max(axis=1)
                at = np.s_[first : first + step, other : other + step]
                best[at] = np.maximum(best[at], highest)
    best = np.triu(best, 1)
    np.fill_diagonal(best, 0.5)
    alike: Matrix = np.exp((best + best.T).astype(np.float64))  # e on the diagonal
    return alike


def _products(frames: Prepared) -> Matrix:
    flat = frames.grid.reshape(len(frames), -1)
    products: Matrix = (flat @ flat.T).astype(np.float64)
    return products


def arcs(frames: Prepared, tilt_deg: float) -> NDArray[np.float32]:
    """(n, SECTORS, 2 RINGS): both arcs for each azimuth of the other beam, mean 0 and length
    1 over what was measured; 0 where that is too little.
    """
    s = LOWEST_S + (np.arange(RINGS) + 0.5) * (HIGHEST_S - LOWEST_S) / RINGS
    sine = frames.wavelength_angstrom[:, None] * s / 2  # (n, RINGS): sine of half the angle
    bent = np.arcsin(
        np.clip(sine * np.tan(np.deg2rad(tilt_deg) / 2) / np.sqrt(1 - sine**2), 0, 0.999)
    )
    aside = (np.pi / 2 + bent) * SECTORS / (2 * np.pi)
    around = np.arange(SECTORS)[None, :, None]
    rings = np.arange(RINGS)[None, None, :]
    frame = np.arange(len(frames))[:, None, None]
    sides = [
        frames.polar[
            frame, np.rint(around + sign * aside[:, None, :]).astype(np.intp) % SECTORS, rings
        ]
        for sign in (1, -1)
    ]
    lines = np.concatenate(sides, axis=2)
    measured = np.isfinite(lines)
    count = measured.sum(axis=2, keepdims=True)
    lines = np.where(measured, lines, np.float32(0))
    lines -= lines.sum(axis=2, keepdims=True) / np.maximum(count, 1)
    lines *= measured & (count >= MEASURED_SHARE * 2 * RINGS)
    length = np.sqrt(np.einsum("nsr,nsr->ns", lines, lines))[:, :, None]
    even: NDArray[np.float32] = (lines / np.maximum(length, 1e-12)).astype(np.float32)
    return even
