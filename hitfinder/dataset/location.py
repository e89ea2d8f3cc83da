"""Where frames lie: a path, and for some formats a place or a reading inside the file.

    run.h5::/entry/data/data          this dataset of an HDF5 file
    cspad.npz::frames                 planes of a 3-D array are frames (`::modules`: modules)
    frame.bin::f4,512x1024            headerless binary: dtype, rows x cols
    frame.img.gz::u2,8x16,offset=512  the same after a header of 512 bytes

`.gz` and `.bz2` are looked through everywhere but in HDF5 and NumPy files.
"""

import bz2
import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hitfinder.errors import DataFileError

SEPARATOR = "::"

_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open}


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A file and what stands after `::`, or None."""

    path: Path
    inside: str | None = None

    @property
    def suffix(self) -> str:
        """The format's suffix in lower case, compression stripped: `.cbf` for `a.CBF.bz2`."""
        suffixes = [suffix.lower() for suffix in self.path.suffixes]
        if suffixes and suffixes[-1] in _OPENERS:
            suffixes.pop()
        return suffixes[-1] if suffixes else ""


def parse_location(path: Path) -> Location:
    """Split `path::inside`."""
    file, separator, inside = str(path).partition(SEPARATOR)
    return Location(path=Path(file), inside=inside if separator else None)


def held_bytes(path: Path) -> int:
    """How many bytes the file holds, decompressed. Raises DataFileError as `read_bytes` does."""
    if path.suffix.lower() in _OPENERS:
        return len(read_bytes(path))
    read_bytes(path, 1)
    return path.stat().st_size


def read_bytes(path: Path, limit: int = -1, start: int = 0) -> bytes:
    """The file's bytes from `start` on, decompressed; `limit` of them at most where it is not
    negative.

    Raises DataFileError when the file cannot be read, is empty, or its compression is damaged.
    """
    opener = _OPENERS.get(path.suffix.lower(), Path.open)
    try:
        with opener(path, "rb") as stream:
            stream.seek(start)
            data: bytes = stream.read(limit)
    except (EOFError, zlib.error) as error:
        raise DataFileError(
            f"{path}: its compressed stream is cut short or damaged ({error}); copy it again"
        ) from error
    except OSError as error:  # bz2 and gzip report bad data as OSError too
        raise DataFileError(
            f"{path}: cannot be read ({error}); check the path, its permissions and the copy"
        ) from error
    if not data and not start:
        raise DataFileError(f"{path}: is empty; copy it again or leave it out")
    return data
