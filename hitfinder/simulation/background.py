"""The smooth part of a frame: air scatter, the solvent's ring, polarisation, beamstop.

Each pixel belongs to a level: a ring about the beam by a class of azimuth, or the beamstop's
shadow. So any profile can be drawn for every frame at the price of its few hundred levels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hitfinder.simulation.experiment import Experiment
from hitfinder.simulation.noise import PoissonField

_RINGS = 220
_AZIMUTHS = 4
_POLARISATION = 0.99  # horizontal, as at synchrotrons
_RING_ANGSTROM = 3.2  # the spacing at which water scatters most


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """What changes from shot to shot: beam intensity, and solvent in the beam (jets wander and
    tear; 0 is an empty shot).
    """

    beam: float
    solvent: float


def draw_shot(rng: np.random.Generator) -> Shot:
    """A shot of a jet that is there 19 times of 20."""
    solvent = rng.lognormal(0.0, 0.25) if rng.random() < 0.95 else 0.05
    return Shot(beam=rng.lognormal(0.0, 0.2), solvent=solvent)


class Background:
    """Means and noise of the background in one experiment."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        reach = float(experiment.radius_px.max()) + 1.0
        ring = (experiment.radius_px * (_RINGS / reach)).astype(np.int32)
        azimuth = np.minimum(experiment.vertical * _AZIMUTHS, _AZIMUTHS - 1).astype(np.int32)
        self._levels = ring * _AZIMUTHS + azimuth
        self._levels[experiment.shadow] = _RINGS * _AZIMUTHS
        self._field = PoissonField(self._levels)
        self._radius_px = np.repeat((np.arange(_RINGS) + 0.5) * reach / _RINGS, _AZIMUTHS)
        vertical = np.tile((np.arange(_AZIMUTHS) + 0.5) / _AZIMUTHS, _RINGS)
        self._polarisation = polarisation(experiment, self._radius_px, vertical)

    def means(self, shot: Shot) -> NDArray[np.float64]:
        """(levels,): expected photons a pixel; 0.2 to 8 for a shot of usual strength."""
        experiment = self._experiment
        angle = np.arctan(self._radius_px * experiment.pixel_mm / experiment.distance_mm)
        s = 2 * np.sin(angle / 2) / experiment.wavelength_angstrom  # 1/d in 1/angstrom
        air = 9.0 * np.exp(-s / 0.05) + 1.7 * np.exp(-s / 0.25)
        ring = np.exp(-(((s - 1 / _RING_ANGSTROM) / 0.055) ** 2) / 2)
        solvent = 2.2 * ring + 0.5 / (1 + np.exp((0.22 - s) / 0.03))
        lit = shot.beam * (air + shot.solvent * solvent) * self._polarisation
        shadow = experiment.beamstop_transmission * lit[0]
        return np.append(lit, shadow)

    def draw(self, means: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.uint16]:
        """A frame (rows, cols) of background photons."""
        return self._field.draw(means, rng)

    def at(
        self, means: NDArray[np.float64], rows: NDArray[np.intp], cols: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        """Expected background photons at pixels."""
        expected: NDArray[np.float64] = means[self._levels[rows, cols]]
        return expected


def polarisation(
    experiment: Experiment, radius_px: NDArray[np.float64], vertical: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The share of scattering that polarisation leaves; `vertical` as `Experiment.vertical`."""
    angle = np.arctan(radius_px * experiment.pixel_mm / experiment.distance_mm)
    horizontal = _POLARISATION * (1 - vertical) + (1 - _POLARISATION) * vertical
    share: NDArray[np.float64] = 1 - np.sin(angle) ** 2 * horizontal
    return share
