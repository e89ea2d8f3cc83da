"""The smooth background: air, the liquid's ring, and how both change from shot to shot."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hitfinder.simulation.maps import Image, Maps
from hitfinder.simulation.run import Run

_LOST_LIQUID = 0.05
"""What a shot that misses the jet still shows of it."""

_AIR_FLOOR = 0.08
"""Air, windows and fluorescence leave this share of the air's scattering at every angle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """What changes from shot to shot: the beam's intensity, the liquid in it (both about 1)."""

    beam: float = 1.0
    liquid: float = 1.0


def draw_shot(run: Run, rng: np.random.Generator) -> Shot:
    """A shot of the run; beam 0 is a dark frame."""
    lost = rng.random() < run.scattering.jet_lost_share
    liquid = rng.lognormal(0.0, run.scattering.jet_spread) * (_LOST_LIQUID if lost else 1.0)
    dark = rng.random() < run.beam.dark_share
    return Shot(beam=0.0 if dark else rng.lognormal(0.0, run.beam.spread), liquid=liquid)


class Background:
    """Photons expected from air and liquid, scaled so that a usual shot has the run's mean."""

    def __init__(self, run: Run, maps: Maps, area: Image, mask: NDArray[np.bool_]) -> None:
        scattering = run.scattering
        s = maps.s
        decay = np.float32(scattering.air_decay)
        falling = np.exp(-((s / decay) ** np.float32(scattering.air_power)))
        air = (1 - _AIR_FLOOR) * falling + _AIR_FLOOR
        centre, width = np.float32(1 / scattering.ring_angstrom), np.float32(scattering.ring_width)
        ring = np.exp(-(((s - centre) / width) ** 2) / 2)
        # Water's second shell, and what Compton scattering leaves beyond.
        second = np.exp(-(((s - np.float32(1.6) * centre) / (np.float32(2.2) * width)) ** 2) / 2)
        beyond = 1 / (1 + np.exp(np.clip((centre - s) / width, -30, 30)))
        liquid = ring + np.float32(0.4) * second + np.float32(0.12) * beyond
        if scattering.lopsided:
            phase = np.float32(run.seed % 360 * np.pi / 180)
            side = 1 + np.float32(scattering.lopsided) * np.cos(maps.azimuth_rad - phase)
            liquid = liquid * side
        arriving = maps.arriving * area
        self._air = _scaled(air * arriving, mask, scattering.photons * scattering.air_share)
        self._liquid = _scaled(
            liquid * arriving, mask, scattering.photons * (1 - scattering.air_share)
        )

    def means(self, shot: Shot) -> Image:
        """(rows, cols) float32: photons expected; a new array."""
        means: Image = np.float32(shot.beam) * self._air
        means += np.float32(shot.beam * shot.liquid) * self._liquid
        return means


def _scaled(image: Image, mask: NDArray[np.bool_], mean: float) -> Image:
    now = float(np.mean(image[~mask], dtype=np.float64)) if not mask.all() else 1.0
    return (image * np.float32(mean / max(now, 1e-30))).astype(np.float32, copy=False)
