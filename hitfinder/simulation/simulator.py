"""Runs to frames, with their truth.

Everything that light brings is summed to one image of expected photons; Poisson's noise is drawn
about it once; the detector makes numbers of that. The truth comes from the expected photons, so it
is what an observer with perfect knowledge would say, not what a peak finder found.

    background * unevenness + smooth artefacts -> + artefact spots -> + crystals' diffuse light
        -> + crystals' spots -> Poisson -> + cosmic particles -> detector

A frame depends on the run and its number alone: frames can be made in any order, in any process.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.dataset.frames import Label, Tier
from hitfinder.frame import Detector
from hitfinder.simulation.artefacts import Artefacts
from hitfinder.simulation.cosmics import add_cosmics
from hitfinder.simulation.crystal import Crystals, random_rotation
from hitfinder.simulation.diffuse import DiffuseField, DiffuseLight
from hitfinder.simulation.draws import Purpose, stream
from hitfinder.simulation.maps import Image, make_maps
from hitfinder.simulation.noise import draw_photons
from hitfinder.simulation.panels import make_panels
from hitfinder.simulation.response import VISIBLE_PIXEL, Response
from hitfinder.simulation.run import Run
from hitfinder.simulation.scattering import Background, Shot, draw_shot
from hitfinder.simulation.spots import Spots, add_light, joined, merged, signal_to_noise
from hitfinder.simulation.unevenness import Uneven

SEEN_SNR = 3.0
STRONG_SNR = 5.0
MOST_OF_A_MISS = 1
LEAST_OF_A_HIT = 11
"""A miss has fewer than 2 spots, a hit more than 10 (Li et al. 2018)."""

VISIBLE_SNR = 20.0
"""A smooth artefact, or diffuse scattering, is in the frame when a filter of its own shape would
see it at so many sigma; for a ring over thousands of pixels that is where the eye begins to see
it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedFrame:
    """pixels (rows, cols) of the run's dtype. spots (k, 4) float32: x_px, y_px, S/N, photons of
    all spots with S/N >= 3 that no mask, gap or beamstop hides. diffuse_strength: the anisotropic
    part of the crystals' diffuse light (root of the mean square, where it is strongest) as a share
    of the background there; 0 without any.
    """

    pixels: NDArray[Any] = field(repr=False)
    label: Label
    spots: NDArray[np.float32] = field(repr=False)
    diffuse_strength: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Crystal:
    """A crystal in a shot: `rotation` (3, 3), times as large as the usual one, its spots."""

    rotation: NDArray[np.float64]
    volume: float
    spots: Spots


