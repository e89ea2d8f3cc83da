"""Bragg peaks of a frame: connected pixels that stand out of the background at their radius.

In the family of peakfinder8 (Barty et al., J. Appl. Cryst. 47 (2014) 1118): the background's mean
and sigma come from rings about the beam, pixels above mean + min_snr * sigma (and the threshold,
where there is one) are joined to blobs, blobs of a likely size are held against the background
around them. Without a threshold, gain, offset and unit of the pixels cancel out.

What it does not know: panels (a step between two is background like any other), ice and salt
(their spots are peaks), and files. A ring of one value throughout has no noise to compare with;
there only a threshold tells a peak, and without one there is none.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hitfinder.peaks.rings import (
    Levelled,
    Rings,
    level,
    make_rings,
    radius_map,
    sums,
)
from hitfinder.peaks.settings import PeakSettings

ENOUGH_AROUND = 16
"""Background pixels about a peak without which its ring's background is taken instead."""

_EIGHT = np.ones((3, 3), np.bool_)  # diagonal neighbours are connected


@dataclass(frozen=True, slots=True, kw_only=True)
class Peaks:
    """The peaks of one frame, (k,) each, in reading order of their first pixels.

    row_px and col_px: centre weighted by intensity, from the first pixel's outer corner, so that
    the middle of pixel 0 is 0.5. intensity: sum over the peak's pixels above the local background;
    max_intensity: its brightest pixel, likewise; both in the pixels' unit. snr: intensity over the
    noise of as many background pixels, infinite where there is none. n_pixels: those that stand
    out.
    """

    row_px: NDArray[np.float64]
    col_px: NDArray[np.float64]
    intensity: NDArray[np.float64]
    max_intensity: NDArray[np.float64]
    snr: NDArray[np.float64]
    n_pixels: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.row_px)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakFinder:
    """Finds peaks in frames of one shape. Made by `plan_peaks`; `searched` (rows, cols) is None
    where every radius is searched.
    """

    settings: PeakSettings
    rings: Rings = field(repr=False)
    searched: NDArray[np.bool_] | None = field(repr=False)

    def find(self, image: NDArray[np.float32]) -> Peaks:
        """The peaks of an image (rows, cols) float32, NaN or infinite = no measurement.

        Raises ValueError for an image of another shape than planned.
        """
        if image.shape != self.rings.index.shape:
            raise ValueError(f"image of shape {image.shape}, planned {self.rings.index.shape}")
        measured = np.isfinite(image)
        if not measured.any():
            return _NO_PEAKS
        # Less a rough offset, so that float32 holds the noise.
        offset = float(image[measured][::97].mean(dtype=np.float64))
        values = np.where(measured, image, np.float32(offset)) - np.float32(offset)
        levelled = level(values, self.rings, measured, self.settings.min_snr)
        bright = self._bright(levelled, measured, offset)
        blobs = _blobs(levelled.excess, bright, self.settings)
        if not len(blobs.brightest):
            return _NO_PEAKS
        return _peaks(levelled, measured, bright, blobs, self.rings, self.settings)

    def _bright(
        self, levelled: Levelled, measured: NDArray[np.bool_], offset: float
    ) -> NDArray[np.bool_]:
        """(rows, cols): pixels that may belong to a peak."""
        limits = np.maximum(self.settings.min_snr * levelled.sigma, levelled.least)  # (rings,)
        if self.settings.threshold is None:
            limits[levelled.sigma == 0] = np.inf
        else:
            limits = np.maximum(limits, self.settings.threshold - offset - levelled.mean)
        bright: NDArray[np.bool_] = levelled.excess > limits.astype(np.float32)[self.rings.index]
        bright &= measured
        if self.searched is not None:
            bright &= self.searched
        return bright


def plan_peaks(
    shape: tuple[int, int],
    settings: PeakSettings,
    *,
    beam_x_px: float | None = None,
    beam_y_px: float | None = None,
) -> PeakFinder:
    """A finder for images of `shape` (rows, cols).

    The beam is given in pixels from the first pixel's outer corner and may lie outside the image.
    Where it is None, the image's middle stands in for it: good enough where the background falls
    off slowly, and wrong for a region off the beam.
    """
    beam_px = (
        shape[0] / 2 if beam_y_px is None else beam_y_px,
        shape[1] / 2 if beam_x_px is None else beam_x_px,
    )
    radius_px = radius_map(shape, beam_px)
    nearest, farthest = settings.min_radius_px, settings.max_radius_px
    searched = None
    if nearest is not None or farthest is not None:
        searched = (radius_px >= (nearest or 0.0)) & (
            radius_px <= (np.inf if farthest is None else farthest)
        )
    return PeakFinder(settings=settings, rings=make_rings(radius_px), searched=searched)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Blobs:
    """Blobs of a likely size. pixels (m,): flat places of all their pixels; `of` (m,): which of
    the k blobs; brightest (k,): flat place of each one's brightest pixel; n_pixels (k,).
    """

    pixels: NDArray[np.intp]
    of: NDArray[np.intp]
    brightest: NDArray[np.intp]
    n_pixels: NDArray[np.intp]


