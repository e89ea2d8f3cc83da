"""DECTRIS stream v2: one CBOR map in one part; `start`, `image` and `end` by its `type`.

An array is tag 40 `[[rows, cols], typed]`; typed is a tag for the pixel type over bytes, or over
tag 56500 `[algorithm, element bytes, bytes]`. The self-describing tag 55799 may be missing. Every
image holds one array a channel: a decoder takes the channel it was told to take, or the first,
by the keys of `data` itself, because a start's `channels` names them differently (seen).

Other message types (Jungfraujoch's `calibration` and `metadata`) are Passed; unknown keys are
ignored. Frames are counted from `series_id` and `image_id` alone; whatever else is wrong with an
image, an absent channel too, leaves a frame whose payload cannot be decoded.
What this file does not know: sockets, other protocols, anything of other images.
"""

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import cbor2
import numpy as np

from hitfinder.errors import BadMessageError, PayloadError
from hitfinder.frame import (
    Detector,
    Event,
    Frame,
    Part,
    Payload,
    SeriesEnded,
    SeriesStarted,
)
from hitfinder.wire import cbor
from hitfinder.wire.compression import broken_payload, encoded_payload, recoded
from hitfinder.wire.fields import (
    FRAME_PERIOD_NS,
    HC_EV_ANGSTROM,
    beam_centre,
    count,
    is_name,
    mask_and_shape,
    passed,
    positive,
    real,
    required_count,
    series_id,
    shape_of,
    translation_z,
    wavelength,
)

SELF_DESCRIBED: Final = 55799
ARRAY: Final = 40
COMPRESSED: Final = 56500

DTYPES: Final[Mapping[int, np.dtype[Any]]] = {
    tag: np.dtype(name)
    for tag, name in (
        *((64, "u1"), (69, "<u2"), (70, "<u4"), (71, "<u8")),
        *((72, "i1"), (77, "<i2"), (78, "<i4"), (79, "<i8")),
        *((84, "<f2"), (85, "<f4"), (86, "<f8")),
    )
}
"""Pixel types by the tags of RFC 8746; big-endian ones are left out, no sender uses them."""

ALGORITHMS: Final[Mapping[str, str]] = {"bslz4": "bslz4", "lz4": "lz4-hdf5", "bszstd": "bszstd"}
"""Codec by algorithm. Only the bitshuffled ones say the pixels' bytes; `lz4` says 0 (seen)."""

_Message = Mapping[object, object]


