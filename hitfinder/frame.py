"""What comes out of a source, a socket or a file alike: frames, and the marks around a series.

A source yields `Event`s. Values are frozen; nothing here knows a protocol, a socket or a clock.
What this file does not know: where a module sits in space (`images.geometry`), and how bytes
become pixels (a `Decode` function travels with each payload; `wire.compression` has the table).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import PayloadError

BROKEN: Final = "broken"
"""The encoding of pixels that no decoder can read: decoding them raises the reason."""

MOST_PIXELS: Final = 2**26
"""Four times the largest detectors' 16M: what claims more must not cost its memory."""

Part = bytes | memoryview
"""One part of a message. A memoryview keeps the transport's own buffer alive and is not copied."""


class Decoded:
    """What has been decoded of one frame, for whoever reads more of it: one thread at a time."""

    def __init__(self) -> None:
        self._pixels: NDArray[np.uint8] | None = None
        self._start = self._stop = 0

    def room(self, nbytes: int) -> NDArray[np.uint8]:
        """For all bytes of the frame, the same each time. Raises MemoryError."""
        if self._pixels is None:
            self._pixels = np.empty(nbytes, np.uint8)
        return self._pixels

    def missing(self, start: int, stop: int) -> list[tuple[int, int]]:
        """What of bytes [start, stop) is not there yet. The bytes that are there are forgotten
        where a gap would remain.
        """
        if start > self._stop or stop < self._start:
            self._start = self._stop = start
        parts = (start, min(stop, self._start)), (max(start, self._stop), stop)
        return [(first, last) for first, last in parts if first < last]

    def add(self, start: int, stop: int) -> None:
        """Bytes [start, stop) are there now, after `missing` was asked for them."""
        self._start, self._stop = min(start, self._start), max(stop, self._stop)


Decode = Callable[["Payload", Sequence[int]], Iterator[NDArray[Any]]]
"""Decodes a payload's elements, in C order, one band of them after another: [cuts[0], cuts[1]),
[cuts[1], cuts[2]), ... What is made of a band while the processor's cache still holds it costs a
fraction.

Yields one-dimensional arrays of exactly so many elements of the payload's dtype, possibly read-only
and sharing memory with its data; `cuts` never falls. Where the payload has `decoded`, what is there
is not decoded again, and what is decoded is left there. Raises PayloadError, at any band, when the
bytes do not hold it. Allocates a small multiple of the elements asked for, whatever the bytes claim
(an encoding without blocks, and `decoded`, need room for the whole frame)."""


def decode_raw(payload: "Payload", cuts: Sequence[int]) -> Iterator[NDArray[Any]]:
    """`Decode` for uncompressed pixels: views, no copy."""
    item = payload.dtype.itemsize
    if len(payload.data) != payload.size * item:
        raise PayloadError(
            f"raw payload holds {len(payload.data)} bytes where its shape and dtype need "
            f"{payload.size * item}; check the sender's shape and dtype"
        )
    for start, stop in pairwise(cuts):
        yield np.frombuffer(payload.data, payload.dtype, stop - start, start * item)


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """A frame's pixels as they travel.

    shape is (rows, cols) for a monolithic detector, (modules, rows, cols) for a stack; rows are
    slow, columns fast, always; made up where `encoding` is BROKEN, else a key of
    `wire.compression.CODECS`. `decoded` is there where what is decoded is kept.
    """

    data: Part
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    encoding: str = "raw"
    decode: Decode = decode_raw
    decoded: Decoded | None = None

    @property
    def size(self) -> int:
        """Number of pixels."""
        return math.prod(self.shape)

    @property
    def flat_shape(self) -> tuple[int, int]:
        """(rows, cols) with the modules of a stack below one another."""
        return math.prod(self.shape[:-1]), self.shape[-1]

    def remembering(self) -> "Payload":
        """The same, for one thread at a time: what is decoded of it is kept as long as it is, so
        that who reads it again decodes only what is missing.
        """
        return replace(self, decoded=Decoded())

    def rows(self, start: int, stop: int) -> NDArray[Any]:
        """Rows [start, stop) of `flat_shape`, decoding no more than they need.

        Returns (stop - start, cols) of `dtype`, possibly read-only. Raises PayloadError.
        """
        return next(self.bands((start, stop)))

    def bands(self, cuts: Sequence[int]) -> Iterator[NDArray[Any]]:
        """Rows [cuts[0], cuts[1]), [cuts[1], cuts[2]), ... as `rows` gives them, each decoded when
        it is asked for if the encoding allows it. Raises PayloadError, at any of them.
        """
        total, cols = self.flat_shape
        if not 0 <= cuts[0] <= cuts[-1] <= total:
            raise PayloadError(f"rows {cuts[0]}:{cuts[-1]} lie outside the frame's {total} rows")
        bands = self.decode(self, [row * cols for row in cuts])
        for (start, stop), flat in zip(pairwise(cuts), bands, strict=True):
            yield flat.reshape(stop - start, cols)

    def whole(self) -> NDArray[Any]:
        """All pixels in `shape`. Raises PayloadError."""
        return self.rows(0, self.flat_shape[0]).reshape(self.shape)


def array_payload(pixels: NDArray[Any]) -> Payload:
    """An uncompressed payload over an array in memory (copied only if not C-contiguous)."""
    pixels = np.ascontiguousarray(pixels)
    flat = pixels.reshape(-1).view(np.uint8)
    return Payload(data=flat.data, dtype=pixels.dtype, shape=tuple(pixels.shape))


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """What a source says of its detector; None where it does not say.

    mask is bool in the payload's shape, True = no measurement. A pixel is no measurement either
    when it is >= saturation or < underload (0 for counting detectors, whose negative values are
    flags; None for integrating ones, where noise goes below zero), or holds its unsigned
    integer type's largest value. Beam centre in pixels from the first pixel's outer edge corner.
    """

    shape: tuple[int, ...] | None = None
    mask: NDArray[np.bool_] | None = None
    saturation: float | None = None
    underload: float | None = None
    beam_x_px: float | None = None
    beam_y_px: float | None = None
    pixel_x_mm: float | None = None
    pixel_y_mm: float | None = None
    distance_mm: float | None = None
    wavelength_angstrom: float | None = None

    def same_as(self, other: "Detector") -> bool:
        """Whether the other says the same, of every pixel of its mask too."""
        if self.mask is None or other.mask is None:
            same_mask = self.mask is other.mask
        else:
            same_mask = np.array_equal(self.mask, other.mask)
        names = [each.name for each in fields(self) if each.name != "mask"]
        return same_mask and all(getattr(self, name) == getattr(other, name) for name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One detector image. `series` is the sender's id as text; `number` counts from its first
    frame; `parts` are the message's own parts, untouched, for verbatim forwarding (empty for a
    frame from a file). `arrival_ns` is monotonic time.
    """

    series: str
    number: int
    payload: Payload
    arrival_ns: int = 0
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesStarted:
    """A series begins. `announced` is the number of frames the sender says will follow.
    `unique_id` tells two series of the same id apart where the protocol has one.
    """

    series: str
    announced: int | None = None
    unique_id: str | None = None
    detector: Detector = Detector()
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesEnded:
    """The sender says that a series is over."""

    series: str
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """A valid message that is neither frame nor mark (calibration, metadata, half a header):
    forwarded in its place, not judged. `kind` says in a word what it is.
    """

    kind: str
    parts: tuple[Part, ...] = ()


Event = Frame | SeriesStarted | SeriesEnded | Passed


def nbytes(parts: Sequence[Part]) -> int:
    """Bytes that a message's parts hold."""
    return sum(len(part) for part in parts)
