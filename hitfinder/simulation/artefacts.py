"""What on a frame is no protein crystal: ice, salt, powder, jets, fibres. Particles are in
`cosmics`, panels and hot pixels in `response`.

Spot-like artefacts are `Spots` like a crystal's, but never count. Their brightness is drawn as a
signal to noise, so that they stand out alike on a faint and on a bright background; smooth ones are
drawn as a multiple of the run's mean.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hitfinder.simulation.draws import between
from hitfinder.simulation.maps import Image, Maps
from hitfinder.simulation.run import Run
from hitfinder.simulation.spots import FOOTPRINT_SIGMA, Spots, photons_for

ICE_ANGSTROM = (3.90, 3.67, 3.44, 2.67, 2.25, 2.07)
"""Hexagonal ice's strong rings."""

_ICE_STRENGTH = (1.0, 0.7, 0.8, 0.35, 0.6, 0.4)
_TEXTURE_BINS = 1440
_Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Style:
    """What a run's artefacts look like; drawn once."""

    ring_width: float
    ice_snr: float
    ice_along_px: float
    ice_across_px: float
    ice_scatter: float
    salt_snr: float
    salt_px: float
    jet_rad: float
    jet_width_rad: float
    jet_width_px: float
    jet_strength: float
    fibre_rad: float
    powder_strength: float