class DectrisV2Decoder:
    """`Decoder` for stream v2. `channel` picks one of several images of a frame; None = first."""

    def __init__(self, *, channel: str | None = None) -> None:
        self._channel = channel

    def decode(self, parts: Sequence[Part], arrival_ns: int) -> Event:
        """Frame, SeriesStarted, SeriesEnded, or Passed for other types."""
        if len(parts) != 1:
            raise BadMessageError("parts", f"{len(parts)} parts where stream v2 has one")
        message = cbor.loads(parts[0])
        if isinstance(message, cbor.Tag) and message.number == SELF_DESCRIBED:
            message = message.value
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            raise BadMessageError("type", "the message is no map with a type")
        known = _BY_TYPE.get(message["type"])
        if known is None:
            return passed(message["type"], parts)
        return known(self, message, parts, arrival_ns)

    def _start(self, message: _Message, parts: Sequence[Part], _ns: int) -> Event:
        unique = message.get("series_unique_id")
        return SeriesStarted(
            series=str(required_count(message, "series_id")),
            announced=count(message, "number_of_images"),
            unique_id=unique if isinstance(unique, str) and is_name(unique) else None,
            detector=self._detector(message),
            parts=tuple(parts),
        )

    def _image(self, message: _Message, parts: Sequence[Part], ns: int) -> Event:
        series, number = required_count(message, "series_id"), required_count(message, "image_id")
        try:
            payload = _payload(self._chosen(message.get("data")))
        except PayloadError as error:
            payload = broken_payload(str(error))
        return Frame(
            series=str(series),
            number=number,
            payload=payload,
            arrival_ns=ns,
            parts=tuple(parts),
        )

    def _end(self, message: _Message, parts: Sequence[Part], _ns: int) -> Event:
        return SeriesEnded(series=str(required_count(message, "series_id")), parts=tuple(parts))

    def _chosen(self, channels: object) -> object:
        """One channel's array. Raises PayloadError."""
        if not isinstance(channels, dict) or not channels:
            raise PayloadError("the image has no data")
        name = next(iter(channels)) if self._channel is None else self._channel
        if name not in channels:
            held = ", ".join(repr(key)[:40] for key in list(channels)[:8])
            raise PayloadError(f"channel {name!r} is not in the image; it has {held}")
        return channels[name]

    def _mask_payload(self, masks: object) -> Payload | None:
        """The chosen channel's mask, or the first; some senders write 4 plain bytes for one."""
        if not isinstance(masks, dict) or not masks:
            return None
        mask = masks.get(self._channel, next(iter(masks.values())))
        if not isinstance(mask, cbor.Tag):
            return None
        try:
            return _payload(mask)
        except PayloadError as error:
            return broken_payload(str(error))

    def _detector(self, message: _Message) -> Detector:
        mask, shape = mask_and_shape(
            self._mask_payload(message.get("pixel_mask")),
            count(message, "image_size_y"),
            count(message, "image_size_x"),
        )
        beam_x, beam_y = beam_centre(message)
        return Detector(
            shape=shape,
            mask=mask,
            saturation=positive(real(message, "saturation_value")),
            underload=0.0,
            beam_x_px=beam_x,
            beam_y_px=beam_y,
            pixel_x_mm=positive(real(message, "pixel_size_x"), 1e3),
            pixel_y_mm=positive(real(message, "pixel_size_y"), 1e3),
            distance_mm=positive(translation_z(message), 1e3),
            wavelength_angstrom=wavelength(
                real(message, "incident_wavelength"), real(message, "incident_energy")
            ),
        )


_Handler = Callable[[DectrisV2Decoder, _Message, Sequence[Part], int], Event]

_BY_TYPE: Final[Mapping[str, _Handler]] = {
    "start": DectrisV2Decoder._start,
    "image": DectrisV2Decoder._image,
    "end": DectrisV2Decoder._end,
}


def _payload(array: object) -> Payload:
    """A tagged array, its pixels still encoded. Raises PayloadError."""
    if not isinstance(array, cbor.Tag) or array.number != ARRAY:
        raise PayloadError("the image is no array (tag 40)")
    if not isinstance(array.value, list) or len(array.value) != 2:
        raise PayloadError("the image's array is no pair of shape and pixels")
    shape = shape_of(array.value[0])
    typed = array.value[1]
    if not isinstance(typed, cbor.Tag) or typed.number not in DTYPES:
        raise PayloadError("the pixels' type is unknown, or not little-endian")
    dtype = DTYPES[typed.number]
    encoding, data = _encoding_and_data(typed.value, dtype.itemsize)
    return encoded_payload(data, dtype=dtype, shape=shape, encoding=encoding)


def _encoding_and_data(value: object, item: int) -> tuple[str, Part]:
    if isinstance(value, memoryview):
        return "raw", value
    match value:
        case cbor.Tag(number, [str(algorithm), int(said), memoryview() as data]) if (
            number == COMPRESSED and algorithm in ALGORITHMS
        ):
            encoding = ALGORITHMS[algorithm]
            if encoding != "lz4-hdf5" and said != item:
                raise PayloadError(f"{algorithm} of {said}-byte elements for {item}-byte pixels")
            return encoding, data
        case _:
            raise PayloadError("the pixels are neither bytes nor of a known compression")


_TAGS: Final = {dtype: tag for tag, dtype in DTYPES.items()}
_NAMES: Final = {codec: algorithm for algorithm, codec in ALGORITHMS.items()}
_CARRIED: Final = frozenset({"raw", *_NAMES})
_CHANNEL: Final = "threshold_1"


