"""CBF, TIFF, EDF, marCCD, KCD and d*TREK images through fabio; `.gz` and `.bz2` looked through.

The bytes are decompressed here and handed to fabio in memory: damage in the compression is then
told apart from damage in the image, and fabio's stray prints for compressed TIFF stay away.
Not found out: a KCD file that lost a few bytes of its tail, since fabio reads it from its end.
"""

import io
import logging
import math
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.dataset.frames import DataFile, FrameRef, check_frame, plain_payload
from hitfinder.dataset.location import Location, read_bytes
from hitfinder.dataset.tiff_pages import tiff_pages
from hitfinder.errors import DataFileError
from hitfinder.frame import Detector, Payload

# What fabio logs, "may be corrupted" of every d*TREK header padded with blanks, goes to standard
# error where nobody has set up logging. Damage shows as an exception or in `incomplete_data`.
logging.getLogger("fabio").addHandler(logging.NullHandler())

_MOST_EMPTY_READS = 100

_CBF_HEADER_BYTES = 65536
_CBF_SIZE = re.compile(
    rb"X-Binary-Element-Type:\s*\"(?P<type>[^\"]+)\".*?"
    rb"X-Binary-Size-Fastest-Dimension:\s*(?P<cols>\d+).*?"
    rb"X-Binary-Size-Second-Dimension:\s*(?P<rows>\d+)",
    re.DOTALL,
)
_CBF_TYPES = {b"signed 32-bit integer": np.dtype(np.int32)}

# The lines of the PILATUS mini-header, and the factor to the unit of the field.
_NUMBER = r"([-+0-9.eE]+)"
_MINI_HEADER: tuple[tuple[str, str, float], ...] = (
    ("saturation", rf"Count_cutoff\s+{_NUMBER}", 1.0),
    ("pixel_x_mm", rf"Pixel_size\s+{_NUMBER}\s*m", 1e3),
    ("pixel_y_mm", rf"Pixel_size\s+\S+\s*m\s*x\s*{_NUMBER}\s*m", 1e3),
    ("distance_mm", rf"Detector_distance\s+{_NUMBER}\s*m", 1e3),
    ("wavelength_angstrom", rf"Wavelength\s+{_NUMBER}\s*A", 1.0),
    ("beam_x_px", rf"Beam_xy\s+\(\s*{_NUMBER}\s*,", 1.0),
    ("beam_y_px", rf"Beam_xy\s+\([^,]+,\s*{_NUMBER}\s*\)", 1.0),
)


class _Stream(io.BytesIO):
    """A file in memory that ends: fabio's CBF reader looks for a lost marker for ever, asking
    for more behind the end. `lock` and `name` are what its EDF reader expects of a file.
    """

    name: str

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.lock = threading.Semaphore()
        self._empty = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """As any file's, until it was asked too often behind its end."""
        data = super().read(size)
        self._empty += not data
        if self._empty > _MOST_EMPTY_READS:
            raise EOFError("it ends where more should follow")
        return data


def open_image(location: Location) -> DataFile:
    """Open an image file of one or more frames. Raises DataFileError.

    Of a CBF only the header is read, so a folder of thousands opens quickly; other formats are
    read whole, as their headers are not fit to be trusted alone.
    """
    path = location.path
    if location.inside is not None:
        raise DataFileError(f"{path}: takes nothing after '::', got '{location.inside}'")
    header = _cbf_header(path) if location.suffix == ".cbf" else None
    count = 1
    said: dict[str, float] = {}
    if header is not None:
        shape, dtype, said = header
    else:
        image = _open(path)
        with _fabio_errors(path):
            count = image.nframes
        pixels = _pixels(path, image, 0)
        shape, dtype = pixels.shape, pixels.dtype.newbyteorder("=")
    check_frame(path, dtype, shape)
    return DataFile(
        name=path.name.split(".")[0],
        shape=shape,
        dtype=dtype,
        frames=tuple(FrameRef(path=path, index=index, read=read_image) for index in range(count)),
        detector=partial(read_detector, path),
        said=said,
    )


def read_image(path: Path, index: int = 0) -> Payload:
    """The frame `index`, uncompressed. Raises DataFileError."""
    image = _open(path)
    pixels = _pixels(path, image, index)
    if index and pixels.shape != (first := _pixels(path, image, 0)).shape:
        raise DataFileError(
            f"{path}: frame {index} has shape {pixels.shape}, the first one {first.shape}; save "
            "them to files of their own"
        )
    return plain_payload(path, pixels)


