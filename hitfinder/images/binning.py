"""Reading a region in bins: means of squares of pixels, NaN where a pixel of one was not measured.

For models whose graph begins with those means: made of the decoded pixels as they are, no image of
all pixels in float32 is written where the region is a rectangle of the frame. What this file does
not know: models, how payloads are encoded, and where a region lies.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import ConfigError
from hitfinder.frame import Payload
from hitfinder.images.measured import Limits
from hitfinder.images.reader import (
    PIXELS_AT_ONCE,
    BoxReader,
    Reader,
    RegionReader,
    expect,
)

ROUNDING = 1e-5
"""Share by which a sum of float32 may be less than the sum."""


def binned(reader: RegionReader, size: int) -> Reader:
    """Reads the reader's region in bins of size x size pixels, from its first corner on; up to
    size - 1 pixels on the right and below are left out. Raises ConfigError when none fits.
    """
    if size == 1:
        return reader
    rows, cols = reader.shape[0] // size, reader.shape[1] // size
    if not rows or not cols:
        raise ConfigError(
            f"a region of {reader.shape[0]} x {reader.shape[1]} pixels is too small for a model "
            f"that looks at means of {size} x {size}; make the region larger"
        )
    if isinstance(reader, BoxReader) and not reader.gaps:
        return _binned_box((rows, cols), size, reader)
    return _BinnedImage((rows, cols), size, reader)


@dataclass(frozen=True, slots=True)
class _BinnedBox:
    """Of a rectangle of the payload's rows, in bands between `cuts`, which count rows of bins.
    `lacking` (h, w) is NaN for bins that always lack a pixel, else 0: where they are many, as rings
    of ice are, to add it takes a third of the time of writing NaN there.
    """

    shape: tuple[int, int]
    size: int
    box: BoxReader
    cuts: tuple[int, ...]
    lacking: NDArray[np.float32]

    def read(self, payload: Payload, out: NDArray[np.float32]) -> None:
        """See `Reader`."""
        expect(self.box.payload_shape, payload)
        first = self.box.pieces[0].source
        bands = payload.bands([first.top + each * self.size for each in self.cuts])
        for (start, stop), band in zip(pairwise(self.cuts), bands, strict=True):
            pixels, lacking = band[:, first.left : first.right], self.lacking[start:stop]
            _write(pixels, self.size, self.box.limits, lacking, out[start:stop])


def _binned_box(shape: tuple[int, int], size: int, box: BoxReader) -> _BinnedBox:
    rows = max(1, PIXELS_AT_ONCE // box.payload_shape[-1] // size)
    cuts = (*range(0, shape[0], rows), shape[0])
    flags = np.zeros(box.shape, np.bool_)
    for piece in box.pieces:
        piece.blanks.write(piece.part(flags), True)
    lacking = np.where(_any(flags, size), np.float32(np.nan), np.float32(0))
    return _BinnedBox(shape, size, box, cuts, lacking)


@dataclass(frozen=True, slots=True)
class _BinnedImage:
    """Of any region, read whole first."""

    shape: tuple[int, int]
    size: int
    reader: RegionReader

    def read(self, payload: Payload, out: NDArray[np.float32]) -> None:
        """See `Reader`."""
        image = np.empty(self.reader.shape, np.float32)
        self.reader.read(payload, image)
        _write(image, self.size, Limits(None, None), None, out)


def _write(
    pixels: NDArray[Any],
    size: int,
    limits: Limits,
    lacking: NDArray[np.float32] | None,
    out: NDArray[np.float32],
) -> None:
    """Means of pixels of any real dtype into `out` (h, w); what is more than whole bins on the
    right is left out. NaN where `lacking` (h, w) is, and where a pixel is NaN, infinite, or beyond
    the limits. Raises PayloadError.
    """
    lowest, highest = limits.bounds(pixels.dtype)
    rows, cols = out.shape
    lines = pixels[: rows * size, : cols * size].reshape(rows, size, cols * size)
    with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 becomes infinite, or NaN
        sums = np.add.reduce(lines, axis=1, dtype=np.float32)
        _mean(sums, size, lacking, out)
        # To look for such pixels costs as much again: only where there may be one.
        too_high = highest is not None and _may_reach(highest, lines, out)
        too_low = lowest is not None and not lines.min() >= lowest
        if too_high:
            np.copyto(sums, np.nan, where=np.maximum.reduce(lines, axis=1) >= highest)
        if too_low:
            np.copyto(sums, np.nan, where=np.minimum.reduce(lines, axis=1) < lowest)
        if too_high or too_low:
            _mean(sums, size, lacking, out)
    if pixels.dtype.kind == "f":
        np.copyto(out, np.nan, where=np.isinf(out))


def _mean(
    sums: NDArray[np.float32],
    size: int,
    lacking: NDArray[np.float32] | None,
    out: NDArray[np.float32],
) -> None:
    """Of sums (h, w * size) over the lines of bins."""
    shares = np.full(size, size**-2, np.float32)
    np.matmul(sums.reshape(*out.shape, size), shares, out=out)
    if lacking is not None:
        np.add(out, lacking, out=out)


def _may_reach(highest: float, lines: NDArray[Any], means: NDArray[np.float32]) -> bool:
    """Whether a pixel of a bin that counts may be so high. Masked pixels often hold their type's
    largest value; those of a gap would have every band looked through.
    """
    if lines.dtype.kind != "u":
        return not lines.max() < highest
    # Where none is negative, a sum is at least as great as the greatest; float32 rounds it.
    least = highest * (1 - ROUNDING) / lines.shape[1] ** 2
    return bool(np.fmax.reduce(means, axis=None) >= least)


def _any(flags: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    rows, cols = flags.shape[0] // size, flags.shape[1] // size
    lines = flags[: rows * size, : cols * size].reshape(rows, size, cols * size).any(1)
    return np.asarray(lines.reshape(rows, cols, size).any(2))
