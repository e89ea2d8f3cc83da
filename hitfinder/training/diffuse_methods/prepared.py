"""Frames to what the methods of Su's report compare: the background that is round taken off, spots
cut down, and what is left laid out on the Ewald sphere.

    frame (H, W) -> blocks of pixels, spots cut -> / polarisation -> - mean at each radius
    -> anisotropy: how much is left; grid: a picture about the beam; polar: rings of sectors

Pixels in gaps are no part of any mean. The picture and the rings are laid out by scattering angle,
not by pixel, so that frames of different detectors can be compared. What this file does not know:
how the crystal lay; and it takes the beam to be polarised along the detector's rows.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import DataFileError
from hitfinder.frame import Detector

Image = NDArray[np.float32]

BLOCKS = 240
"""Most blocks along a frame's side. Diffuse features are some 15 pixels wide in frames of 1750."""

ANISOTROPY_BLOCKS = 150
"""The same where only the amount counts: in smaller blocks photon noise hides what is weak."""

CUT_SIGMA = 3.0
"""A block's pixels are cut down to so many sigma above its mean, twice: spots are no anisotropy."""

OUTLIER_SIGMA = 5.0
"""A block so far from its radius' median is left out: what large spots and shadows do, while
diffuse light is part of what is usual there."""

_DEVIATION = 0.6745
"""The median absolute deviation of a normal distribution, in sigma."""

LEAST_SHARE = 0.5
"""A block counts when so much of it was measured."""

GRID = 200
"""Side of the picture; Su embeds frames in 200 x 200 x 200 points."""

RINGS, SECTORS = 26, 72
"""Of the polar picture: steps of 5 degrees, and of 1/60 per angstrom, a feature's usual width."""

LOWEST_S, HIGHEST_S = 0.1, 0.53
"""1/d, in 1/angstrom: where the picture's rings begin and end. Nearer the beam there is no diffuse
scattering of atoms' motions; farther there are few detectors."""

_FEWEST_BLOCKS = 8
"""A radius with fewer has no mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """n frames. `anisotropy` (n,) float64: mean absolute difference from the round background, in
    the detector's own units; `grid` (n, GRID, GRID) float32 of mean 0 and variance 1 where
    measured, else 0; `polar` (n, SECTORS, RINGS) float32, NaN where not measured, in units of the
    noise that the background's photons would make but for a factor, sector 0 beginning at the x
    axis. `wavelength_angstrom` (n,) float64.
    """

    anisotropy: NDArray[np.float64]
    grid: NDArray[np.float32]
    polar: NDArray[np.float32]
    wavelength_angstrom: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.anisotropy)


def joined(parts: list[Prepared]) -> Prepared:
    """All frames in one, in order."""
    return Prepared(
        anisotropy=np.concatenate([part.anisotropy for part in parts]),
        grid=np.concatenate([part.grid for part in parts]),
        polar=np.concatenate([part.polar for part in parts]),
        wavelength_angstrom=np.concatenate([part.wavelength_angstrom for part in parts]),
    )


class Blocks:
    """A detector's pixels in square blocks, as many along its longer side as `most` allows. `s`
    (rows, cols) float64 is 1/d of each block, in 1/angstrom, `azimuth_rad` from the x axis.

    Raises DataFileError where the detector does not say where it stands.
    """

    def __init__(self, detector: Detector, most: int = BLOCKS) -> None:
        values = (
            detector.beam_x_px,
            detector.beam_y_px,
            detector.pixel_x_mm,
            detector.pixel_y_mm,
            detector.distance_mm,
            detector.wavelength_angstrom,
        )
        shape = detector.shape
        if shape is None or len(shape) != 2 or any(value is None for value in values):
            raise DataFileError(
                "the data's detector does not say its beam centre, pixel size, distance and "
                "wavelength; write them into the file (see hitfinder simulate)"
            )
        beam_x, beam_y, pixel_x, pixel_y, distance, wavelength = (
            float(value) for value in values if value is not None
        )
        self.wavelength_angstrom = wavelength
        self._side = side = -(-max(shape) // most)
        y, x = np.meshgrid(
            ((np.arange(shape[0] // side) + 0.5) * side - beam_y) * pixel_y,
            ((np.arange(shape[1] // side) + 0.5) * side - beam_x) * pixel_x,
            indexing="ij",
        )
        square = x * x + y * y
        self.s = 2 * np.sin(np.arctan2(np.sqrt(square), distance) / 2) / wavelength
        self.azimuth_rad = np.arctan2(y, x)
        self._polarised = (1 - x * x / (square + distance * distance)).astype(np.float32)
        # One block wide.
        self._ring = (np.sqrt(square) / (side * min(pixel_x, pixel_y))).astype(np.intp)

    def means(self, image: Image, least_share: float = LEAST_SHARE) -> Image:
        """(rows, cols) means of the blocks of a frame (H, W), spots cut down; NaN where less than
        `least_share` of a block was measured.
        """
        return _blocks(image, self._side, least_share)

    def left(self, blocks: Image) -> tuple[Image, Image]:
        """What is left of blocks (rows, cols) without the round background, and that background;
        both as if the beam were not polarised, outliers NaN.
        """
        blocks = blocks / self._polarised
        away = blocks - self._middle(blocks)
        usual = self._middle(abs(away)) / _DEVIATION
        blocks = np.where(abs(away) <= OUTLIER_SIGMA * usual, blocks, np.float32(np.nan))
        measured = np.isfinite(blocks)
        counted = np.bincount(self._ring[measured], minlength=int(self._ring.max()) + 1)
        sums = np.bincount(self._ring[measured], blocks[measured], minlength=len(counted))
        means = np.where(counted >= _FEWEST_BLOCKS, sums / np.maximum(counted, 1), np.nan)
        background: Image = means[self._ring].astype(np.float32)
        return blocks - background, background

    def _middle(self, blocks: Image) -> Image:
        """(rows, cols): the median at each block's radius; NaN where none was measured."""
        flat, ring = blocks.reshape(-1), self._ring.reshape(-1)
        at = np.flatnonzero(np.isfinite(flat))
        order = at[np.lexsort((flat[at], ring[at]))]
        counted = np.bincount(ring[at], minlength=int(ring.max()) + 1)
        middle = np.cumsum(counted) - counted + counted // 2
        values = np.full(len(counted), np.nan, np.float32)
        found = counted > 0
        values[found] = flat[order[middle[found]]]
        medians: Image = values[self._ring]
        return medians


