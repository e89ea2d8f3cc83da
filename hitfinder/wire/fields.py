"""Reading header fields that a sender may have got wrong.

A field that names a frame must be right, or the message is bad. A field that only says how to
read the pixels must be right, or the frame's payload is broken (PayloadError, which a decoder
turns into `broken_payload`). A field that describes the detector may be missing or senseless: it
is None then, because a series goes on without it. Lengths arrive in metres and leave in mm.
"""

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import BadMessageError, PayloadError
from hitfinder.frame import MOST_PIXELS, Detector, Part, Passed, Payload

HC_EV_ANGSTROM: Final = 12398.419843320026
"""Planck's constant times the speed of light (CODATA 2018, exact): E[eV] = this / λ[Å]."""

COUNTING: Final = Detector(underload=0.0)
"""A detector that counts, of which nothing more is known: what it gives below zero is a flag."""

MAX_COUNT: Final = 2**53
"""Ids and frame numbers stay below what every JSON reader and database keeps exactly."""

FRAME_PERIOD_NS: Final = 10_000_000
"""From one frame's stamp to the next, where an encoder must make them up."""

MAX_PIXELS: Final = 2**31
MAX_JSON_BYTES: Final = 1 << 20
MAX_NAME: Final = 100

DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    name: np.dtype(name).newbyteorder("<")
    for name in (
        *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
        *("float16", "float32", "float64"),
    )
}
"""Pixel types by the names that JSON headers use; all little-endian."""


def json_object(part: Part) -> dict[str, object]:
    """The JSON object in a part. Raises BadMessageError("json").

    The standard library's reader on purpose: it takes the NaN that some senders write.
    """
    if len(part) > MAX_JSON_BYTES:
        raise BadMessageError("json", f"a header part of {len(part)} bytes")
    try:
        value = json.loads(str(part, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadMessageError("json", f"a header part is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise BadMessageError("json", "a header part is no JSON object")
    return value


def is_name(text: str) -> bool:
    """Whether text from a message is fit for logs, JSON and databases: short, and printable,
    which half a surrogate pair from a JSON escape is not.
    """
    return 0 < len(text) <= MAX_NAME and text.isprintable()


def passed(kind: str, parts: Sequence[Part]) -> Passed:
    """A message of a type that is no frame and no mark."""
    return Passed(kind=kind if is_name(kind) else "unnamed", parts=tuple(parts))


def count(fields: Mapping[Any, object], key: str) -> int | None:
    """A whole number in [0, MAX_COUNT), else None. true, 1.0 and "1" are no such numbers."""
    value = fields.get(key)
    return value if type(value) is int and 0 <= value < MAX_COUNT else None


def required_count(fields: Mapping[Any, object], key: str) -> int:
    """As `count`, of a field that names a frame or series. Raises BadMessageError("header")."""
    value = count(fields, key)
    if value is None:
        raise BadMessageError("header", f"{key} is missing or no whole number below {MAX_COUNT}")
    return value


def real(fields: Mapping[Any, object], key: str) -> float | None:
    """A finite number, else None."""
    value = fields.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -1e300 < value < 1e300 else None


def positive(value: float | None, scale: float = 1.0) -> float | None:
    """`value` times `scale` if that is above zero, else None: senders write 0 for "unknown"."""
    return value * scale if value is not None and value * scale > 0 else None


def translation_z(fields: Mapping[Any, object]) -> float | None:
    """Length along the beam, in metres, of a `detector_translation`."""
    value = fields.get("detector_translation")
    if not isinstance(value, list) or len(value) != 3:
        return None
    z = real({"z": value[2]}, "z")
    return None if z is None else abs(z)


def beam_centre(fields: Mapping[Any, object]) -> tuple[float | None, float | None]:
    """(x, y) in pixels; (0, 0) means that nobody has set it."""
    x, y = real(fields, "beam_center_x"), real(fields, "beam_center_y")
    return (None, None) if x is None or y is None or x == y == 0 else (x, y)


def wavelength(angstrom: float | None, energy_ev: float | None) -> float | None:
    """Wavelength in Å, from itself or else from the photon energy in eV."""
    if positive(angstrom):
        return angstrom
    return HC_EV_ANGSTROM / energy_ev if energy_ev is not None and energy_ev > 0 else None


def shape_of(value: object) -> tuple[int, ...]:
    """(rows, cols) or (modules, rows, cols) of a frame. Raises PayloadError."""
    if not isinstance(value, list) or len(value) not in (2, 3):
        raise PayloadError("the shape is no list of two or three lengths")
    if not all(type(length) is int and 0 < length < MAX_PIXELS for length in value):
        raise PayloadError("the shape holds something other than positive whole numbers")
    if math.prod(value) > MAX_PIXELS:
        raise PayloadError(f"the shape has more than {MAX_PIXELS} pixels")
    return tuple(value)


def dtype_of(value: object) -> np.dtype[Any]:
    """The pixel type of that name. Raises PayloadError."""
    if not isinstance(value, str) or value not in DTYPES:
        raise PayloadError(f"pixel type {str(value)[:40]!r} is unknown")
    return DTYPES[value]


def mask_and_shape(
    payload: Payload | None, rows: int | None, cols: int | None
) -> tuple[NDArray[np.bool_] | None, tuple[int, ...] | None]:
    """(mask, shape) of a detector, from its mask (0 = good pixel) and its sides as announced.

    A mask that cannot be read, or that has another number of pixels, or more than any detector,
    counts as none: a start mark is worth more than its mask. The mask's shape knows of modules, the
    sides do not.
    """
    shape = (rows, cols) if rows and cols and rows * cols <= MAX_PIXELS else None
    if payload is None or (shape is not None and math.prod(shape) != payload.size):
        return None, shape
    if payload.size > MOST_PIXELS:  # it is decoded on arrival
        return None, shape
    try:
        return payload.whole() != 0, payload.shape
    except PayloadError:
        return None, shape


def series_id(series: str) -> int:
    """A series as the whole number that DECTRIS' streams need: itself, or a hash of its text."""
    if series.isascii() and series.isdecimal() and int(series) < MAX_COUNT:
        return int(series)
    return zlib.crc32(series.encode())
