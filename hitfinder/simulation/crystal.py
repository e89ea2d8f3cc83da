"""Bragg spots of a still: which lattice points touch the Ewald sphere, where, how strong.

A `Sample` is one kind of crystal: its cell and structure factors are fixed; each shot meets one
crystal of it in a random orientation. Intensities follow Wilson's statistics under a B factor;
a reflection is as strong as its share of the thickness that crystal size, mosaicity and
bandwidth give the sphere. Left out: symmetry, twins, several crystals in a shot, diffuse
scattering, spots drawn out along the radius.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hitfinder.simulation.background import polarisation
from hitfinder.simulation.experiment import Experiment

_REACH = 2.7  # a lattice point farther off the sphere than so many sigmas gives less than 3 %


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """An orthorhombic crystal. size_um is the coherent domain, mosaicity_rad and bandwidth
    standard deviations; `brightness` the photons of a full average reflection at low angle.
    """

    cell_angstrom: tuple[float, float, float] = (96.0, 118.0, 142.0)
    b_factor: float = 25.0
    resolution_angstrom: float = 2.0
    size_um: float = 0.6
    mosaicity_rad: float = 0.0012
    bandwidth: float = 0.001
    brightness: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spots:
    """Spots on the detector: (k,) positions in pixels, first pixel's outer corner at 0, and
    expected photons; sigma_px is the width of all of them.
    """

    x_px: NDArray[np.float64]
    y_px: NDArray[np.float64]
    photons: NDArray[np.float64]
    sigma_px: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """A sample's reciprocal lattice within its resolution: points (3, k) and |s|² (k,) in
    1/angstrom, and full intensities (k,) in photons.
    """

    sample: Sample
    points: NDArray[np.float32] = field(repr=False)
    squares: NDArray[np.float32] = field(repr=False)
    intensities: NDArray[np.float32] = field(repr=False)


def make_lattice(sample: Sample, rng: np.random.Generator) -> Lattice:
    """All lattice points of a sample, with structure factors drawn once."""
    limit = 1 / sample.resolution_angstrom
    axes = [
        np.arange(-int(limit * length), int(limit * length) + 1, dtype=np.float32)
        / np.float32(length)
        for length in sample.cell_angstrom
    ]
    points = np.stack(np.meshgrid(*axes, indexing="ij")).reshape(3, -1)
    squares = np.einsum("ij,ij->j", points, points)
    inside = (squares < limit * limit) & (squares > 0)
    points, squares = np.ascontiguousarray(points[:, inside]), squares[inside]
    wilson = rng.standard_exponential(squares.size, np.float32)
    falloff = np.exp(np.float32(-sample.b_factor / 2) * squares)
    intensities = np.float32(sample.brightness) * wilson * falloff
    return Lattice(sample=sample, points=points, squares=squares, intensities=intensities)


def draw_crystal(lattice: Lattice, experiment: Experiment, rng: np.random.Generator) -> Spots:
    """The spots of one crystal in a random orientation, of random volume and quality."""
    sample, wavelength = lattice.sample, experiment.wavelength_angstrom
    rotation = _random_rotation(rng).astype(np.float32)
    # Distance of a point from the sphere, to first order: s_z + |s|² λ / 2, the beam along z.
    miss = rotation[2] @ lattice.points + np.float32(wavelength / 2) * lattice.squares
    widest = _thickness(sample, wavelength, np.array([sample.resolution_angstrom**-2]))[0]
    near = np.flatnonzero(abs(miss) < _REACH * widest)
    squares = lattice.squares[near].astype(np.float64)
    width = _thickness(sample, wavelength, squares)
    partiality = np.exp(-((miss[near] / width) ** 2) / 2)
    x, y, z = (rotation @ lattice.points[:, near]).astype(np.float64)
    z += 1 / wavelength
    scale = experiment.distance_mm / experiment.pixel_mm / z
    x, y = x * scale, y * scale
    radius = np.hypot(x, y)
    share = polarisation(experiment, radius, (y / np.maximum(radius, 1e-6)) ** 2)
    volume = rng.lognormal(0.0, 0.5)
    return Spots(
        x_px=x + experiment.beam_x_px,
        y_px=y + experiment.beam_y_px,
        photons=volume * lattice.intensities[near] * partiality * share,
        sigma_px=rng.uniform(0.75, 1.3),
    )


def _thickness(
    sample: Sample, wavelength: float, squares: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Standard deviation, in 1/angstrom, of the sphere's shell at |s|²."""
    size = 0.4 / (sample.size_um * 1e4)  # sigma of a sinc² of the domain's width
    mosaic = sample.mosaicity_rad**2 * squares
    band = (sample.bandwidth * wavelength / 2 * squares) ** 2
    thickness: NDArray[np.float64] = np.sqrt(size * size + mosaic + band)
    return thickness


def _random_rotation(rng: np.random.Generator) -> NDArray[np.float64]:
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
