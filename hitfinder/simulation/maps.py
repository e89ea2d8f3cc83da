"""Where each pixel of a run's window looks: scattering angle, azimuth, and what arrives there."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hitfinder.simulation.run import Beam, Geometry, Run

Image = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Maps:
    """All (rows, cols) float32, over the window: pixels from the beam's centre; azimuth from the
    x axis; s = 1/d in 1/angstrom; `arriving`, the share that polarisation, slanted incidence and
    obstacles leave; `transmission`, the share that obstacles alone leave.
    """

    x_px: Image = field(repr=False)
    y_px: Image = field(repr=False)
    radius_px: Image = field(repr=False)
    azimuth_rad: Image = field(repr=False)
    s: Image = field(repr=False)
    arriving: Image = field(repr=False)
    transmission: Image = field(repr=False)
    beamstop: NDArray[np.bool_] = field(repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols)."""
        return self.s.shape[0], self.s.shape[1]


def make_maps(run: Run) -> Maps:
    """The maps of a run's window."""
    window, geometry = run.window, run.geometry
    y, x = np.meshgrid(
        np.arange(window.rows, dtype=np.float32)
        + np.float32(window.top + 0.5 - geometry.beam_y_px),
        np.arange(window.cols, dtype=np.float32)
        + np.float32(window.left + 0.5 - geometry.beam_x_px),
        indexing="ij",
    )
    radius = np.hypot(x, y)
    angle = np.arctan(radius * np.float32(geometry.pixel_mm / geometry.distance_mm))
    s = 2 * np.sin(angle / 2) / np.float32(run.beam.wavelength_angstrom)
    beamstop, transmission = _obstacles(run, x, y, radius)
    share = left_over(run.beam, geometry, x, y) * np.cos(angle) ** 3  # slanted pixels
    return Maps(
        x_px=x,
        y_px=y,
        radius_px=radius,
        azimuth_rad=np.arctan2(y, x),
        s=s,
        arriving=(share * transmission).astype(np.float32, copy=False),
        transmission=transmission,
        beamstop=beamstop,
    )


def left_over(
    beam: Beam, geometry: Geometry, x_px: NDArray[np.floating], y_px: NDArray[np.floating]
) -> NDArray[np.floating]:
    """The share of scattering that polarisation leaves, at pixels from the beam's centre."""
    square = x_px * x_px + y_px * y_px
    distance_px = float(geometry.distance_mm / geometry.pixel_mm)
    sine2 = 1 / (square + distance_px * distance_px)
    lost = beam.polarisation * x_px * x_px + (1 - beam.polarisation) * y_px * y_px
    share: NDArray[np.floating] = 1 - lost * sine2
    return share


def _obstacles(run: Run, x: Image, y: Image, radius: Image) -> tuple[NDArray[np.bool_], Image]:
    """Where the beamstop is, and the share that it and the edges leave."""
    obstacles = run.obstacles
    along = x * np.float32(np.cos(obstacles.arm_rad)) + y * np.float32(np.sin(obstacles.arm_rad))
    across = y * np.float32(np.cos(obstacles.arm_rad)) - x * np.float32(np.sin(obstacles.arm_rad))
    soft = np.float32(obstacles.soft_px)
    hidden: Image = np.zeros(radius.shape, np.float32)
    if obstacles.beamstop_px:
        hidden = 1 - _risen((radius - np.float32(obstacles.beamstop_px)) / soft)
    if obstacles.arm_px:
        aside = _risen((abs(across) - np.float32(obstacles.arm_px / 2)) / soft)
        hidden = np.maximum(hidden, (1 - aside) * _risen(along / soft))
    transmission: Image = 1 - np.float32(1 - obstacles.transmission) * hidden
    row = np.arange(run.window.rows, dtype=np.float32)[:, None] - np.float32(run.window.rows / 2)
    col = np.arange(run.window.cols, dtype=np.float32)[None, :] - np.float32(run.window.cols / 2)
    for edge in obstacles.edges:
        beyond = col * np.float32(np.cos(edge.angle_rad)) + row * np.float32(np.sin(edge.angle_rad))
        reach = (beyond - np.float32(edge.distance_px)) / np.float32(edge.soft_px)
        transmission *= 1 - np.float32(1 - edge.transmission) * _risen(reach)
    return hidden > 0.5, transmission


def _risen(steps: NDArray[np.floating]) -> Image:
    """From 0 to 1 about 0."""
    risen: Image = (1 / (1 + np.exp(-np.clip(steps, -20, 20)))).astype(np.float32, copy=False)
    return risen
