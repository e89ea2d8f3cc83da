"""How photons become numbers: counting and integrating detectors, their noise and their flags."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.simulation.maps import Image
from hitfinder.simulation.panels import Panels
from hitfinder.simulation.run import Run

VISIBLE_STEP = 0.5
"""A step between panels is called an artefact from so many times a pixel's noise on."""

VISIBLE_PIXEL = 8.0
"""Hot pixels and particles are called so from so many times a pixel's noise on: photons alone
do not get there in a frame.
"""

_NOISY_ROW = 4.0
"""How much noisier than others a noisy row is."""


class Response:
    """A run's readout; `rng` draws what stays the same in it."""

    def __init__(self, run: Run, panels: Panels, rng: np.random.Generator) -> None:
        self._readout = readout = run.readout
        self._panels = panels
        self._dtype = np.dtype(readout.dtype)
        self._flagged = np.flatnonzero(panels.mask)
        self._flags = np.where(panels.dead, readout.flags[1], readout.flags[0])[panels.mask].astype(
            self._dtype
        )
        self._panel_numbers, panel = np.unique(panels.panel, return_inverse=True)
        chips, chip = np.unique(panels.chip, return_inverse=True)
        self._panel = panel.reshape(panels.mask.shape)
        fixed = rng.normal(0.0, readout.panel_photons, len(self._panel_numbers))
        self._panel_photons = fixed
        chip_photons = rng.normal(0.0, readout.chip_photons, len(chips))
        self._chip_photons = chip_photons
        offsets = chip_photons.astype(np.float32)[chip.reshape(panels.mask.shape)]
        self._offsets = offsets + fixed.astype(np.float32)[self._panel]  # (rows, cols) float32
        # (rows, cols) float32: each pixel's own noise in photons.
        self._noise = np.exp(
            np.float32(readout.noise_spread) * rng.standard_normal(panels.mask.shape, np.float32)
        )
        self._noise *= np.float32(readout.noise_photons) * (
            1 + np.float32(readout.noise_ramp) * panels.along_chip**2
        )
        self._noise[panels.noisy_rows] *= np.float32(_NOISY_ROW)
        steps = 0.0 if self._dtype.kind == "f" else 1 / (12 * readout.gain**2)
        self.pixel_variance = 0.0 if readout.counting else float(np.mean(self._noise**2)) + steps
        """Variance that readout adds to a pixel, photons²: noise, and steps between integers."""
        self._gains = 1 + np.float32(readout.gain_spread) * rng.standard_normal(
            panels.mask.shape, np.float32
        )

    def read(
        self, photons: Image, usual_noise: float, rng: np.random.Generator
    ) -> tuple[NDArray[Any], list[str]]:
        """Pixels (rows, cols) of the run's dtype, and the artefacts in them: "hot" and
        "panel-offset", where they stand out of a pixel's `usual_noise` in photons. `photons`
        (rows, cols) float32 is used up.
        """
        panels, readout = self._panels, self._readout
        on = rng.random(len(panels.hot)) < panels.hot_steady
        hot, brightness = panels.hot[on], panels.hot_photons[on]
        if readout.counting:
            photons.reshape(-1)[hot] += rng.poisson(np.minimum(brightness, 1e9))
            values, step = photons, 0.0
        else:
            if readout.point_spread_px:
                photons = blurred(photons, readout.point_spread_px)
            photons.reshape(-1)[hot] += brightness
            values, step = self._integrated(photons, rng)
        limit = readout.saturation
        if self._dtype.kind in "iu":
            info = np.iinfo(self._dtype)
            values = np.rint(np.clip(values, info.min, min(limit, info.max - 1)))
        else:
            values = np.minimum(values, np.float32(limit))
        pixels = values.astype(self._dtype)
        pixels.put(self._flagged, self._flags)
        names = ["hot"] if (brightness > VISIBLE_PIXEL * usual_noise).any() else []
        return pixels, [*names, "panel-offset"] if step > VISIBLE_STEP * usual_noise else names

    def _integrated(self, photons: Image, rng: np.random.Generator) -> tuple[Image, float]:
        readout = self._readout
        rows, cols = photons.shape
        common = rng.normal(0.0, readout.common_mode_photons, len(self._panel_numbers))
        photons *= self._gains
        if common.any():
            photons += common.astype(np.float32)[self._panel]
        photons += self._offsets
        noise = rng.standard_normal(photons.shape, np.float32)
        noise *= self._noise
        photons += noise
        if readout.line_photons:
            shape = (rows, 1) if readout.lines == "rows" else (1, cols)
            photons += rng.normal(0.0, readout.line_photons, shape).astype(np.float32)
        step = _span(common + self._panel_photons)
        step = max(step, _span(self._chip_photons))
        photons *= np.float32(readout.gain)
        photons += np.float32(readout.offset)
        return photons, step


def blurred(image: Image, sigma_px: float) -> Image:
    """`image` (rows, cols) spread by a Gaussian; at the edges its rim goes on outwards."""
    half = int(np.ceil(3 * sigma_px))
    weights = np.exp(-((np.arange(-half, half + 1) / sigma_px) ** 2) / 2)
    weights = (weights / weights.sum()).astype(np.float32)
    for axis in (0, 1):
        width = [(half, half) if each == axis else (0, 0) for each in (0, 1)]
        padded = np.pad(image, width, mode="edge")
        image = np.zeros_like(image)
        for index, weight in enumerate(weights):
            part = slice(index, index + image.shape[axis])
            image += weight * (padded[part] if axis == 0 else padded[:, part])
    return image


def _span(values: NDArray[np.float64]) -> float:
    return float(np.ptp(values)) if len(values) > 1 else 0.0
