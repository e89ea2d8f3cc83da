"""The file that keeps a detector's hot pixels: a mask in the shape of its frames, as `.npz`.

`data` is uint8 in the payload's shape, 1 = hot, so that the file can be given back as a mask;
`share` (K,) float32 has in which share of frames each of them stood out, in the order of `data`.
What this file does not know: regions, and how hot pixels are found.
"""

import math
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import DataFileError

_DAMAGE = (
    *(EOFError, KeyError, NotImplementedError, OSError, SyntaxError, TokenError, ValueError),
    *(zipfile.BadZipFile, zlib.error),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HotPixelMap:
    """places (K,) intp counts pixels of the flat payload, ascending; shares (K,) float32."""

    payload_shape: tuple[int, ...]
    places: NDArray[np.intp]
    shares: NDArray[np.float32]


def save_hot_pixels(path: Path, found: HotPixelMap) -> None:
    """Write the whole file or nothing. Raises OSError."""
    mask = np.zeros(math.prod(found.payload_shape), np.uint8)
    mask[found.places] = 1
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("wb") as file:
        np.savez_compressed(file, data=mask.reshape(found.payload_shape), share=found.shares)
    unfinished.replace(path)


def load_hot_pixels(path: Path) -> HotPixelMap:
    """Read what `save_hot_pixels` wrote. Raises DataFileError."""
    if not path.exists():
        raise DataFileError(
            f"{path}: no such file; the service writes it where [hot_pixels] file says, when it "
            "has found some"
        )
    try:
        # Opened here: of a file it cannot read, numpy leaves the closing to the collector.
        with path.open("rb") as file, zipfile.ZipFile(file):
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                mask, shares = arrays["data"], arrays["share"]
        places = np.flatnonzero(mask)
        if mask.ndim < 2 or shares.shape != places.shape or shares.dtype.kind != "f":
            raise ValueError("its parts do not belong together")
    except _DAMAGE as error:
        raise DataFileError(
            f"{path}: holds no hot pixels that were saved ({error}); name another, or, if "
            "it was the service's own, delete it"
        ) from error
    return HotPixelMap(payload_shape=mask.shape, places=places, shares=shares.astype(np.float32))