def _blobs(
    values: NDArray[np.float32], bright: NDArray[np.bool_], settings: PeakSettings
) -> _Blobs:
    labels, n = ndimage.label(bright, _EIGHT)
    pixels = np.flatnonzero(bright)
    of = labels.reshape(-1)[pixels] - 1
    sizes = np.bincount(of, minlength=n)
    likely = (sizes >= settings.min_pixels) & (sizes <= settings.max_pixels)
    number = np.cumsum(likely) - 1  # of the likely ones among themselves
    pixels, of = pixels[likely[of]], number[of[likely[of]]]
    order = np.lexsort((values.reshape(-1)[pixels], of))  # by blob, the brightest last
    last = np.cumsum(sizes[likely]) - 1
    return _Blobs(
        pixels=pixels, of=of, brightest=pixels[order[last]], n_pixels=sizes[likely].astype(np.intp)
    )


def _peaks(
    levelled: Levelled,
    measured: NDArray[np.bool_],
    bright: NDArray[np.bool_],
    blobs: _Blobs,
    rings: Rings,
    settings: PeakSettings,
) -> Peaks:
    """Blobs whose signal to noise over their surroundings is enough."""
    values = levelled.excess  # without the slope towards the beam, which is no noise
    mean, sigma = _surroundings(
        values, measured, bright, blobs.brightest, settings.local_background_radius_px
    )
    ring = rings.index.reshape(-1)[blobs.brightest]
    mean = np.nan_to_num(mean)
    # Surroundings quieter than the ring are too few pixels to say so.
    sigma = np.fmax(sigma, levelled.sigma[ring])
    k, cols = len(mean), values.shape[1]
    excess = values.reshape(-1)[blobs.pixels].astype(np.float64) - mean[blobs.of]  # (m,) float64
    intensity = sums(blobs.of, excess, k)
    with np.errstate(divide="ignore"):  # no noise: infinite
        snr = intensity / (sigma * np.sqrt(blobs.n_pixels))
    # Weights below 0 would pull a centre out of its blob.
    weight = np.maximum(excess, 0.0)
    weights = sums(blobs.of, weight, k)
    height = values.reshape(-1)[blobs.brightest] - mean
    good = (snr >= settings.min_snr) & (weights > 0)
    divisor = np.where(good, weights, 1.0)
    row = sums(blobs.of, weight * (blobs.pixels // cols + 0.5), k) / divisor
    col = sums(blobs.of, weight * (blobs.pixels % cols + 0.5), k) / divisor
    return Peaks(
        row_px=row[good],
        col_px=col[good],
        intensity=intensity[good],
        max_intensity=height[good],
        snr=snr[good],
        n_pixels=blobs.n_pixels[good],
    )


def _surroundings(
    values: NDArray[np.float32],
    measured: NDArray[np.bool_],
    bright: NDArray[np.bool_],
    centres: NDArray[np.intp],
    radius_px: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and sigma (k,) of the background in the squares about `centres`; NaN where too little
    of it is there. Pixels that touch a bright one are left out: spots have tails.
    """
    rows, cols = values.shape
    reach = np.arange(-radius_px - 1, radius_px + 2)  # one more, to see what touches the rim
    row = (centres // cols)[:, None, None] + reach[:, None]
    col = (centres % cols)[:, None, None] + reach
    inside = (row >= 0) & (row < rows) & (col >= 0) & (col < cols)  # (k, w + 2, w + 2)
    places = np.where(inside, row * cols + col, 0)
    spots = bright.reshape(-1)[places] & inside
    touched = spots[:, :-2] | spots[:, 1:-1] | spots[:, 2:]
    touched = touched[:, :, :-2] | touched[:, :, 1:-1] | touched[:, :, 2:]  # (k, w, w)
    core = (slice(None), slice(1, -1), slice(1, -1))
    used = inside[core] & measured.reshape(-1)[places[core]] & ~touched
    n_pixels = used.sum(axis=(1, 2))
    n_or_nan = np.where(n_pixels >= ENOUGH_AROUND, n_pixels, np.nan)
    around = np.where(used, values.reshape(-1)[places[core]].astype(np.float64), 0.0)
    mean = around.sum(axis=(1, 2)) / n_or_nan
    off = np.where(used, around - mean[:, None, None], 0.0)
    return mean, np.sqrt((off * off).sum(axis=(1, 2)) / n_or_nan)


_NO_PEAKS = Peaks(
    row_px=np.empty(0),
    col_px=np.empty(0),
    intensity=np.empty(0),
    max_intensity=np.empty(0),
    snr=np.empty(0),
    n_pixels=np.empty(0, np.intp),
)
