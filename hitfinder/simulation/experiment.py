"""The beamline that is simulated: beam, detector, what stands between, all fixed for a series.

An invented 1750 x 1750 counting detector of 2 x 4 modules. Lengths in mm and pixels, wavelength
in angstrom; x is the fast axis. Not here: parallax, point spread that depends on the angle.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hitfinder.frame import Detector

FLAGGED = 65535
"""What the detector writes into gaps and masked pixels: the largest value of its uint16."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Geometry and flaws. `seed` places the flawed pixels. Not slotted: the maps are cached."""

    shape: tuple[int, int] = (1750, 1750)
    pixel_mm: float = 0.075
    distance_mm: float = 120.0
    wavelength_angstrom: float = 1.0
    beam_x_px: float = 893.2
    beam_y_px: float = 921.7
    modules: tuple[int, int] = (4, 2)
    gap_px: tuple[int, int] = (34, 12)
    central_px: int = 350
    beamstop_radius_px: float = 26.0
    beamstop_arm_px: float = 7.0
    beamstop_transmission: float = 0.03
    dead_pixels: int = 300
    hot_pixels: int = 25
    seed: int = 7

    @cached_property
    def radius_px(self) -> NDArray[np.float32]:
        """(rows, cols): distance of each pixel's centre from the beam."""
        y, x = self._offsets
        radius: NDArray[np.float32] = np.hypot(y, x)
        return radius

    @cached_property
    def vertical(self) -> NDArray[np.float32]:
        """(rows, cols) in [0, 1]: squared sine of the azimuth from the horizontal."""
        y, x = self._offsets
        return (y * y / (y * y + x * x + 1e-6)).astype(np.float32, copy=False)

    @cached_property
    def shadow(self) -> NDArray[np.bool_]:
        """(rows, cols): behind the beamstop or its arm, which comes from the left."""
        y, x = self._offsets
        arm = (abs(y) < self.beamstop_arm_px / 2) & (x < 0)
        shadow: NDArray[np.bool_] = arm | (self.radius_px < self.beamstop_radius_px)
        return shadow

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """(rows, cols): module gaps and the flawed pixels that the detector knows of."""
        mask = np.zeros(self.shape, bool)
        for axis, (count, gap) in enumerate(zip(self.modules, self.gap_px, strict=True)):
            lines = np.moveaxis(mask, axis, 0)
            module = (self.shape[axis] - (count - 1) * gap) // count
            for index in range(1, count):
                lines[index * (module + gap) - gap : index * (module + gap)] = True
        mask.reshape(-1)[self._flawed[: self.dead_pixels]] = True
        return mask

    @cached_property
    def hot(self) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Pixels (flat indices) that count on their own and are in no mask, and their means."""
        places = self._flawed[self.dead_pixels :]
        means = np.random.default_rng(self.seed).lognormal(4.0, 1.5, len(places))
        return places, np.minimum(means, 20_000.0)

    @cached_property
    def detector(self) -> Detector:
        """What a start message says of this detector."""
        return Detector(
            shape=self.shape,
            mask=self.mask,
            saturation=float(FLAGGED - 1),
            underload=0.0,
            beam_x_px=self.beam_x_px,
            beam_y_px=self.beam_y_px,
            pixel_x_mm=self.pixel_mm,
            pixel_y_mm=self.pixel_mm,
            distance_mm=self.distance_mm,
            wavelength_angstrom=self.wavelength_angstrom,
        )

    def central(self, x_px: NDArray[np.float64], y_px: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which points lie in the centred square of `central_px`, where hit finders look."""
        rows, cols = self.shape
        inside: NDArray[np.bool_] = (abs(y_px - rows / 2) < self.central_px / 2) & (
            abs(x_px - cols / 2) < self.central_px / 2
        )
        return inside

    @cached_property
    def _offsets(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(rows, 1) and (1, cols): pixel centres relative to the beam."""
        rows, cols = self.shape
        y = (np.arange(rows, dtype=np.float32) + np.float32(0.5 - self.beam_y_px))[:, None]
        x = (np.arange(cols, dtype=np.float32) + np.float32(0.5 - self.beam_x_px))[None, :]
        return y, x

    @cached_property
    def _flawed(self) -> NDArray[np.intp]:
        rows, cols = self.shape
        count = self.dead_pixels + self.hot_pixels
        rng = np.random.default_rng(self.seed)
        return rng.choice(rows * cols, count, replace=False).astype(np.intp)