class Artefacts:
    """A run's artefacts; `rng` draws their looks."""

    def __init__(self, run: Run, maps: Maps, area: Image, rng: np.random.Generator) -> None:
        self._run, self._maps = run, maps
        self._rates = rates = run.artefacts
        self._arriving = maps.arriving * area
        self._style = style = _draw_style(rng)
        s_low, s_high = float(maps.s.min()), float(maps.s.max())
        self._rings = [
            (1 / d, strength)
            for d, strength in zip(ICE_ANGSTROM, _ICE_STRENGTH, strict=True)
            if s_low < 1 / d < s_high
        ]
        self._ice = (
            self._ring_map([(s, weight) for s, weight in self._rings], style.ring_width)
            if rates.smooth_ice and self._rings
            else None
        )
        self._powder = self._powder_map(rng) if rates.powder else None

    def smooth(self, rng: np.random.Generator) -> list[tuple[str, Image]]:
        """A shot's smooth artefacts: names, and photons expected (rows, cols) at usual beam."""
        style, rates, photons = self._style, self._rates, self._run.scattering.photons
        found: list[tuple[str, Image]] = []
        ice, powder, jet, fibre = rng.random(4)
        strength = photons * rng.lognormal(0.0, 0.6)
        if ice < rates.smooth_ice and self._ice is not None:
            found.append(("smooth-ice", np.float32(strength) * self._ice))
        if powder < rates.powder and self._powder is not None:
            found.append(("powder", np.float32(strength * style.powder_strength) * self._powder))
        if jet < rates.jet:
            found.append(("jet", self._jet_map(strength * style.jet_strength, rng)))
        if fibre < rates.fibre:
            found.append(("fibre", self._fibre_map(2 * strength, rng)))
        return found

    def spots(
        self, means: Image, noise_variance: float, rng: np.random.Generator
    ) -> list[tuple[str, Spots]]:
        """A shot's spot-like artefacts over a background of `means` (rows, cols) photons."""
        found = []
        ice, salt = rng.random(2)
        if ice < self._rates.spotty_ice and self._rings:
            found.append(("spotty-ice", self._ice_spots(means, noise_variance, rng)))
        if salt < self._rates.salt:
            found.append(("salt", self._salt_spots(means, noise_variance, rng)))
        return found

    def _ice_spots(self, means: Image, noise_variance: float, rng: np.random.Generator) -> Spots:
        """Crystallites on ice rings: each gives a spot or an arc."""
        run, style = self._run, self._style
        count = 1 + int(rng.lognormal(np.log(run.artefacts.ice_spots), 0.8))
        weights = np.array([weight for _, weight in self._rings])
        # Twenty times too many; the window keeps those that lie in it.
        ring = rng.choice(len(self._rings), 20 * count, p=weights / weights.sum())
        s = np.array([value for value, _ in self._rings])[ring]
        s *= 1 + style.ice_scatter * rng.standard_normal(len(s))
        angle = 2 * np.arcsin(np.clip(s * run.beam.wavelength_angstrom / 2, 0, 0.95))
        radius = np.tan(angle) * run.geometry.distance_mm / run.geometry.pixel_mm
        azimuth = rng.uniform(0, 2 * np.pi, len(s))
        if rng.random() < 0.3:  # a few large crystallites: spots in clusters
            centres = rng.uniform(0, 2 * np.pi, 4)
            azimuth = rng.choice(centres, len(s)) + 0.15 * rng.standard_normal(len(s))
        x = radius * np.cos(azimuth) + run.geometry.beam_x_px - run.window.left
        y = radius * np.sin(azimuth) + run.geometry.beam_y_px - run.window.top
        rows, cols = means.shape
        inside = np.flatnonzero((x > 0) & (x < cols) & (y > 0) & (y < rows))[: max(count, 3)]
        k = len(inside)
        along = style.ice_along_px * rng.lognormal(0.0, 0.3, k)
        across = style.ice_across_px * rng.lognormal(0.0, 0.4, k)
        snr = style.ice_snr * rng.lognormal(0.0, 1.0, k)
        return self._made(
            x[inside], y[inside], snr, along, across, azimuth[inside], means, noise_variance
        )

    def _salt_spots(self, means: Image, noise_variance: float, rng: np.random.Generator) -> Spots:
        """A few very strong, sharp spots anywhere."""
        rows, cols = means.shape
        k = int(rng.integers(1, 9))
        x, y = rng.uniform(0, cols, k), rng.uniform(0, rows, k)
        snr = self._style.salt_snr * rng.lognormal(0.0, 0.8, k)
        width = self._style.salt_px * rng.lognormal(0.0, 0.2, k)
        around = rng.uniform(0, np.pi, k)
        return self._made(
            x, y, snr, width, width * rng.uniform(0.8, 1.2, k), around, means, noise_variance
        )

    def _made(
        self,
        x: _Values,
        y: _Values,
        snr: _Values,
        along: _Values,
        across: _Values,
        azimuth: _Values,
        means: Image,
        noise_variance: float,
    ) -> Spots:
        at = y.astype(np.intp), x.astype(np.intp)
        area = np.maximum(np.pi * FOOTPRINT_SIGMA**2 * along * across, 9.0)
        photons = photons_for(snr, area * (means[at] + noise_variance))
        return Spots(
            x_px=x,
            y_px=y,
            photons=photons * self._maps.transmission[at],
            along_px=along,
            across_px=across,
            along_x=np.cos(azimuth),
            along_y=np.sin(azimuth),
        )

    def _ring_map(self, rings: list[tuple[float, float]], width: float) -> Image:
        total: Image = np.zeros(self._maps.shape, np.float32)
        for s, weight in rings:
            total += np.float32(weight) * np.exp(
                -(((self._maps.s - np.float32(s)) / np.float32(width)) ** 2) / 2
            )
        total *= self._arriving
        return total

    def _powder_map(self, rng: np.random.Generator) -> Image:
        """Rings of a substance other than ice; often grainy, as from too few crystallites."""
        rings = [(1 / d, rng.uniform(0.2, 1.0)) for d in self._rates.powder_angstrom]
        total = self._ring_map(rings, self._style.ring_width)
        if rng.random() < 0.7:
            grain = rng.gamma(between(rng, 0.1, 6.0), size=(_TEXTURE_BINS, 64))
            width = int(between(rng, 1.0, 60.0))
            grain = np.mean([np.roll(grain, step, 0) for step in range(width)], axis=0)
            if rng.random() < 0.3:  # the same all along the radius
                grain[:] = grain[:, :1]
            grain = (grain / max(grain.mean(), 1e-9)).astype(np.float32)
            azimuth = self._maps.azimuth_rad - np.float32(self._style.fibre_rad)
            if rng.random() < 0.5:  # grains lie along an axis: arcs in symmetric places
                azimuth = np.arctan2(abs(np.sin(azimuth)), abs(np.cos(azimuth)))
            bin_ = (azimuth * np.float32(_TEXTURE_BINS / 2 / np.pi)).astype(np.int32)
            ring = (self._maps.s / np.float32(4 * self._style.ring_width)).astype(np.int32)
            total *= grain[bin_ % _TEXTURE_BINS, ring % 64]
        return total

    def _jet_map(self, photons: float, rng: np.random.Generator) -> Image:
        """A fan or a line of light from the beam's centre, on both sides, across the jet."""
        style, maps = self._style, self._maps
        angle = style.jet_rad + 0.05 * rng.standard_normal()
        along = maps.x_px * np.float32(np.cos(angle)) + maps.y_px * np.float32(np.sin(angle))
        across = maps.y_px * np.float32(np.cos(angle)) - maps.x_px * np.float32(np.sin(angle))
        width = np.float32(style.jet_width_px) + np.float32(style.jet_width_rad) * abs(along)
        fall = np.exp(-abs(along) / np.float32(self._run.window.rows * rng.uniform(0.1, 2.0)))
        streak = np.exp(-((across / width) ** 2) / 2) * fall * self._arriving
        jet: Image = (streak * np.float32(photons)).astype(np.float32, copy=False)
        return jet

    def _fibre_map(self, photons: float, rng: np.random.Generator) -> Image:
        """Pairs of arcs, and layer lines drawn out across the fibre."""
        maps = self._maps
        angle = np.float32(self._style.fibre_rad + 0.03 * rng.standard_normal())
        total = np.zeros(maps.shape, np.float32)
        low, high = float(maps.s.min()), float(maps.s.max())
        for _ in range(int(rng.integers(1, 5))):
            s, width = np.float32(rng.uniform(low, high)), np.float32(rng.uniform(0.003, 0.03))
            spread = np.float32(rng.uniform(0.03, 0.35))
            turned = np.sin(maps.azimuth_rad - angle)
            arc = np.exp(-(((maps.s - s) / width) ** 2 + (turned / spread) ** 2) / 2)
            total += np.float32(rng.uniform(0.3, 1.0)) * arc
        total *= self._arriving * np.float32(photons)
        return total


def _draw_style(rng: np.random.Generator) -> _Style:
    size = partial(between, rng)
    return _Style(
        ring_width=size(0.001, 0.006),
        ice_snr=size(6.0, 60.0),
        ice_along_px=size(0.6, 2.5),
        ice_across_px=size(0.6, 5.0),
        ice_scatter=size(0.0005, 0.006),
        salt_snr=size(30.0, 600.0),
        salt_px=size(0.5, 1.4),
        jet_rad=rng.uniform(0, np.pi),
        jet_width_rad=size(0.001, 0.1),
        jet_width_px=size(0.7, 4.0),
        jet_strength=size(1.0, 30.0),
        fibre_rad=rng.uniform(0, np.pi),
        powder_strength=size(0.2, 5.0),
    )
