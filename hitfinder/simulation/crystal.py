"""Bragg spots of a crystal in any orientation: which lattice points touch the Ewald sphere.

Every place of the window, on a grid finer than the lattice, is asked which point of the turned
lattice is nearest to it; so the work grows with the window, not with the cell's volume. A
reflection is as strong as its share of the thickness that crystal size, mosaicity, divergence,
bandwidth and oscillation give the sphere. Intensities follow Wilson's statistics under a B factor
and are a fixed function of (h, k, l) in a run. Left out: absences, twins; what is scattered between
the spots is in `diffuse`.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hitfinder.simulation.maps import left_over
from hitfinder.simulation.run import Run, Sample
from hitfinder.simulation.spots import Spots, joined

_REACH = 2.7
"""A lattice point farther off the sphere than so many sigmas gives less than 3 %."""

_PITCH, _LAYER = 0.5, 0.7
"""Steps of the grid along and across the sphere, in 1 / longest axis: no place is then farther
than half a lattice spacing from a point of the grid, so that rounding finds every lattice point."""

_INDICES = 1 << 10
"""h, k and l lie within half of this on either side of 0."""

_MARGIN_PX = 4.0
_SHEEREST = 1.25
"""Scattering angle, in radians, up to which lattice points are sought."""


class Crystals:
    """A run's crystals, one orientation and volume after another."""

    def __init__(self, run: Run) -> None:
        self._run = run
        real = cell_vectors(run.sample)  # columns a, b, c in angstrom
        self._real = real
        self._reciprocal = np.linalg.inv(real).T
        longest = float(np.linalg.norm(real, axis=0).max())
        self._places = self._grid(longest)  # (3, n) in 1/angstrom

    def draw(self, rng: np.random.Generator) -> Spots:
        """The spots in the window of one crystal of brightness 1 in a random orientation."""
        return self.turned(random_rotation(rng), rng)

    def turned(self, rotation: NDArray[np.float64], rng: np.random.Generator) -> Spots:
        """The spots of one crystal of brightness 1 turned by `rotation` (3, 3); `rng` splits it."""
        sample = self._run.sample
        if sample.domains == 1:
            return self.orient(rotation)
        shares = rng.dirichlet(np.full(sample.domains, 2.0))
        return joined(
            [
                self.orient(_turned(sample.split_rad * rng.standard_normal(3)) @ rotation).times(
                    float(share)
                )
                for share in shares
            ]
        )

    def orient(self, rotation: NDArray[np.float64]) -> Spots:
        """The spots of a crystal turned by `rotation` (3, 3)."""
        run, sample = self._run, self._run.sample
        wavelength = run.beam.wavelength_angstrom
        asked = (rotation @ self._real).T.astype(np.float32) @ self._places
        hkl = _distinct(asked)
        point = rotation @ self._reciprocal @ hkl  # (3, k)
        square = np.einsum("ij,ij->j", point, point)
        wave = 1 / wavelength
        miss = np.sqrt(square + 2 * wave * point[2] + wave * wave) - wave
        other, band = self._thickness(point, square)
        width2 = other + band
        near = (miss * miss < _REACH**2 * width2) & (square > 0)
        point, square, miss = point[:, near], square[near], miss[near]
        other, band, width2 = other[near], band[near], width2[near]
        # A wide spectrum holds the wavelength that fits better: the spot moves there.
        pull = miss * (band / width2) / np.maximum(wavelength**2 * square / 2, 1e-9)
        scale = run.geometry.distance_mm / run.geometry.pixel_mm / (point[2] + wave + pull)
        x, y = point[0] * scale, point[1] * scale
        radius = np.maximum(np.hypot(x, y), 1e-9)
        photons = (
            intensities(hkl[:, near], sample.symmetry, run.seed)
            * np.exp(-sample.b_factor / 2 * square - miss * miss / (2 * width2))
            * left_over(run.beam, run.geometry, x, y)
        )
        distance_px = run.geometry.distance_mm / run.geometry.pixel_mm
        base = sample.spot_px**2 + (distance_px * run.beam.divergence_rad) ** 2
        drawn_out = run.beam.bandwidth * np.sqrt(other / width2) * radius
        drawn_out *= 1 + (radius / distance_px) ** 2
        spots = Spots(
            x_px=x + run.geometry.beam_x_px - run.window.left,
            y_px=y + run.geometry.beam_y_px - run.window.top,
            photons=photons,
            along_px=np.sqrt(base + drawn_out**2),
            across_px=np.sqrt(base + (sample.mosaicity_rad * radius) ** 2),
            along_x=x / radius,
            along_y=y / radius,
        )
        return spots.take(
            (spots.x_px > -_MARGIN_PX)
            & (spots.x_px < run.window.cols + _MARGIN_PX)
            & (spots.y_px > -_MARGIN_PX)
            & (spots.y_px < run.window.rows + _MARGIN_PX)
        )

    def _thickness(
        self, point: NDArray[np.float64], square: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Variance, in 1/angstrom², of the sphere's shell at lattice points (3, k): all causes but
        the bandwidth, and the bandwidth. The crystal turns about x.
        """
        beam, sample = self._run.beam, self._run.sample
        size = 0.4 / (sample.size_um * 1e4)  # sigma of a sinc² of the domain's width
        turned = beam.oscillation_rad**2 / 12 * point[1] ** 2
        other = size**2 + (sample.mosaicity_rad**2 + beam.divergence_rad**2) * square + turned
        band = (beam.bandwidth * beam.wavelength_angstrom / 2 * square) ** 2
        return other, band

    def _grid(self, longest: float) -> NDArray[np.float32]:
        """(3, n): points about the sphere that the window sees."""
        run = self._run
        wave = 1 / run.beam.wavelength_angstrom
        distance_px = run.geometry.distance_mm / run.geometry.pixel_mm
        step = min(max(_PITCH / longest / wave * distance_px, 1.0), 40.0)
        edge = _MARGIN_PX + step
        top, left = (
            run.window.top - run.geometry.beam_y_px,
            run.window.left - run.geometry.beam_x_px,
        )
        y = np.arange(-edge, run.window.rows + edge, step) + top
        x = np.arange(-edge, run.window.cols + edge, step) + left
        at_y, at_x = np.meshgrid(y, x, indexing="ij")
        direction = np.stack([at_x, at_y, np.full_like(at_x, distance_px)]).reshape(3, -1)
        length = np.linalg.norm(direction, axis=0)
        direction = (direction / length)[:, distance_px / length > np.cos(_SHEEREST)]
        point = wave * direction - np.array([[0.0], [0.0], [wave]])
        square = np.einsum("ij,ij->j", point, point).max(initial=0.0)
        farthest = np.array([[0.0], [np.sqrt(square)], [0.0]])
        other, band = self._thickness(farthest, np.array([square]))
        reach = _REACH * float(np.sqrt(other + band)[0])
        layers = max(int(np.ceil(2 * reach * longest / _LAYER)), 1)
        offsets = (np.arange(layers) - (layers - 1) / 2) * (2 * reach / layers)
        places = (point[:, None, :] + direction[:, None, :] * offsets[None, :, None]).reshape(3, -1)
        grid: NDArray[np.float32] = places.astype(np.float32)
        return grid


def cell_vectors(sample: Sample) -> NDArray[np.float64]:
    """(3, 3): a, b, c as columns, in angstrom; a along x, b in the xy plane."""
    a, b, c = sample.cell_angstrom
    cos_a, cos_b, cos_c = np.cos(np.deg2rad(sample.cell_deg))
    sin_c = np.sqrt(1 - cos_c**2)
    up = (cos_a - cos_b * cos_c) / sin_c
    return np.array(
        [
            [a, b * cos_c, c * cos_b],
            [0.0, b * sin_c, c * up],
            [0.0, 0.0, c * np.sqrt(1 - cos_b**2 - up**2)],
        ]
    )


def random_rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    """A rotation matrix, uniform over all orientations, from a random unit quaternion."""
    quaternion = rng.standard_normal(4)
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _turned(angles_rad: NDArray[np.float64]) -> NDArray[np.float64]:
    """A rotation by small angles about x, y and z."""
    x, y, z = angles_rad / 2
    half = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.linalg.solve(np.eye(3) - half, np.eye(3) + half)  # Cayley's, exactly orthogonal


def intensities(hkl: NDArray[np.float64], symmetry: str, seed: int) -> NDArray[np.float64]:
    """(k,): how strong the reflections (3, k) of a run are, mean 1, before any falling off."""
    return _wilson(_code(_UNIQUE[symmetry](np.rint(hkl).astype(np.int64))), seed)


def _distinct(asked: NDArray[np.float32]) -> NDArray[np.float64]:
    """The lattice points (3, k) nearest to fractional indices, each once."""
    code = np.unique(_code(np.rint(asked).astype(np.int64)))
    parts = np.stack([code // _INDICES**2, code // _INDICES % _INDICES, code % _INDICES])
    return (parts - _INDICES // 2).astype(np.float64)


def _code(hkl: NDArray[np.int64]) -> NDArray[np.int64]:
    """(k,): a number of its own for each of (3, k) indices."""
    h, k, l = hkl + _INDICES // 2  # noqa: E741
    code: NDArray[np.int64] = (h * _INDICES + k) * _INDICES + l
    return code


def _friedel(hkl: NDArray[np.int64]) -> NDArray[np.int64]:
    """(h, k, l) or (-h, -k, -l), whichever has the higher code."""
    return np.where(_code(hkl) >= _code(-hkl), hkl, -hkl)


def _monoclinic(hkl: NDArray[np.int64]) -> NDArray[np.int64]:
    h, _, l = _friedel(hkl * np.array([[1], [0], [1]]))  # noqa: E741
    return np.stack([h, abs(hkl[1]), l])


def _tetragonal(hkl: NDArray[np.int64]) -> NDArray[np.int64]:
    h, k, l = abs(hkl)  # noqa: E741
    return np.stack([np.maximum(h, k), np.minimum(h, k), l])


_UNIQUE: dict[str, Callable[[NDArray[np.int64]], NDArray[np.int64]]] = {
    "1": lambda hkl: hkl,
    "-1": _friedel,
    "2/m": _monoclinic,
    "mmm": abs,
    "4/mmm": _tetragonal,
}
"""By Laue symmetry: the one of all reflections alike that stands for them."""


def _wilson(code: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """(k,): exponentially distributed, mean 1, a fixed function of the indices: splitmix64."""
    bits = code.astype(np.uint64) + np.uint64(seed % 2**32 << 31)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        bits += np.uint64(0x9E3779B97F4A7C15)
        bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
    uniform = ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    values: NDArray[np.float64] = -np.log(uniform)
    return values