class Preparer:
    """Prepares the frames of one detector; where every block looks is worked out once.

    Raises DataFileError where the detector does not say where it stands.
    """

    def __init__(self, detector: Detector) -> None:
        self._fine = fine = Blocks(detector)
        self._coarse = Blocks(detector, ANISOTROPY_BLOCKS)
        self._sector = np.floor(fine.azimuth_rad / (2 * np.pi) * SECTORS).astype(np.intp) % SECTORS
        self._polar = np.floor((fine.s - LOWEST_S) / (HIGHEST_S - LOWEST_S) * RINGS).astype(np.intp)
        self._grid = _nearest(fine.s, fine.azimuth_rad)

    def one(self, image: Image) -> Prepared:
        """A frame (H, W) float32, NaN = no measurement."""
        uneven, _ = self._coarse.left(self._coarse.means(image))
        left, background = self._fine.left(self._fine.means(image))
        lowest = np.nanmax(background, initial=0.0) * np.float32(1e-3)
        noise: Image = np.sqrt(np.maximum(background, lowest)).astype(np.float32)
        return Prepared(
            anisotropy=np.array([np.nanmean(abs(uneven))]),
            grid=self._picture(left)[np.newaxis],
            polar=self._sectors(left / noise)[np.newaxis],
            wavelength_angstrom=np.array([self._fine.wavelength_angstrom]),
        )

    def _picture(self, left: Image) -> Image:
        picture = np.where(self._grid >= 0, left.reshape(-1)[self._grid], np.nan)
        spread = np.nanstd(picture)
        even: Image = (picture - np.nanmean(picture)) / (spread if spread else 1.0)
        return np.nan_to_num(even).astype(np.float32)

    def _sectors(self, left: Image) -> Image:
        inside = np.isfinite(left) & (self._polar >= 0) & (self._polar < RINGS)
        place = self._sector[inside] * RINGS + self._polar[inside]
        counted = np.bincount(place, minlength=SECTORS * RINGS)
        sums = np.bincount(place, left[inside], minlength=SECTORS * RINGS)
        with np.errstate(invalid="ignore"):
            means = sums / counted
        return means.reshape(SECTORS, RINGS).astype(np.float32)


def _blocks(image: Image, side: int, least_share: float) -> Image:
    rows, cols = image.shape[0] // side, image.shape[1] // side
    cut = image[: rows * side, : cols * side].reshape(rows, side, cols, side)
    pixels = cut.transpose(0, 2, 1, 3).reshape(rows, cols, side * side)  # (rows, cols, pixels)
    measured = np.isfinite(pixels)
    count = measured.sum(axis=2)
    values = np.where(measured, pixels, np.float32(0))
    number = np.maximum(count, 1).astype(np.float32)
    mean = values.sum(axis=2) / number
    for _ in range(2):
        variance = np.einsum("rcp,rcp->rc", values, values) / number - mean * mean
        highest = mean + np.float32(CUT_SIGMA) * np.sqrt(np.maximum(variance, 0))
        np.minimum(values, highest[:, :, None], out=values, where=measured)
        mean = values.sum(axis=2) / number
    means: Image = np.where(count >= least_share * side * side, mean, np.float32(np.nan))
    return means


def _nearest(s: NDArray[np.float64], azimuth: NDArray[np.float64]) -> NDArray[np.intp]:
    """(GRID, GRID): the flat index of a block for each point of the picture, -1 where none is.

    The picture is filled by the blocks that fall into its points; empty points beside full ones
    take their neighbour's.
    """
    x, y = (s * turned(azimuth) / HIGHEST_S for turned in (np.cos, np.sin))
    col, row = (np.floor((at + 1) / 2 * GRID).astype(np.intp) for at in (x, y))
    inside = (col >= 0) & (col < GRID) & (row >= 0) & (row < GRID)
    grid = np.full((GRID, GRID), -1, np.intp)
    grid[row[inside], col[inside]] = np.flatnonzero(inside)
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        beside = np.roll(grid, step, axis)
        grid = np.where(grid < 0, beside, grid)
    return grid
