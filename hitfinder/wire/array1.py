"""array-1.0 (PSI, areaDetector's ZMQ plugin): a JSON header and a raw blob for every frame.

PSI sends `htype` as text and shapes in numpy order; so does areaDetector's plugin (ADZMQ) from
1.4.0 on, while before it sent a list, and shapes x first. So a decoder left on "auto" takes the
order from htype's form; a sender that mixes them needs `shape_order`. The plugin writes its
attributes last and as C++ prints them, `nan` and quotes included: where that is no JSON, what
stands before says all that is needed. There are no start and end messages; the series is the
header's `source` or `series`, else "array", and the frame number its `frame`, else `pulse_id`.

Detectors behind this stream integrate: values below zero are measurements. What this file does
not know: sockets, other protocols, further keys of the header (`is_hit_frame`, `spot_x`, ...).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from hitfinder.errors import BadMessageError, PayloadError
from hitfinder.frame import Event, Frame, Part, Payload, SeriesEnded, SeriesStarted
from hitfinder.wire.compression import broken_payload, encoded_payload, recoded
from hitfinder.wire.fields import (
    count,
    dtype_of,
    is_name,
    json_object,
    passed,
    required_count,
    shape_of,
)

HTYPE: Final = "array-1.0"
DEFAULT_SERIES: Final = "array"
UNCOMPRESSED: Final = (None, "", "<", "none", "raw")
"""What a header may say of a blob that is not compressed."""


class Array1Decoder:
    """`Decoder` for array-1.0; remembers nothing."""

    def __init__(self, *, shape_order: Literal["auto", "numpy", "x-first"] = "auto") -> None:
        self._shape_order = shape_order

    def decode(self, parts: Sequence[Part], arrival_ns: int) -> Event:
        """Frame, or Passed for other htypes. Parts after the blob are ignored."""
        if not parts:
            raise BadMessageError("parts", "a message without parts")
        head = _head(parts[0])
        htype = head.get("htype")
        listed = isinstance(htype, list) and len(htype) == 1
        name = htype[0] if isinstance(htype, list) and listed else htype
        if not isinstance(name, str):
            raise BadMessageError("type", "the first part has no htype")
        if name != HTYPE:
            return passed(name, parts)
        series = _series(head)
        number = required_count(head, "frame" if "frame" in head else "pulse_id")
        x_first = self._shape_order == "x-first" or (self._shape_order == "auto" and listed)
        try:
            payload = _payload(head, parts, x_first=x_first)
        except PayloadError as error:
            payload = broken_payload(str(error))
        return Frame(
            series=series,
            number=number,
            payload=payload,
            arrival_ns=arrival_ns,
            parts=tuple(parts),
        )


def _head(part: Part) -> dict[str, object]:
    """The header, without its attributes where those are no JSON. Raises BadMessageError."""
    try:
        return json_object(part)
    except BadMessageError:
        before, found, _ = bytes(part).partition(b'"ndattr"')
        if not found:
            raise
        return json_object(before.rstrip(b", \t\r\n") + b"}")


def _series(head: Mapping[str, object]) -> str:
    """Raises BadMessageError("header") for a series that is neither text nor a whole number."""
    key = next((key for key in ("source", "series") if key in head), None)
    if key is None:
        return DEFAULT_SERIES
    value = head[key]
    if isinstance(value, str) and is_name(value):
        return value
    number = count(head, key)
    if number is None:
        raise BadMessageError("header", f"{key} is neither a name nor a whole number")
    return str(number)


def _payload(head: Mapping[str, object], parts: Sequence[Part], *, x_first: bool) -> Payload:
    """The blob as raw pixels. Raises PayloadError."""
    if len(parts) < 2:
        raise PayloadError("the frame's blob is missing")
    for key in ("encoding", "compression"):
        if head.get(key) not in UNCOMPRESSED:
            raise PayloadError(
                f"the blob is compressed, {key} {str(head[key])[:40]!r}, which is not read here; "
                "let the sender send it as it is"
            )
    shape = shape_of(head.get("shape"))
    return encoded_payload(
        parts[1],
        dtype=dtype_of(head.get("type")),
        shape=shape[::-1] if x_first else shape,
        encoding="raw",
    )


class Array1Encoder:
    """`Encoder` for array-1.0. "x-first" writes as areaDetector does, "numpy" as PSI does."""

    def __init__(self, *, shape_order: Literal["numpy", "x-first"] = "numpy") -> None:
        self._x_first = shape_order == "x-first"

    def start(self, event: SeriesStarted) -> Sequence[tuple[Part, ...]]:
        """Nothing: the protocol has no start."""
        return ()

    def frame(self, event: Frame) -> Sequence[tuple[Part, ...]]:
        """One message of two parts. Raises PayloadError where its pixels cannot be read."""
        payload = recoded(event.payload, carried=("raw",), encoding="raw")
        dtype_of(payload.dtype.name)  # refuses a type that the header has no name for
        head = {
            "frame": event.number,
            "htype": [HTYPE] if self._x_first else HTYPE,
            "shape": list(payload.shape[::-1] if self._x_first else payload.shape),
            "source": event.series,
            "type": payload.dtype.name,
        }
        return ((json.dumps(head, separators=(",", ":")).encode(), payload.data),)

    def end(self, event: SeriesEnded) -> Sequence[tuple[Part, ...]]:
        """Nothing: the protocol has no end."""
        return ()
