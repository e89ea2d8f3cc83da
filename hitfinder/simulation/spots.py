"""Spots on the detector: their light, and how well they stand out.

A spot is an elliptical Gaussian along and across the line to the beam's centre. Its signal to
noise is taken over its footprint, the ellipse of 2.5 sigma (as integration programs take theirs),
no smaller than 3 x 3 pixels because spots of one pixel are judged with their neighbours:

    share * photons / sqrt(share * photons + pixels * (background + noise²))

with share = 1 - exp(-2.5² / 2), background the photons expected there without the spot, and noise
the detector's. Left out: what neighbouring spots add to each other's background.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from hitfinder.simulation.maps import Image

FOOTPRINT_SIGMA = 2.5
SHARE = 1 - float(np.exp(-(FOOTPRINT_SIGMA**2) / 2))
SMALLEST_PX = 9.0
PIXEL_VARIANCE = 1 / 12
"""What a pixel's own width adds to a spot's variance, in pixels squared."""

FAINTEST_PHOTONS = 0.05
"""A stamp ends where a pixel would get less."""

LARGEST_STAMP_PX = 40
MERGED_PX = 2.0
"""Spots closer than this are one: nobody could tell them apart."""

_HALF_SIZES = (2, 3, 4, 6, 9, 14, 21, LARGEST_STAMP_PX)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spots:
    """(k,) float64 each. Positions in the window's pixels, first pixel's outer corner at 0; photons
    expected in all; sigma along and across the unit vector (along_x, along_y).
    """

    x_px: NDArray[np.float64]
    y_px: NDArray[np.float64]
    photons: NDArray[np.float64]
    along_px: NDArray[np.float64]
    across_px: NDArray[np.float64]
    along_x: NDArray[np.float64]
    along_y: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.x_px)

    @property
    def area_px(self) -> NDArray[np.float64]:
        """(k,): pixels in each footprint."""
        along = np.sqrt(self.along_px**2 + PIXEL_VARIANCE)
        across = np.sqrt(self.across_px**2 + PIXEL_VARIANCE)
        area: NDArray[np.float64] = np.pi * FOOTPRINT_SIGMA**2 * along * across
        return np.maximum(area, SMALLEST_PX)

    def take(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> "Spots":
        """Some of them."""
        return Spots(**{one.name: getattr(self, one.name)[which] for one in fields(self)})

    def times(self, factor: float | NDArray[np.float64]) -> "Spots":
        """The same spots, brighter."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return Spots(**(values | {"photons": self.photons * factor}))


def joined(parts: list[Spots]) -> Spots:
    """All of them in one."""
    return Spots(
        **{
            one.name: np.concatenate([getattr(part, one.name) for part in parts])
            for one in fields(Spots)
        }
    )


def add_light(means: Image, spots: Spots) -> None:
    """Add the photons expected from `spots` to `means` (rows, cols), in place."""
    rows, cols = means.shape
    along = spots.along_px**2 + PIXEL_VARIANCE
    across = spots.across_px**2 + PIXEL_VARIANCE
    peak = spots.photons / (2 * np.pi * np.sqrt(along * across))
    widest = np.sqrt(np.maximum(along, across))
    reach = widest * np.sqrt(2 * np.log(np.maximum(peak / FAINTEST_PHOTONS, 1.0)))
    size = np.searchsorted(_HALF_SIZES[:-1], reach)
    # exp(-(xx dx² + yy dy² + xy dx dy))
    xx = spots.along_x**2 / (2 * along) + spots.along_y**2 / (2 * across)
    yy = spots.along_y**2 / (2 * along) + spots.along_x**2 / (2 * across)
    xy = spots.along_x * spots.along_y * (1 / along - 1 / across)
    for index, half in enumerate(_HALF_SIZES):
        of = np.flatnonzero((size == index) & (peak > FAINTEST_PHOTONS / 10))
        if not len(of):
            continue
        steps = np.arange(-half, half + 1)
        y = np.floor(spots.y_px[of]).astype(np.intp)[:, None] + steps  # (k, 2 half + 1)
        x = np.floor(spots.x_px[of]).astype(np.intp)[:, None] + steps
        dy = (y + 0.5 - spots.y_px[of, None]).astype(np.float32)[:, :, None]
        dx = (x + 0.5 - spots.x_px[of, None]).astype(np.float32)[:, None, :]
        a, b, c, p = (each[of].astype(np.float32)[:, None, None] for each in (xx, yy, xy, peak))
        light = p * np.exp(-(a * dx * dx + b * dy * dy + c * dx * dy))  # (k, h, w)
        light *= ((y >= 0) & (y < rows))[:, :, None] & ((x >= 0) & (x < cols))[:, None, :]
        places = np.clip(y, 0, rows - 1)[:, :, None] * cols + np.clip(x, 0, cols - 1)[:, None, :]
        np.add.at(means.reshape(-1), places.reshape(-1), light.reshape(-1))


def signal_to_noise(spots: Spots, pixel_variance: NDArray[np.floating]) -> NDArray[np.float64]:
    """(k,): see the module's head; `pixel_variance` (k,) is background + noise²."""
    signal = SHARE * spots.photons
    snr: NDArray[np.float64] = signal / np.sqrt(signal + spots.area_px * pixel_variance + 1e-12)
    return snr


def photons_for(snr: NDArray[np.float64], background: NDArray[np.float64]) -> NDArray[np.float64]:
    """(k,): photons that give a signal to noise, `background` being the footprint's variance."""
    photons: NDArray[np.float64] = (
        snr * snr / 2 + snr * np.sqrt(snr * snr / 4 + background)
    ) / SHARE
    return photons


def merged(spots: Spots) -> Spots:
    """Spots closer than MERGED_PX become the brighter one, with the photons of both."""
    count = len(spots)
    order = np.argsort(spots.x_px)
    x, y, photons = spots.x_px[order], spots.y_px[order], spots.photons[order]
    into = np.arange(count)
    for lag in range(1, count):
        near_x = x[lag:] - x[:-lag] < MERGED_PX
        if not near_x.any():
            break
        first = np.flatnonzero(
            near_x & (np.hypot(x[lag:] - x[:-lag], y[lag:] - y[:-lag]) < MERGED_PX)
        )
        brighter = photons[first] >= photons[first + lag]
        faint = np.where(brighter, first + lag, first)
        bright = np.where(brighter, first, first + lag)
        better = photons[into[faint]] < photons[bright]
        into[faint[better]] = bright[better]
    for _ in range(4):  # a fainter neighbour's neighbour
        into = into[into]
    total = np.zeros(count)
    np.add.at(total, into, photons)
    keep = into == np.arange(count)
    whole = Spots(
        **{
            one.name: total if one.name == "photons" else getattr(spots, one.name)[order]
            for one in fields(Spots)
        }
    )
    return whole.take(keep)
