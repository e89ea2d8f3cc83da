"""A coarse grid over a run's window, for what is smooth: it is computed there and drawn out to the
pixels by straight lines between the grid's points.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.simulation.maps import Image
from hitfinder.simulation.run import Run


class Coarse:
    """Points `step_px` apart, from the window's first corner to beyond its last.

    `shape` (grid rows, grid cols). All arrays are over the grid and float32: `x_px`, `y_px` from
    the beam's centre; `point` (3, grid rows, grid cols) where the Ewald sphere is in reciprocal
    space, in 1/angstrom, the beam along z as in `crystal`; `s` = 1/d, how far from the
    origin. `row` and `col` are the nearest pixels.
    """

    def __init__(self, run: Run, step_px: float) -> None:
        window, geometry = run.window, run.geometry
        self.step_px = step_px
        y = np.arange(0.0, window.rows + step_px, step_px)
        x = np.arange(0.0, window.cols + step_px, step_px)
        self.shape = len(y), len(x)
        self._down = _between(window.rows, y, step_px)
        self._across = _between(window.cols, x, step_px).T
        self.row = np.minimum(y, window.rows - 1).astype(np.intp)
        self.col = np.minimum(x, window.cols - 1).astype(np.intp)
        at_y, at_x = np.meshgrid(
            y + window.top - geometry.beam_y_px, x + window.left - geometry.beam_x_px, indexing="ij"
        )
        distance_px = geometry.distance_mm / geometry.pixel_mm
        direction = np.stack([at_x, at_y, np.full_like(at_x, distance_px)])
        direction /= np.linalg.norm(direction, axis=0)
        direction[2] -= 1
        point = direction / run.beam.wavelength_angstrom
        self.x_px, self.y_px = at_x.astype(np.float32), at_y.astype(np.float32)
        self.point: NDArray[np.float32] = point.astype(np.float32)
        self.s: Image = np.linalg.norm(point, axis=0).astype(np.float32)

    def drawn_out(self, values: Image) -> Image:
        """(rows, cols) float32 of the window from `values` over the grid."""
        image: Image = self._down @ (values @ self._across)
        return image

    def seen_in(self, image: NDArray[Any]) -> NDArray[Any]:
        """A window's (rows, cols) at the grid's points."""
        seen: NDArray[Any] = image[np.ix_(self.row, self.col)]
        return seen


def _between(count: int, at: NDArray[np.float64], step_px: float) -> NDArray[np.float32]:
    """(count, len(at)): what each point adds to each pixel's middle."""
    place = (np.arange(count) + 0.5) / step_px
    weights = 1 - abs(place[:, None] - np.arange(len(at))[None, :])
    kept: NDArray[np.float32] = np.maximum(weights, 0.0).astype(np.float32)
    return kept