class DectrisV2Encoder:
    """`Encoder` for stream v2, of one channel. Pixels that are raw or in one of `ALGORITHMS` go as
    they are, others as bslz4. Times are the frame's number times FRAME_PERIOD_NS. Remembers the
    running series' unique id, which every image repeats.
    """

    def __init__(self, *, image_dtype: str = "uint16") -> None:
        self._image_dtype = image_dtype
        self._unique_id: str | None = None

    def start(self, event: SeriesStarted) -> Sequence[tuple[Part, ...]]:
        """One message, with the mask as a typed array where the detector has one."""
        self._unique_id = event.unique_id
        message = {
            **self._marked("start", event.series),
            "channels": [_CHANNEL],
            "detector_description": "hitfinder stream v2",
            "image_dtype": self._image_dtype,
            **_announced(event.announced),
            **_described(event.detector),
        }
        mask = event.detector.mask
        if mask is not None:
            flags = cbor2.CBORTag(_TAGS[np.dtype("<u4")], mask.astype("<u4").tobytes())
            array = cbor2.CBORTag(ARRAY, [list(mask.shape), flags])
            message["pixel_mask"] = {_CHANNEL: array}
            message["pixel_mask_enabled"] = True
        return ((cbor2.dumps(cbor2.CBORTag(SELF_DESCRIBED, message)),),)

    def frame(self, event: Frame) -> Sequence[tuple[Part, ...]]:
        """One message. Raises PayloadError where its pixels cannot be read or have no tag.

        The library writes the message around an empty byte string, which comes last; the pixels
        then take its place, so that they are copied once.
        """
        payload = recoded(event.payload, carried=_CARRIED, encoding="bslz4")
        if payload.dtype not in _TAGS:
            raise PayloadError(f"stream v2 has no tag for pixels of type {payload.dtype}")
        pixels: object = b""
        if payload.encoding != "raw":
            item = 0 if payload.encoding == "lz4-hdf5" else payload.dtype.itemsize
            pixels = cbor2.CBORTag(COMPRESSED, [_NAMES[payload.encoding], item, b""])
        typed = cbor2.CBORTag(_TAGS[payload.dtype], pixels)
        start_ns = event.number * FRAME_PERIOD_NS
        message = {
            **self._marked("image", event.series),
            "image_id": event.number,
            "real_time": [FRAME_PERIOD_NS, 10**9],
            "start_time": [start_ns, 10**9],
            "stop_time": [start_ns + FRAME_PERIOD_NS, 10**9],
            "data": {_CHANNEL: cbor2.CBORTag(ARRAY, [list(payload.shape), typed])},
        }
        around = cbor2.dumps(cbor2.CBORTag(SELF_DESCRIBED, message))
        head = struct.pack(">BQ", 0x5B, len(payload.data))  # a byte string, 64-bit length
        return ((b"".join((around[:-1], head, payload.data)),),)

    def end(self, event: SeriesEnded) -> Sequence[tuple[Part, ...]]:
        """One message."""
        message = self._marked("end", event.series)
        return ((cbor2.dumps(cbor2.CBORTag(SELF_DESCRIBED, message)),),)

    def _marked(self, kind: str, series: str) -> dict[str, object]:
        return {
            "type": kind,
            "series_id": series_id(series),
            "series_unique_id": self._unique_id or f"hitfinder-{series}",
        }


def _announced(images: int | None) -> dict[str, object]:
    return {} if images is None else {"number_of_images": images}


def _described(it: Detector) -> dict[str, object]:
    """What a detector would say; 0 for what it does not know, as detectors do."""
    angstrom = it.wavelength_angstrom
    described: dict[str, object] = {
        "beam_center_x": it.beam_x_px or 0.0,
        "beam_center_y": it.beam_y_px or 0.0,
        "detector_translation": [0.0, 0.0, -(it.distance_mm or 0.0) / 1e3],
        "incident_energy": HC_EV_ANGSTROM / angstrom if angstrom else 0.0,
        "incident_wavelength": angstrom or 0.0,
        "pixel_size_x": (it.pixel_x_mm or 0.0) / 1e3,
        "pixel_size_y": (it.pixel_y_mm or 0.0) / 1e3,
    }
    if it.shape is not None:
        described["image_size_x"] = it.shape[-1]
        described["image_size_y"] = math.prod(it.shape[:-1])  # modules one below another
    if it.saturation is not None:
        described["saturation_value"] = it.saturation
    return described
