"""What disorder in a crystal scatters between its spots, cut by the Ewald sphere.

Liquid-like motions (Caspar et al., Nature 332 (1988) 659; Wall, Ealick & Gruner, PNAS 94 (1997)
6180): atoms move by sigma, alike over a correlation length gamma, and the crystal's own intensities
|F|² come back blurred, as

    (1 - exp(-q² sigma²)) * (|F|² blurred by the transform of exp(-r / gamma)),   q = 2 pi / d

The blur is a product in real space: intensities at the lattice points, transformed, times
exp(-r / gamma), transformed back, give the field between the points as well. A disorder of layers
gathers part of it in sheets across one axis, which the sphere cuts in streaks.

What it does not know: a real molecule's transform. The intensities are `crystal`'s, which know no
neighbours; blurred over many of them they would be flatter than a protein's, so that the field is
raised to the power that gives it the contrast the run asks for. Beyond some 80 points of the grid
from the origin the field repeats itself. Bragg spots lose nothing to it.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hitfinder.simulation.coarse import Coarse
from hitfinder.simulation.crystal import cell_vectors, intensities
from hitfinder.simulation.maps import Image
from hitfinder.simulation.run import Diffuse, Run

_FORM_ANGSTROM2 = 5.0
"""How the scattering of protein's atoms falls off, exp(-5 s²): carbon's is 0.69 of its square at
s = 0.25 and 0.36 at 0.5 (International Tables C, 6.1.1)."""

_HUMP = (0.8, 0.22, 0.05)
"""Proteins scatter more about 4.5 angstrom, the distances between chains: height, middle, sigma."""

_GRID_POINTS = 160
"""Most points of the field along an axis: 16 MB, and far more than a window shows."""

_CELLS = 8.0
"""The field is kept over so many correlation lengths in real space; beyond, exp(-r / gamma) is
nothing, and the grid is fine enough for straight lines between its points."""

_STEP_SHARE = 0.45
"""Of the blur's half width: the step of the grid on the detector."""

