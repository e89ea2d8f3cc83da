"""How the smooth background differs around the beam from shot to shot: what makes a frame without
diffuse scattering look anisotropic.
"""

import numpy as np

from hitfinder.simulation.coarse import Coarse
from hitfinder.simulation.maps import Image
from hitfinder.simulation.run import Run, Unevenness

_GRID_PX = 16.0
_DEEPEST = 0.6
"""A shot loses or gains at most this share of its background anywhere, shadows apart."""


class Uneven:
    """A run's unevenness; `rng` draws the direction of its jet."""

    def __init__(self, run: Run, settings: Unevenness, rng: np.random.Generator) -> None:
        self._settings = settings
        self._coarse = coarse = Coarse(run, _GRID_PX)
        self._azimuth_rad = np.arctan2(coarse.y_px, coarse.x_px)
        self._outwards = coarse.s / max(float(coarse.s.max()), 1e-9)
        self._jet_rad = rng.uniform(0, np.pi)
        self._half_px = min(run.window.rows, run.window.cols) / 2

    def factor(self, rng: np.random.Generator) -> Image:
        """(rows, cols) float32, about 1: what a shot's background is multiplied by."""
        settings = self._settings
        jet, aside = settings.amplitude * rng.lognormal(0.0, settings.spread, 2)
        jet_rad = self._jet_rad + 0.1 * rng.standard_normal()
        aside_rad = jet_rad + np.pi / 2 + 0.3 * rng.standard_normal() + np.pi * rng.integers(2)
        uneven = np.float32(jet) * np.cos(2 * (self._azimuth_rad - np.float32(jet_rad)))
        uneven += np.float32(0.5 * aside) * np.cos(self._azimuth_rad - np.float32(aside_rad))
        uneven *= self._outwards
        factor = 1 + np.clip(uneven, -_DEEPEST, _DEEPEST)
        if rng.random() < settings.shadow_share:
            factor *= self._shadow(rng)
        return self._coarse.drawn_out(factor.astype(np.float32))

    def _shadow(self, rng: np.random.Generator) -> Image:
        """A soft edge somewhere in the window."""
        coarse = self._coarse
        angle = np.float32(rng.uniform(0, 2 * np.pi))
        edge = np.float32(self._half_px * rng.uniform(0.1, 1.0))
        soft = np.float32(self._half_px * rng.uniform(0.05, 0.3))
        beyond = coarse.x_px * np.cos(angle) + coarse.y_px * np.sin(angle) - edge
        risen = 1 / (1 + np.exp(-np.clip(beyond / soft, -20, 20)))
        shadow: Image = 1 - np.float32(rng.uniform(0.1, 0.6)) * risen
        return shadow
