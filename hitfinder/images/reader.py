"""How one region of every frame is read: decoded and cut out or gathered, NaN = no measurement.

Nothing else is done to the pixels: normalising is the model's business. Readers are planned once
(`region`). What this file does not know: how payloads are encoded, and why a region lies where it
does.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import PayloadError
from hitfinder.frame import Payload

PIXELS_AT_ONCE = 2**22
"""More at a time leave the cache between two steps; fewer are more calls, each of which gives
Python's lock away. Twice or half as many take as long."""


class Reader(Protocol):
    """Makes one image of every frame."""

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the image."""
        ...

    def read(self, payload: Payload, out: NDArray[np.float32]) -> None:
        """Write the image into `out` (H, W) float32, all of it.

        Raises PayloadError when the payload has not the planned shape or cannot be decoded.
        """
        ...


class RegionReader(Reader, Protocol):
    """Reads one region of every frame, pixel by pixel."""

    @property
    def beam_px(self) -> tuple[float, float] | None:
        """(y, x) of the beam from the region's first outer corner; None where unknown."""
        ...

    def places(self) -> NDArray[np.int32]:
        """(H, W) which pixel of the flat payload each of the region is; -1 where there is none,
        or none that may be used.
        """
        ...


@dataclass(frozen=True, slots=True)
class Box:
    """Rows [top, bottom) and columns [left, right)."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.bottom - self.top, self.right - self.left


@dataclass(frozen=True, slots=True)
class Piece:
    """A rectangle of a payload's flat rows and where it goes in the region."""

    source: Box
    row: int
    col: int


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

    def write(
        self, pixels: NDArray[Any], unmeasured: NDArray[np.bool_], out: NDArray[np.float32]
    ) -> None:
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
        np.copyto(out, np.nan, where=unmeasured)
        if highest is not None and np.fmax.reduce(out, axis=None) >= np.float32(highest):
            np.copyto(out, np.nan, where=pixels >= highest)
        if lowest is not None and not pixels.min() >= lowest:
            np.copyto(out, np.nan, where=pixels < lowest)


@dataclass(frozen=True, slots=True)
class BoxReader:
    """A region made of rectangles of the payload, each below the one before: of a monolithic
    frame, or of the modules of a stack.

    `unmeasured` (H, W) is True where no pixel is, or none that may be used. `gaps` says whether
    there is a place that no piece covers.
    """

    shape: tuple[int, int]
    payload_shape: tuple[int, ...]
    limits: Limits
    unmeasured: NDArray[np.bool_]
    pieces: tuple[Piece, ...]
    gaps: bool
    beam_px: tuple[float, float] | None = None

    def read(self, payload: Payload, out: NDArray[np.float32]) -> None:
        """See `RegionReader`."""
        expect(self.payload_shape, payload)
        if self.gaps:
            out[...] = np.nan
        cuts = [piece.source.top for piece in self.pieces]
        bands = payload.bands([*cuts, self.pieces[-1].source.bottom])
        for piece, band in zip(self.pieces, bands, strict=True):
            height, width = piece.source.shape
            place = (
                slice(piece.row, piece.row + height),
                slice(piece.col, piece.col + width),
            )
            pixels = band[:, piece.source.left : piece.source.right]
            self.limits.write(pixels, self.unmeasured[place], out[place])

    def places(self) -> NDArray[np.int32]:
        """See `RegionReader`."""
        found = np.full(self.shape, -1, np.int32)
        cols = self.payload_shape[-1]
        for piece in self.pieces:
            source = piece.source
            height, width = source.shape
            rows = np.arange(source.top, source.bottom, dtype=np.int32)[:, np.newaxis] * cols
            found[piece.row : piece.row + height, piece.col : piece.col + width] = rows + np.arange(
                source.left, source.right, dtype=np.int32
            )
        found[self.unmeasured] = -1
        return found


@dataclass(frozen=True, slots=True)
class GatherReader:
    """A region of an assembled image: `index` (H, W) counts pixels in flat rows [first, last)."""

    shape: tuple[int, int]
    payload_shape: tuple[int, ...]
    limits: Limits
    unmeasured: NDArray[np.bool_]
    index: NDArray[np.intp]
    first: int
    last: int
    beam_px: tuple[float, float] | None = None

    def read(self, payload: Payload, out: NDArray[np.float32]) -> None:
        """See `RegionReader`."""
        expect(self.payload_shape, payload)
        band = payload.rows(self.first, self.last).reshape(-1)
        self.limits.write(band.take(self.index), self.unmeasured, out)

    def places(self) -> NDArray[np.int32]:
        """See `RegionReader`."""
        found = (self.index + self.first * self.payload_shape[-1]).astype(np.int32)
        found[self.unmeasured] = -1
        return found


def is_blank(region: NDArray[np.float32]) -> bool:
    """Whether nothing in (H, W) was measured: not a miss, but not known.

    A sample tells almost always, and the whole is looked at only when it does not.
    """
    return bool(np.isnan(region[::16, ::16]).all() and np.isnan(region).all())


def expect(shape: tuple[int, ...], payload: Payload) -> None:
    """Raises PayloadError when the payload has another shape."""
    if payload.shape != shape:
        raise PayloadError(f"frame of shape {payload.shape} where the region expects {shape}")