_STRONGEST = 0.6
"""The shells where diffuse light has at least this share of its maximum set its strength."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffuseLight:
    """photons (rows, cols) float32 expected in the window, before polarisation and obstacles; what
    it is worth: `strength` as `Diffuse` has it, and `snr`, at how many sigma a filter of its
    own shape would see its anisotropic part.
    """

    photons: Image = field(repr=False)
    strength: float
    snr: float


class DiffuseField:
    """A run's field. `background` (rows, cols) photons of a usual shot, `arriving` the share of
    diffuse light that each pixel collects, `mask` True where nothing is measured.
    """

    def __init__(
        self,
        run: Run,
        settings: Diffuse,
        background: Image,
        arriving: Image,
        mask: NDArray[np.bool_],
    ) -> None:
        self.settings = settings
        self._real = cell_vectors(run.sample)
        distance_px = run.geometry.distance_mm / run.geometry.pixel_mm
        width_px = (
            run.beam.wavelength_angstrom * distance_px / (2 * np.pi * settings.gamma_angstrom)
        )
        self._coarse = coarse = Coarse(run, float(np.clip(_STEP_SHARE * width_px, 1.0, 16.0)))
        self.field, self.per_index = _blurred(run, settings, float(coarse.s.max()), self._real)
        self._shells = _shells(coarse.s, settings.sigma_angstrom)
        seen = ~coarse.seen_in(mask) & (coarse.seen_in(arriving) > 0)
        expected = self._shells * coarse.seen_in(arriving)
        level = float(expected[seen].max(initial=0.0))
        self._band = seen & (expected >= _STRONGEST * level) & (level > 0)
        self._usual = self._level(background)
        mean = float(expected[self._band].mean()) if self._band.any() else 1.0
        # Photons of all diffuse light at shells of 1, such that its anisotropic part is `strength`.
        contrast = _contrast(float(self.field.std()), settings)
        self._scale = settings.strength * self._usual / contrast / mean
        self._uneven = contrast * self._scale * expected * seen

    def light(
        self,
        rotations: list[NDArray[np.float64]],
        amounts: list[float],
        *,
        structured: bool,
        means: Image,
        variance: float,
    ) -> DiffuseLight:
        """Of crystals turned by `rotations` (3, 3), `amounts` times the usual one, in a frame that
        expects `means` (rows, cols) photons without it, with the detector's `variance` a pixel.
        Not `structured`: of motions that are not correlated.
        """
        coarse = self._coarse
        if not structured:
            even = coarse.drawn_out(np.float32(self._scale * sum(amounts)) * self._shells)
            return DiffuseLight(photons=even, strength=0.0, snr=0.0)
        photons: Image = np.zeros(means.shape, np.float32)
        for rotation, amount in zip(rotations, amounts, strict=True):
            indices = np.tensordot(
                (rotation @ self._real).T.astype(np.float32), coarse.point, axes=1
            )
            cut = self._cut(indices) * self._shells * np.float32(self._scale * amount)
            photons += coarse.drawn_out(cut) * self._sheets(indices)
        together = float(np.sqrt(np.sum(np.square(amounts))))
        now = self._level(means)
        noise = coarse.seen_in(means) + np.float32(variance + 1e-6)
        snr = together * coarse.step_px * float(np.sqrt(np.sum(self._uneven**2 / noise)))
        strength = self.settings.strength * together * self._usual / max(now, 1e-30)
        return DiffuseLight(photons=photons, strength=strength, snr=snr)

    def _level(self, image: Image) -> float:
        """The mean of (rows, cols) in the shells where diffuse light is strongest."""
        values = self._coarse.seen_in(image)[self._band]
        return float(values.mean()) if len(values) else 1.0

    def _cut(self, indices: NDArray[np.float32]) -> Image:
        """The field (grid rows, grid cols) at fractional indices (3, grid rows, grid cols)."""
        sizes = self.field.shape
        place = indices * self.per_index[:, None, None]
        low = np.floor(place)
        past = place - low
        corner = low.astype(np.intp)
        total = np.zeros(indices.shape[1:], np.float32)
        for step in np.ndindex(2, 2, 2):
            weight = np.ones_like(total)
            at = []
            for axis in range(3):
                weight *= past[axis] if step[axis] else 1 - past[axis]
                at.append((corner[axis] + step[axis]) % sizes[axis])
            total += weight * self.field[at[0], at[1], at[2]]
        return total

    def _sheets(self, indices: NDArray[np.float32]) -> Image | np.float32:
        """How the streaks (rows, cols) gather the light; 1 on average."""
        settings = self.settings
        if not settings.streaks:
            return np.float32(1)
        index = self._coarse.drawn_out(indices[settings.streak_axis])
        sheets = _sheet(index - np.rint(index), settings.streak_width)
        return np.float32(1 - settings.streaks) + np.float32(settings.streaks) * sheets


def _shells(s: Image, sigma_angstrom: float) -> Image:
    """How much diffuse light atoms give at s = 1/d, before the blurred intensities."""
    height, middle, width = _HUMP
    moved = 1 - np.exp(-((2 * np.pi * sigma_angstrom * s) ** 2))
    hump = 1 + height * np.exp(-(((s - middle) / width) ** 2) / 2)
    shells: Image = (moved * hump * np.exp(-_FORM_ANGSTROM2 * s * s)).astype(np.float32)
    return shells


def _sheet(off: NDArray[np.floating], width: float) -> Image:
    """A Lorentzian of half width `width` at so many lattice spacings off, its mean from -1/2 to
    1/2 being 1.
    """
    mean = 2 * width * np.arctan(0.5 / width)
    sheet: Image = (1 / (1 + (off / np.float32(width)) ** 2) / np.float32(mean)).astype(np.float32)
    return sheet


def _blurred(
    run: Run, settings: Diffuse, s_max: float, real: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The blurred intensities on a grid that repeats, mean 1 and with the contrast asked for; and
    (3,) points of it for a step of 1 in h, k and l. Index 0 is the origin.
    """
    lengths = np.linalg.norm(real, axis=0)
    gamma = settings.gamma_angstrom
    per_index = np.clip(np.ceil(_CELLS * gamma / lengths), 1, 8).astype(np.int64)
    reach = np.ceil(s_max * lengths).astype(np.int64) + 1
    reach = np.maximum(np.minimum(reach, _GRID_POINTS // 2 // per_index), 2)
    sizes = 2 * reach * per_index
    lattice = np.stack(
        np.meshgrid(*(np.fft.fftfreq(2 * n, 1 / (2 * n)) for n in reach), indexing="ij")
    )
    field = np.zeros(sizes, np.float32)
    values = intensities(lattice.reshape(3, -1), run.sample.symmetry, run.seed)
    every = tuple(slice(None, None, int(step)) for step in per_index)
    field[every] = (values * np.prod(per_index)).reshape(lattice.shape[1:])
    # Over the cells that the field is kept for, in fractions of a cell.
    spans = [np.fft.fftfreq(size, 1 / size) / (2 * n) for size, n in zip(sizes, reach, strict=True)]
    spans[2] = np.abs(spans[2][: sizes[2] // 2 + 1])
    a, b, c = (vector[:, None, None, None] for vector in real.T)
    places = (
        a * spans[0][None, :, None, None]
        + b * spans[1][None, None, :, None]
        + c * spans[2][None, None, None, :]
    )
    near = np.exp(-np.sqrt(np.einsum("i...,i...->...", places, places)) / gamma)
    spectrum = np.fft.rfftn(field) * near.astype(np.float32)
    # Without its shape: all sizes are even.
    field = np.maximum(np.fft.irfftn(spectrum).astype(np.float32), 1e-3)
    # The power that gives the contrast, found step by step; streaks bring some of it.
    wanted = np.sqrt(
        max((1 + settings.contrast**2) / (1 + _contrast(0.0, settings) ** 2) - 1, 0.01)
    )
    for _ in range(4):
        field **= np.float32(wanted * field.mean() / field.std())
        field /= field.mean()
    return field, per_index.astype(np.float32)


def _contrast(field: float, settings: Diffuse) -> float:
    """Of a field with this contrast, once some of it is gathered in sheets."""
    off = (np.arange(1000, dtype=np.float32) + 0.5) / 1000 - 0.5
    sheets = settings.streaks * float(_sheet(off, settings.streak_width).std())
    return float(np.sqrt((1 + field**2) * (1 + sheets**2) - 1))
