"""Made-up frames: a radial Poisson background, crystals' spots on it, and what is no crystal.

Only as much physics as the tests need; `hitfinder.simulation` has more.
"""

import math

import numpy as np
from numpy.typing import NDArray

Rng = np.random.Generator
Pixels = NDArray[np.float32]


def background(photons: float, rows: int = 350, cols: int = 350) -> NDArray[np.float64]:
    """Expected photons (rows, cols): `photons` at the beam, falling to a third of it."""
    y, x = np.ogrid[:rows, :cols]
    radius = np.hypot(y - rows / 2, x - cols / 2)
    falling: NDArray[np.float64] = photons * (0.3 + 0.7 * np.exp(-radius / 80))
    return falling


def with_spots(
    expected: NDArray[np.float64], rng: Rng, spots: int, snr: float, width_px: float
) -> NDArray[np.float64]:
    """Adds Gaussian spots of a FWHM at random places, integrated over pixels.

    The brightest pixel of each is at least `snr` times the noise (of one photon, at least) above
    the background.
    """
    out = expected.copy()
    sigma, reach = width_px / 2.355, 7
    for _ in range(spots):
        y, x = (rng.uniform(reach + 1, size - reach - 1) for size in out.shape)
        row, col = int(y), int(x)
        profile = np.outer(_integrated(y - row, sigma, reach), _integrated(x - col, sigma, reach))
        height = snr * math.exp(rng.exponential(0.7)) * math.sqrt(max(expected[row, col], 1.0))
        out[row - reach : row + reach + 1, col - reach : col + reach + 1] += (
            height * profile / profile.max()
        )
    return out


def hot_pixels(frame: Pixels, rng: Rng, number: int, lowest: float, highest: float) -> Pixels:
    """Single pixels raised by something between `lowest` and `highest`, evenly in its logarithm."""
    out = frame.copy()
    rows, cols = (rng.integers(0, size, number) for size in frame.shape)
    out[rows, cols] += np.exp(rng.uniform(math.log(lowest), math.log(highest), number))
    return out


def tracks(frame: Pixels, rng: Rng, number: int, length: int, height: float) -> Pixels:
    """Cosmic particles: straight lines of pixels at random angles."""
    out = frame.copy()
    for _ in range(number):
        row, col = (rng.integers(length, size - length) for size in frame.shape)
        angle = rng.uniform(0, 2 * math.pi)
        for step in range(length):
            out[int(row + step * math.sin(angle)), int(col + step * math.cos(angle))] += height
    return out


def poisson(expected: NDArray[np.float64], rng: Rng) -> Pixels:
    """Photons."""
    return rng.poisson(expected).astype(np.float32)


def _integrated(place: float, sigma: float, reach: int) -> NDArray[np.float64]:
    """Share of a Gaussian at `place` in each pixel from -reach to reach."""
    edges = [math.erf((edge - place) / sigma / math.sqrt(2)) for edge in range(-reach, reach + 2)]
    return np.diff(edges) / 2
