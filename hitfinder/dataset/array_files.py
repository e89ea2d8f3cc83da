"""NumPy arrays (`.npy`, `.npz`) and headerless binaries.

A 3-D array does not say whether its planes are frames or modules. The rule: they are the modules
of ONE frame where there are at most 256 of them and a plane has at most 512 x 1024 pixels, the
largest module made; else they are frames. `::modules` and `::frames` overrule it. A 2-D array is
one frame, a 4-D one is (frames, modules, rows, cols). Arrays of objects are refused: reading
them would run code from the file.
"""

import re
import zipfile
import zlib
from functools import lru_cache, partial
from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.dataset.frames import DataFile, FrameRef, check_frame, plain_payload
from hitfinder.dataset.location import Location, held_bytes, read_bytes
from hitfinder.errors import DataFileError
from hitfinder.frame import Detector, Payload

LARGEST_MODULE_PX = 512 * 1024
MOST_MODULES = 256

RAW_SPEC = re.compile(
    r"(?P<dtype>[<>]?(?:[ui][1248]|f[48])),(?P<shape>\d+(?:x\d+){1,2})(?:,offset=(?P<offset>\d+))?"
)

_FRAMES_BY_SUFFIX = {"modules": False, "frames": True}
_NUMPY_ERRORS = (
    EOFError,  # empty or short .npy
    KeyError,  # no such array in the .npz
    NotImplementedError,  # a compression that zipfile does not know
    OSError,
    SyntaxError,  # a damaged header, which numpy reads as Python literals
    TokenError,
    ValueError,  # bad header, too short for its shape, or objects
    zipfile.BadZipFile,
    zlib.error,
)


def open_array(location: Location) -> DataFile:
    """Open an `.npy` or `.npz`: the array `data`, or the only one. Raises DataFileError."""
    path = location.path
    if location.inside is not None and location.inside not in _FRAMES_BY_SUFFIX:
        raise DataFileError(
            f"{path}: after '::' can stand {' or '.join(_FRAMES_BY_SUFFIX)}, "
            f"not '{location.inside}'"
        )
    array = read_array(path)
    stacked = _is_stack(array.shape, location.inside)
    shape = array.shape[1:] if stacked else array.shape
    return _data_file(
        path,
        shape,
        array.dtype.newbyteorder("="),
        array.shape[0] if stacked else 1,
        partial(_read_plane if stacked else _read_whole),
    )


def open_raw(location: Location) -> DataFile:
    """Open a headerless binary as `::dtype,ROWSxCOLS[,offset=N]` says; little-endian unless the
    dtype starts with `>`. What follows the offset is one or more whole frames. Raises
    DataFileError.
    """
    path, match = location.path, RAW_SPEC.fullmatch(location.inside or "")
    if match is None:
        raise DataFileError(
            f"{path}: '{location.inside}' is not 'dtype,ROWSxCOLS[,offset=N]', as in "
            "'u2,1024x1024,offset=512'"
        )
    dtype = np.dtype(match["dtype"] if match["dtype"][0] in "<>" else "<" + match["dtype"])
    shape = tuple(int(size) for size in match["shape"].split("x"))
    offset = int(match["offset"] or 0)
    check_frame(path, dtype, shape)
    held, frame_bytes = held_bytes(path) - offset, prod(shape) * dtype.itemsize
    if held <= 0 or held % frame_bytes:
        raise DataFileError(
            f"{path}: holds {held} bytes after {offset}, no multiple of the {frame_bytes} that "
            f"'{location.inside}' needs; correct it or copy the file again"
        )
    read = partial(_read_raw, dtype=dtype, shape=shape, offset=offset)
    return _data_file(path, shape, dtype.newbyteorder("="), held // frame_bytes, read)


def _data_file(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], count: int, read: Any
) -> DataFile:
    check_frame(path, dtype, shape)
    if count == 0:
        raise DataFileError(f"{path}: holds no frames; leave it out")
    return DataFile(
        name=path.name.split(".")[0],
        shape=shape,
        dtype=dtype,
        frames=tuple(FrameRef(path=path, index=index, read=read) for index in range(count)),
        detector=partial(Detector, shape=shape),
    )


def _is_stack(shape: tuple[int, ...], inside: str | None) -> bool:
    """Whether the first axis counts frames."""
    if len(shape) != 3:
        return len(shape) > 3
    if inside is not None:
        return _FRAMES_BY_SUFFIX[inside]
    return shape[0] > MOST_MODULES or shape[1] * shape[2] > LARGEST_MODULE_PX


def read_array(path: Path) -> NDArray[Any]:
    """The array of an `.npy`, mapped into memory, or of an `.npz`: `data`, or the only one. Of
    any dtype but objects. Raises DataFileError.
    """
    try:
        if path.suffix.lower() == ".npz":
            return _unzipped(path, path.stat().st_mtime_ns)
        array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")  # refuses objects
    except _NUMPY_ERRORS as error:
        raise DataFileError(
            f"{path}: is no readable NumPy file ({error}); copy it again, or save it without "
            "objects"
        ) from error
    return array


@lru_cache(maxsize=1)  # a stack in an .npz is unzipped once, not once for each of its frames
def _unzipped(path: Path, changed_ns: int) -> NDArray[Any]:
    with zipfile.ZipFile(path):  # else numpy may take it for an .npy
        pass
    with np.load(path, allow_pickle=False) as arrays:
        names = list(arrays.files)
        if "data" not in names and len(names) != 1:
            raise DataFileError(
                f"{path}: holds the arrays {', '.join(names) or '(none)'}; keep one of them, or "
                "name the frames 'data'"
            )
        array = arrays["data" if "data" in names else names[0]]
    if not isinstance(array, np.ndarray):  # numpy hands out what is no array as bytes
        raise ValueError("a member is no NumPy array")
    return array


def _read_whole(path: Path, index: int) -> Payload:
    return plain_payload(path, np.array(read_array(path)))


def _read_plane(path: Path, index: int) -> Payload:
    return plain_payload(path, np.array(read_array(path)[index]))


def _read_raw(
    path: Path, index: int, *, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int
) -> Payload:
    frame_bytes = prod(shape) * dtype.itemsize
    data = read_bytes(path, frame_bytes, offset + index * frame_bytes)
    if len(data) < frame_bytes:
        raise DataFileError(f"{path}: has become shorter since it was opened; open it again")
    return plain_payload(path, np.frombuffer(data, dtype).reshape(shape))
