"""Opening HDF5 files and datasets so that every failure is one clear DataFileError.

What h5py raises: OSError (no file, cut short, damaged data, filter missing), KeyError (no such
object, or a link whose file is gone), RuntimeError (chunk not stored, other library errors),
ValueError and TypeError (a selection or type that does not fit).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from hitfinder.errors import DataFileError

_HDF5_ERRORS = (OSError, KeyError, RuntimeError, ValueError, TypeError)


@contextmanager
def hdf5_file(path: Path) -> Iterator[Any]:
    """The open h5py.File, read-only; closed afterwards. Raises DataFileError, for what is done
    inside the `with` too.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except _HDF5_ERRORS as error:
        detail = str(error).strip("\"'")
        raise DataFileError(
            f"{path}: HDF5 cannot read it ({detail}); check that the copy is complete, that it is "
            "not still being written and that the files it links to lie beside it"
        ) from error


def register_filters() -> None:
    """Make bitshuffle, LZ4, Zstandard, Blosc... known to h5py; slow enough to do when needed."""
    import hdf5plugin  # noqa: F401  (importing registers)


def frame_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A frame's shape in a dataset of `shape`: all of a 2-D one, else without the first axis."""
    return shape if len(shape) == 2 else shape[1:]


def frame_count(shape: tuple[int, ...]) -> int:
    """Frames in a dataset of `shape`."""
    return 1 if len(shape) == 2 else shape[0]
