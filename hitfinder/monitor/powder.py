"""The virtual powder pattern: sum and maximum of a series' hits, as far as they were sampled.

Safe to use from several threads. A new series, or another region, begins a new pattern.
"""

import threading

import numpy as np
from numpy.typing import NDArray

from hitfinder.monitor.raster import Raster, raster
from hitfinder.monitor.rings import View


class Powder:
    """`add` hits; `pattern` when somebody looks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._empty = np.empty((0, 0), np.float32)
        self._sum: NDArray[np.float64] = np.empty((0, 0), np.float64)
        self._max = self._empty
        self._packed: dict[str, tuple[int, Raster]] = {}
        self._is_over = False
        self.series: str | None = None
        self.hits = 0
        self.view: View | None = None

    def add(self, series: str, pixels: NDArray[np.float32], view: View) -> None:
        """Add a hit's region, (H, W) float32, NaN where nothing was measured."""
        with self._lock:
            same = series == self.series and view == self.view
            if self._is_over or not same or pixels.shape != self._sum.shape:
                self._begin(series, pixels.shape, view)
            np.add(self._sum, pixels, out=self._sum, where=~np.isnan(pixels))
            np.fmax(self._max, pixels, out=self._max)
            self.hits += 1

    def forget(self) -> None:
        """The next hit begins a new pattern; until then this one stands."""
        with self._lock:
            self._is_over = True

    def pattern(self, kind: str) -> Raster | None:
        """Kind "sum" or "max"; NaN where no hit was measured; None before the first hit."""
        with self._lock:
            hits, packed, whole = self.hits, self._packed.get(kind), self._max
            if hits == 0:
                return None
            if packed is not None and packed[0] == hits:
                return packed[1]
            pixels = self._max.copy()
            if kind == "sum":
                pixels = np.where(np.isnan(self._max), np.float32(np.nan), self._sum)
                pixels = pixels.astype(np.float32)
        made = raster(pixels)
        with self._lock:
            if self._max is whole:  # and not another pattern, begun meanwhile
                self._packed[kind] = hits, made
        return made

    def _begin(self, series: str, shape: tuple[int, ...], view: View) -> None:
        self.series, self.view, self.hits, self._is_over = series, view, 0, False
        self._sum = np.zeros(shape, np.float64)  # (H, W)
        self._max = np.full(shape, np.nan, np.float32)  # (H, W)
        self._packed = {}
