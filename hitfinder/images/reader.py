"""How one region of every frame is read: decoded and cut out or gathered, NaN = no measurement.

Nothing else is done to the pixels: normalising is the model's business. Readers are planned once
(`region`). What this file does not know: how payloads are encoded, and why a region lies where it
does.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import PayloadError
from hitfinder.frame import Payload
from hitfinder.images.measured import Blanks, Limits

PIXELS_AT_ONCE = 2**22
"""More at a time leave the cache between two steps; fewer are more calls, each of which gives
Python's lock away. Twice or half as many take as long."""

LEAST_MEASURED = 0.05
"""Share of a region that must have been measured for a frame to be judged. A model finds no spots
in what is left of less, as in all frames with a mask that is inverted."""


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
    def measured(self) -> float:
        """Share of the region's pixels that are measured at all."""
        ...

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
    """A rectangle of a payload's flat rows, where it goes in the region, and what it lacks."""

    source: Box
    row: int
    col: int
    blanks: Blanks

    def part(self, region: NDArray[Any]) -> NDArray[Any]:
        """Its place in the region (H, W)."""
        height, width = self.source.shape
        return region[self.row : self.row + height, self.col : self.col + width]


@dataclass(frozen=True, slots=True)
class BoxReader:
    """A region made of rectangles of the payload, each below the one before: of a monolithic
    frame, or of the modules of a stack.

    `gaps` says whether there is a place that no piece covers.
    """

    shape: tuple[int, int]
    payload_shape: tuple[int, ...]
    limits: Limits
    pieces: tuple[Piece, ...]
    gaps: bool
    measured: float
    beam_px: tuple[float, float] | None = None

    def read(self, payload: Payload, out: NDArray[np.float32]) -> None:
        """See `RegionReader`."""
        expect(self.payload_shape, payload)
        if self.gaps:
            out[...] = np.nan
        cuts = [piece.source.top for piece in self.pieces]
        bands = payload.bands([*cuts, self.pieces[-1].source.bottom])
        for piece, band in zip(self.pieces, bands, strict=True):
            pixels = band[:, piece.source.left : piece.source.right]
            self.limits.write(pixels, piece.blanks, piece.part(out))

    def places(self) -> NDArray[np.int32]:
        """See `RegionReader`."""
        found = np.full(self.shape, -1, np.int32)
        cols = self.payload_shape[-1]
        for piece in self.pieces:
            source, part = piece.source, piece.part(found)
            rows = np.arange(source.top, source.bottom, dtype=np.int32)[:, np.newaxis]
            part[...] = rows * cols + np.arange(source.left, source.right, dtype=np.int32)
            piece.blanks.write(part, -1)
        return found


@dataclass(frozen=True, slots=True)
class GatherReader:
    """A region of an assembled image: `index` (H, W) counts pixels in flat rows [first, last)."""

    shape: tuple[int, int]
    payload_shape: tuple[int, ...]
    limits: Limits
    blanks: Blanks
    index: NDArray[np.intp]
    first: int
    last: int
    measured: float
    beam_px: tuple[float, float] | None = None

    def read(self, payload: Payload, out: NDArray[np.float32]) -> None:
        """See `RegionReader`."""
        expect(self.payload_shape, payload)
        band = payload.rows(self.first, self.last).reshape(-1)
        self.limits.write(band.take(self.index), self.blanks, out)

    def places(self) -> NDArray[np.int32]:
        """See `RegionReader`."""
        found = (self.index + self.first * self.payload_shape[-1]).astype(np.int32)
        self.blanks.write(found, -1)
        return found


def check_measured(region: NDArray[np.float32]) -> None:
    """Raises PayloadError when less than LEAST_MEASURED of (H, W) was measured: not a miss, but not
    known.

    Where most of a sample was, enough was; the whole is looked at only where it does not tell.
    """
    sample = np.isnan(region[::16, ::16])
    if 2 * np.count_nonzero(sample) < sample.size:
        return
    count = region.size - np.count_nonzero(np.isnan(region))
    if not count:
        raise PayloadError("no pixel of the region was measured; is the mask right?")
    if count < LEAST_MEASURED * region.size:
        raise PayloadError(
            f"only {count} of the region's {region.size} pixels were measured; are mask, region "
            "and saturation right?"
        )


def expect(shape: tuple[int, ...], payload: Payload) -> None:
    """Raises PayloadError when the payload has another shape."""
    if payload.shape != shape:
        raise PayloadError(f"frame of shape {payload.shape} where the region expects {shape}")