class Simulator:
    """Makes a run's frames; maps are made once, here."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.maps = make_maps(run)
        rng = stream(run.seed, Purpose.RUN)
        self.panels = make_panels(run, rng)
        self.background = Background(run, self.maps, self.panels.area, self.panels.mask)
        self.response = Response(run, self.panels, rng)
        looks = stream(run.seed, Purpose.RUN, 1)
        self.artefacts = Artefacts(run, self.maps, self.panels.area, looks)
        self.crystals = Crystals(run)
        self._collected = self.maps.arriving * self.panels.area
        uneven = run.unevenness
        self._uneven = uneven and Uneven(run, uneven, stream(run.seed, Purpose.RUN, 2))
        self._diffuse = self._diffuse_field()
        # A spot counts where its pixel and most of the eight around it are seen.
        seen = ~self.panels.mask & (self.maps.transmission > 0.5)
        padded = np.pad(seen, 1, mode="constant").astype(np.uint8)
        rows, cols = seen.shape
        around = sum(
            padded[row : row + rows, col : col + cols] for row in range(3) for col in range(3)
        )
        self._countable = seen & (np.asarray(around) >= 6)
        self._has_shadow = self._shows_shadow()

    @cached_property
    def detector(self) -> Detector:
        """What a file or a stream says of the window's detector."""
        run, geometry = self.run, self.run.geometry
        limit = run.readout.saturation
        return Detector(
            shape=self.maps.shape,
            mask=self.panels.mask,
            saturation=limit,
            underload=0.0 if run.readout.counting else None,
            beam_x_px=geometry.beam_x_px - run.window.left,
            beam_y_px=geometry.beam_y_px - run.window.top,
            pixel_x_mm=geometry.pixel_mm,
            pixel_y_mm=geometry.pixel_mm,
            distance_mm=geometry.distance_mm,
            wavelength_angstrom=run.beam.wavelength_angstrom,
        )

    def shot(self, number: int) -> SimulatedFrame:
        """The run's frame `number`."""
        run, rng = self.run, stream(self.run.seed, Purpose.SHOT, number)
        shot = draw_shot(run, rng)
        own = stream(run.seed, Purpose.DIFFUSE, number)  # leaves `rng` to what was there before
        means = self.background.means(shot)
        if self._uneven:
            means *= self._uneven.factor(own)
        variance = self.response.pixel_variance
        names: list[str] = []
        for name, light in self.artefacts.smooth(rng) if shot.beam else ():
            light *= np.float32(shot.beam)
            if _filter_snr(light, means, variance) > VISIBLE_SNR:
                names.append(name)
            means += light
        for name, spots in self.artefacts.spots(means, variance, rng) if shot.beam else ():
            visible = self.visible(spots, means)
            if len(visible) and visible[:, 2].max() >= STRONG_SNR:
                names.append(name)
            add_light(means, spots)
        table = np.empty((0, 4), np.float32)
        diffuse = None
        if rng.random() < run.hit_share and shot.beam:
            crystals = self._crystals(rng)
            if self._diffuse:
                diffuse = self._diffuse_light(self._diffuse, crystals, shot, means, own)
                means += diffuse.photons * self._collected
            spots = joined([each.spots for each in crystals]).times(shot.beam)
            table = self.visible(merged(spots), means)
            add_light(means, self._dimmed(spots))
        photons = draw_photons(means, rng)
        noise = float(np.sqrt(np.median(means[::7, ::5]) + variance))  # a sample is enough
        if add_cosmics(photons, run.artefacts.cosmics_per_mpx, rng) > VISIBLE_PIXEL * noise:
            names.append("cosmic")
        pixels, more = self.response.read(photons, noise, rng)
        names += more
        if shot.beam == 0:
            names.append("dark")
        elif self._has_shadow:
            names.append("shadow")
        return SimulatedFrame(
            pixels=pixels,
            label=replace(label(table[:, 2], names), diffuse=self._is_diffuse(diffuse)),
            spots=table,
            diffuse_strength=diffuse.strength if diffuse else 0.0,
        )

    def visible(self, spots: Spots, means: Image) -> NDArray[np.float32]:
        """(k, 4): x_px, y_px, S/N, photons of the spots that count, over a background of `means`
        (rows, cols) photons.
        """
        spots, background = self.countable(spots, means)
        snr = signal_to_noise(spots, background + self.response.pixel_variance)
        table = np.stack([spots.x_px, spots.y_px, snr, spots.photons], axis=1)
        return table[snr >= SEEN_SNR].astype(np.float32)

    def countable(self, spots: Spots, means: Image) -> tuple[Spots, NDArray[np.float64]]:
        """The spots that nothing hides, however faint, and (k,) the photons behind each."""
        spots = self._dimmed(self._inside(spots))
        rows, cols = spots.y_px.astype(np.intp), spots.x_px.astype(np.intp)
        seen = self._countable[rows, cols]
        return spots.take(seen), means[rows, cols][seen].astype(np.float64)

    def _crystals(self, rng: np.random.Generator) -> list[_Crystal]:
        sample = self.run.sample
        found = []
        for _ in range(1 + int(rng.poisson(sample.extra_crystals))):
            volume = rng.lognormal(0.0, sample.volume_spread)
            rotation = random_rotation(rng)
            spots = self.crystals.turned(rotation, rng).times(sample.brightness * volume)
            found.append(_Crystal(rotation=rotation, volume=volume, spots=spots))
        return found

    def _diffuse_field(self) -> DiffuseField | None:
        if self.run.diffuse is None:
            return None
        usual = self.background.means(Shot())
        return DiffuseField(
            self.run, self.run.diffuse, usual, arriving=self._collected, mask=self.panels.mask
        )

    def _diffuse_light(
        self,
        field_: DiffuseField,
        crystals: list[_Crystal],
        shot: Shot,
        means: Image,
        rng: np.random.Generator,
    ) -> DiffuseLight:
        """What the shot's crystals scatter between their spots over `means` (rows, cols) photons;
        either all of them in an ordered way or none.
        """
        settings = field_.settings
        structured = bool(rng.random() < settings.share)
        more = shot.beam * rng.lognormal(0.0, settings.spread)
        return field_.light(
            [each.rotation for each in crystals],
            [each.volume * more for each in crystals],
            structured=structured,
            means=means,
            variance=self.response.pixel_variance,
        )

    def _is_diffuse(self, light: DiffuseLight | None) -> bool | None:
        """None where the run says nothing of it, or where it is too faint to be seen."""
        if self._diffuse is None:
            return None
        if light is None or light.strength == 0.0:
            return False
        return True if light.snr > VISIBLE_SNR else None

    def _inside(self, spots: Spots) -> Spots:
        rows, cols = self.maps.shape
        # As float32, as tables of spots have it: 349.99999 becomes 350, which is outside.
        x, y = spots.x_px.astype(np.float32), spots.y_px.astype(np.float32)
        return spots.take((x >= 0) & (x < cols) & (y >= 0) & (y < rows))

    def _dimmed(self, spots: Spots) -> Spots:
        """With what obstacles leave of them."""
        rows, cols = self.maps.shape
        row = np.clip(spots.y_px.astype(np.intp), 0, rows - 1)
        col = np.clip(spots.x_px.astype(np.intp), 0, cols - 1)
        return spots.times(self.maps.transmission[row, col].astype(np.float64))

    def _shows_shadow(self) -> bool:
        """Whether an edge crosses the window: both sides hold a hundredth of it at least."""
        edges = self.run.obstacles.edges
        if not edges:
            return False
        lit = self.maps.transmission[~self.maps.beamstop]
        faintest = min(edge.transmission for edge in edges)
        share = float((lit < (1 + faintest) / 2).mean()) if len(lit) else 0.0
        return 0.01 < share < 0.99


def label(snr: NDArray[np.floating], artefacts: Sequence[str]) -> Label:
    """What a frame with spots of these S/N is."""
    seen, strong = int((snr >= SEEN_SNR).sum()), int((snr >= STRONG_SNR).sum())
    names = tuple(artefacts)
    if seen >= LEAST_OF_A_HIT:
        tier: Tier = "strong" if strong >= LEAST_OF_A_HIT else "weak"
        return Label(truth="hit", tier=tier, artefacts=names)
    return Label(truth="miss" if seen <= MOST_OF_A_MISS else "ambiguous", artefacts=names)


def _filter_snr(light: Image, means: Image, variance: float) -> float:
    """At how many sigma a filter of the light's own shape would see it."""
    return float(np.sqrt(np.sum(light * light / (means + np.float32(variance + 1e-6)))))