def read_detector(path: Path) -> Detector:
    """What the file says of its detector; its shape for every format, the rest for CBF only.

    In a CBF of a counting detector negative pixels are flags (gaps -1, dead -2): they become the
    mask, so that a replay can announce it. Raises DataFileError.
    """
    image = _open(path)
    pixels = _pixels(path, image, 0)
    if type(image).__name__ != "CbfImage":
        return Detector(shape=pixels.shape)
    text = str(image.header.get("_array_data.header_contents", ""))
    return Detector(shape=pixels.shape, mask=pixels < 0, underload=0.0, **_mini_header(path, text))


def _mini_header(path: Path, text: str) -> dict[str, float]:
    """What it says; zero counts as unset, as nobody entered it."""
    values = {}
    for field, pattern, factor in _MINI_HEADER:
        match = re.search(pattern, text)
        if match is None:
            continue
        try:
            value = float(match[1]) * factor
        except ValueError as error:
            raise DataFileError(
                f"{path}: its header says '{match[0]}', which is no number; correct it there, or "
                "move the file out of the folder"
            ) from error
        if math.isfinite(value) and value != 0:
            values[field] = value
    return values


def _cbf_header(path: Path) -> tuple[tuple[int, ...], np.dtype[Any], dict[str, float]] | None:
    """(rows, cols) and dtype from the binary section's header, and what stands before that; None
    where they are not there. Raises DataFileError.
    """
    data = read_bytes(path, _CBF_HEADER_BYTES)
    match = _CBF_SIZE.search(data)
    if match is None or match["type"] not in _CBF_TYPES:
        return None
    said = _mini_header(path, data[: match.start()].decode("latin-1"))
    return (int(match["rows"]), int(match["cols"])), _CBF_TYPES[match["type"]], said


@contextmanager
def _fabio_errors(path: Path) -> Iterator[None]:
    """Whatever fabio raises on a damaged file, as DataFileError.

    fabio has no exception of its own. Seen: AssertionError (CBF, d*TREK), AttributeError (CBF,
    TIFF), IndexError and KeyError (headers), struct.error (marCCD), OSError (unknown format, EDF,
    KCD), ValueError and TypeError (sizes), MemoryError (absurd sizes), and a bare Exception (CBF
    with an unknown conversion), so that no narrower list would do. Nothing else runs inside.
    """
    try:
        yield
    except Exception as error:
        raise _unreadable(path, error) from error


def _open(path: Path) -> Any:
    try:
        changed_ns = path.stat().st_mtime_ns
    except OSError:
        changed_ns = 0  # whoever reads it will say so
    return _opened(path, changed_ns)


@lru_cache(maxsize=1)  # a stack is read once, not once for each of its frames
def _opened(path: Path, changed_ns: int) -> Any:
    import fabio

    data = read_bytes(path)
    if Location(path=path).suffix in (".tif", ".tiff"):
        _check_pages(path, data)
    stream = _Stream(data)
    stream.name = path.name
    with _fabio_errors(path):
        return fabio.open(stream)


def _check_pages(path: Path, data: bytes) -> None:
    """Raises DataFileError for stacks that fabio would read as a single image, for colour, and for
    PackBits, of which it makes other pixels.
    """
    try:
        pages = tiff_pages(data)
    except ValueError as error:
        raise _unreadable(path, error) from error
    if pages.colour:
        raise DataFileError(f"{path}: is a colour image; save one number a pixel, its counts")
    if pages.packbits:
        raise DataFileError(
            f"{path}: is compressed by PackBits, which is read wrongly; save it as a plain TIFF"
        )
    if pages.count > 1 and pages.single_only:
        raise DataFileError(
            f"{path}: is compressed or a BigTIFF, and has {pages.count} pages; save it as a plain "
            "TIFF, page by page, or as HDF5"
        )


def _pixels(path: Path, image: Any, index: int) -> NDArray[Any]:
    """(rows, cols). fabio reads lazily, so damage may show only here."""
    with _fabio_errors(path):
        frame = image if index == 0 else image.get_frame(index)
        pixels = frame.data
    # A short EDF is filled up with zeros, a short TIFF has no data: both without an exception.
    if pixels is None or getattr(frame, "incomplete_data", False):
        raise _unreadable(path, "its pixels are cut short")
    return np.asarray(pixels)


def _unreadable(path: Path, reason: object) -> DataFileError:
    detail = str(reason) or type(reason).__name__
    return DataFileError(
        f"{path}: is no readable image ({detail}); it may be cut short: copy it again, or for a "
        "headerless file append '::dtype,ROWSxCOLS[,offset=N]'"
    )
