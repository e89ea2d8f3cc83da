"""Which pixels are no measurement, and NaN written there: those that never are, and values beyond
what the detector measures.

What this file does not know: masks and geometry, from which regions are planned, and payloads.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import PayloadError

FEW = 1 / 32
"""Of an image's pixels: so many are written faster one by one."""


@dataclass(frozen=True, slots=True)
class Blanks:
    """Which pixels of an image (h, w) are never measured: whole rows and columns, as gaps between
    modules are, and the rest, by place where they are few. To write NaN there takes half the time
    that going through flags of all pixels does.
    """

    rows: tuple[slice, ...]
    cols: tuple[slice, ...]
    rest: NDArray[np.bool_] | tuple[NDArray[np.intp], NDArray[np.intp]]

    @classmethod
    def of(cls, flags: NDArray[np.bool_]) -> "Blanks":
        """Where flags (h, w) are True."""
        rows = np.logical_and.reduce(flags, axis=1)
        cols = np.logical_and.reduce(flags, axis=0)
        rest = flags & ~rows[:, np.newaxis] & ~cols
        if np.count_nonzero(rest) > FEW * flags.size:
            return cls(_runs(rows), _runs(cols), rest)
        across, along = np.nonzero(rest)
        return cls(_runs(rows), _runs(cols), (across, along))

    def write(self, out: NDArray[Any], value: float = np.nan) -> None:
        """Write a value there into `out` (h, w)."""
        for rows in self.rows:
            out[rows] = value
        for cols in self.cols:
            out[:, cols] = value
        if isinstance(self.rest, tuple):
            out[self.rest] = value
        else:
            np.copyto(out, value, where=self.rest)


def _runs(flags: NDArray[np.bool_]) -> tuple[slice, ...]:
    edges = np.flatnonzero(np.diff(flags, prepend=False, append=False))
    return tuple(slice(first, last) for first, last in edges.reshape(-1, 2).tolist())


@dataclass(frozen=True, slots=True)
class Limits:
    """Which values are no measurement."""

    saturation: float | None
    underload: float | None

    @lru_cache(maxsize=64)  # noqa: B019  (a run has few detectors, and each asks for every frame)
    def bounds(self, dtype: np.dtype[Any]) -> tuple[float | None, float | None]:
        """The lowest value that is a measurement, and the lowest above it that is none; None where
        no value of this type is too low, or too high. Raises PayloadError for another than real
        numbers.
        """
        if dtype.kind == "f":
            return self.underload, self.saturation
        if dtype.kind not in "iu":
            raise PayloadError(f"pixels of type {dtype} are neither integers nor floats")
        # Integers are compared as such, and none is that is beyond their type.
        info = np.iinfo(dtype)
        lowest = None if self.underload is None else math.ceil(self.underload)
        highest = None if self.saturation is None else math.ceil(self.saturation)
        if info.min == 0:
            highest = info.max if highest is None else min(highest, info.max)
        if lowest is not None and lowest <= info.min:
            lowest = None
        if highest is not None and highest > info.max:
            highest = None
        return lowest, highest

    def write(self, pixels: NDArray[Any], blanks: Blanks, out: NDArray[np.float32]) -> None:
        """Write (h, w) pixels of any real dtype into `out` (h, w). Raises PayloadError.

        Flags are made only where the extremes say so: a reduction costs a tenth of writing NaN by
        a mask. Masked pixels often hold their type's largest value, so the greatest is sought in
        `out`, where those are NaN; rounding keeps the order.
        """
        lowest, highest = self.bounds(pixels.dtype)
        if pixels.dtype.kind == "f":
            with np.errstate(over="ignore"):  # beyond float32 becomes infinite, hence NaN
                out[...] = pixels
            np.copyto(out, np.nan, where=np.isinf(out))
        else:
            out[...] = pixels
        blanks.write(out)
        if highest is not None and np.fmax.reduce(out, axis=None) >= np.float32(highest):
            np.copyto(out, np.nan, where=pixels >= highest)
        if lowest is not None and not pixels.min() >= lowest:
            np.copyto(out, np.nan, where=pixels < lowest)
