"""Pixels as a browser takes them: small, compressed once, sent as they lie in memory.

Counts go as 16-bit integers, anything else as float32. What this file does not know: HTTP.
"""

import math
import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

MOST_PIXELS = 2**20
"""A page shows no more; larger images are binned."""

NOT_MEASURED = 65535
"""What stands for NaN among 16-bit counts."""

LEVEL = 1
"""Of compression: a third of the size for little time; more costs more than it saves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Raster:
    """(rows, cols) little-endian pixels in gzip's format. Each is the brightest of `binning` x
    `binning` pixels of the region; NaN, or NOT_MEASURED, where none was measured.
    """

    rows: int
    cols: int
    binning: int
    dtype: Literal["uint16", "float32"]
    gzip: bytes


def raster(pixels: NDArray[np.float32]) -> Raster:
    """Pack (H, W) float32, NaN where nothing was measured."""
    binning = max(1, math.ceil(math.sqrt(pixels.size / MOST_PIXELS)))
    binned = _brightest(pixels, binning)
    counts = _as_counts(binned)
    values = binned.astype("<f4") if counts is None else counts
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return Raster(
        rows=binned.shape[0],
        cols=binned.shape[1],
        binning=binning,
        dtype="float32" if counts is None else "uint16",
        gzip=packer.compress(values.tobytes()) + packer.flush(),
    )


def _brightest(pixels: NDArray[np.float32], binning: int) -> NDArray[np.float32]:
    """The brightest of each block; a spot must not drown in its surroundings."""
    if binning == 1:
        return pixels
    rows, cols = (-(-size // binning) for size in pixels.shape)
    padded = np.full((rows * binning, cols * binning), np.nan, np.float32)
    padded[: pixels.shape[0], : pixels.shape[1]] = pixels
    blocks = padded.reshape(rows, binning, cols, binning)
    brightest: NDArray[np.float32] = np.fmax.reduce(np.fmax.reduce(blocks, axis=3), axis=1)
    return brightest


def _as_counts(pixels: NDArray[np.float32]) -> NDArray[np.uint16] | None:
    """As 16-bit integers, if that loses nothing."""
    unmeasured = np.isnan(pixels)
    filled = np.where(unmeasured, np.float32(0), pixels)
    if filled.min() < 0 or filled.max() >= NOT_MEASURED:
        return None
    counts = filled.astype("<u2")
    if not np.array_equal(counts, filled):
        return None
    counts[unmeasured] = NOT_MEASURED
    return counts
