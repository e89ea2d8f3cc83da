"""DECTRIS SIMPLON stream v1: JSON headers and blobs in the parts of one message.

    header   dheader-1.0, config, then perhaps flatfield, pixel mask and count-rate table
    image    dimage-1.0, dimage_d-1.0, blob, perhaps dconfig-1.0
    end      dseries_end-1.0

Any message may carry an appendix as its last part. Shapes are [x, y]. Some senders put header
and config in two messages: the config, which has no htype, then starts the series. `hash` is
never checked: it matches nothing in recordings of real detectors.

Frames are counted from `series` and `frame` alone; whatever else is wrong with an image leaves
a frame whose payload cannot be decoded. What this file does not know: sockets, other protocols.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

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
from hitfinder.wire.compression import broken_payload, encoded_payload, recoded
from hitfinder.wire.fields import (
    COUNTING,
    FRAME_PERIOD_NS,
    HC_EV_ANGSTROM,
    beam_centre,
    count,
    dtype_of,
    json_object,
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

ENCODINGS: Final[Mapping[str, tuple[str, int | None]]] = {
    "": ("raw", None),
    "lz4": ("lz4", None),
    "bs8-lz4": ("bslz4", 1),
    "bs16-lz4": ("bslz4", 2),
    "bs32-lz4": ("bslz4", 4),
    "bs64-lz4": ("bslz4", 8),
}
"""Codec and bytes an element by the wire's encoding, less the `<` for little-endian."""

_MASK = "dpixelmask-1.0"


class DectrisV1Decoder:
    """`Decoder` for stream v1. Remembers a header whose config has not come yet."""

    def __init__(self) -> None:
        self._headed: str | None = None

    def decode(self, parts: Sequence[Part], arrival_ns: int) -> Event:
        """Frame, SeriesStarted, SeriesEnded, or Passed for a lone header and unknown htypes."""
        if not parts:
            raise BadMessageError("parts", "a message without parts")
        head = json_object(parts[0])
        htype = head.get("htype")
        if htype is None and self._headed is not None:
            series, self._headed = self._headed, None
            return _started(series, head, parts)
        if not isinstance(htype, str):
            raise BadMessageError("type", "the first part has no htype")
        known = _BY_HTYPE.get(htype)
        if known is None:
            return passed(htype, parts)
        return known(self, head, parts, arrival_ns)

    def _header(self, head: Mapping[str, object], parts: Sequence[Part], _ns: int) -> Event:
        series = str(required_count(head, "series"))
        self._headed = None
        if head.get("header_detail") == "none":
            return SeriesStarted(series=series, detector=COUNTING, parts=tuple(parts))
        if len(parts) == 1:
            self._headed = series
            return passed("header", parts)
        return _started(series, json_object(parts[1]), parts)

    def _image(self, head: Mapping[str, object], parts: Sequence[Part], ns: int) -> Event:
        series, number = required_count(head, "series"), required_count(head, "frame")
        self._headed = None  # its config is not coming any more
        try:
            payload = _payload(parts)
        except (BadMessageError, PayloadError) as error:
            payload = broken_payload(str(error))
        return Frame(
            series=str(series),
            number=number,
            payload=payload,
            arrival_ns=ns,
            parts=tuple(parts),
        )

    def _end(self, head: Mapping[str, object], parts: Sequence[Part], _ns: int) -> Event:
        self._headed = None
        return SeriesEnded(series=str(required_count(head, "series")), parts=tuple(parts))


_Handler = Callable[[DectrisV1Decoder, Mapping[str, object], Sequence[Part], int], Event]

_BY_HTYPE: Final[Mapping[str, _Handler]] = {
    "dheader-1.0": DectrisV1Decoder._header,
    "dimage-1.0": DectrisV1Decoder._image,
    "dseries_end-1.0": DectrisV1Decoder._end,
}


def _payload(parts: Sequence[Part]) -> Payload:
    """Parts 1 and 2 of an image. Raises PayloadError, or BadMessageError from its JSON."""
    if len(parts) < 3:
        raise PayloadError(f"the image has {len(parts)} parts where three or more are due")
    about = json_object(parts[1])
    name = about.get("encoding")
    if not isinstance(name, str) or name.removesuffix("<") not in ENCODINGS:
        raise PayloadError(f"encoding {str(name)[:40]!r} is not supported")
    encoding, item = ENCODINGS[name.removesuffix("<")]
    dtype = dtype_of(about.get("type"))
    if item is not None and item != dtype.itemsize:
        raise PayloadError(f"encoding {name!r} does not fit pixels of type {dtype}")
    shape = _reversed_shape(about)
    return encoded_payload(parts[2], dtype=dtype, shape=shape, encoding=encoding)


def _reversed_shape(about: Mapping[str, object]) -> tuple[int, ...]:
    return shape_of(about.get("shape"))[::-1]  # [x, y] → (rows, cols)


def _mask_payload(parts: Sequence[Part]) -> Payload | None:
    """The pixel mask's blob, if the header has one; empty masks are "undefined" of shape []."""
    for head, blob in pairwise(parts):
        if len(head) < 1000 and _MASK.encode() in bytes(head):
            about = json_object(head)
            if about.get("htype") == _MASK and about.get("shape") and len(blob):
                return _raw_payload(about, blob)
    return None


def _raw_payload(about: Mapping[str, object], blob: Part) -> Payload:
    try:
        dtype, shape = dtype_of(about.get("type")), _reversed_shape(about)
    except PayloadError as error:
        return broken_payload(str(error))
    return encoded_payload(blob, dtype=dtype, shape=shape, encoding="raw")


def _started(series: str, config: Mapping[Any, object], parts: Sequence[Part]) -> SeriesStarted:
    """Every config key may be missing: firmwares differ."""
    mask, shape = mask_and_shape(
        _mask_payload(parts),
        count(config, "y_pixels_in_detector"),
        count(config, "x_pixels_in_detector"),
    )
    beam_x, beam_y = beam_centre(config)
    return SeriesStarted(
        series=series,
        announced=_announced(config),
        detector=Detector(
            shape=shape,
            mask=mask,
            saturation=positive(real(config, "countrate_correction_count_cutoff")),
            underload=0.0,
            beam_x_px=beam_x,
            beam_y_px=beam_y,
            pixel_x_mm=positive(real(config, "x_pixel_size"), 1e3),
            pixel_y_mm=positive(real(config, "y_pixel_size"), 1e3),
            distance_mm=positive(real(config, "detector_distance"), 1e3)
            or positive(translation_z(config), 1e3),
            wavelength_angstrom=wavelength(
                real(config, "wavelength"), real(config, "photon_energy")
            ),
        ),
        parts=tuple(parts),
    )


def _announced(config: Mapping[Any, object]) -> int | None:
    """Both numbers may be sensible and their product be none that a database can keep."""
    images, triggers = count(config, "nimages"), count(config, "ntrigger")
    return None if images is None else count({"frames": images * (triggers or 1)}, "frames")


_CARRIED: Final = frozenset(codec for codec, _ in ENCODINGS.values())
_UNDEFINED: Final[Mapping[str, object]] = {"shape": [], "type": "undefined"}


class DectrisV1Encoder:
    """`Encoder` for stream v1. Pixels in one of `ENCODINGS`, raw ones too, go as they are, others
    as bslz4. The stamps in dconfig are the frame's number times FRAME_PERIOD_NS.
    """

    def start(self, event: SeriesStarted) -> Sequence[tuple[Part, ...]]:
        """One header: `all` with the mask where the detector has one, else `basic`."""
        mask = event.detector.mask
        head = {
            "header_detail": "basic" if mask is None else "all",
            "htype": "dheader-1.0",
            "series": series_id(event.series),
        }
        parts: list[Part] = [_json(head), _json(_config(event))]
        if mask is not None:
            about = {"shape": list(mask.shape[::-1]), "type": "uint32"}  # (rows, cols) → [x, y]
            parts += [_json({"htype": "dflatfield-1.0", **_UNDEFINED}), b""]
            parts += [_json({"htype": _MASK, **about}), mask.astype("<u4").tobytes()]
            parts += [_json({"htype": "dcountrate_table-1.0", **_UNDEFINED}), b""]
        return (tuple(parts),)

    def frame(self, event: Frame) -> Sequence[tuple[Part, ...]]:
        """One image of four parts. Raises PayloadError where its pixels cannot be read."""
        payload = recoded(event.payload, carried=_CARRIED, encoding="bslz4")
        dtype_of(payload.dtype.name)  # refuses a type that the header has no name for
        bitshuffled = payload.encoding == "bslz4"
        item = payload.dtype.itemsize if bitshuffled else None
        name = next(key for key, value in ENCODINGS.items() if value == (payload.encoding, item))
        head = {
            "frame": event.number,
            "hash": f"{event.number:032x}",
            "htype": "dimage-1.0",
            "series": series_id(event.series),
        }
        about = {
            "encoding": f"{name}<",
            "htype": "dimage_d-1.0",
            "shape": list(payload.shape[::-1]),  # (rows, cols) → [x, y]
            "size": len(payload.data),
            "type": payload.dtype.name,
        }
        start_ns = event.number * FRAME_PERIOD_NS
        times = {
            "htype": "dconfig-1.0",
            "real_time": FRAME_PERIOD_NS,
            "start_time": start_ns,
            "stop_time": start_ns + FRAME_PERIOD_NS,
        }
        return ((_json(head), _json(about), payload.data, _json(times)),)

    def end(self, event: SeriesEnded) -> Sequence[tuple[Part, ...]]:
        """One message of one part."""
        return ((_json({"htype": "dseries_end-1.0", "series": series_id(event.series)}),),)


def _json(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _config(event: SeriesStarted) -> dict[str, object]:
    """What a detector would say; 0 for what it does not know, as detectors do."""
    it = event.detector
    config: dict[str, object] = {
        "beam_center_x": it.beam_x_px or 0.0,
        "beam_center_y": it.beam_y_px or 0.0,
        "description": "hitfinder stream v1",
        "detector_distance": (it.distance_mm or 0.0) / 1e3,
        "detector_translation": [0.0, 0.0, (it.distance_mm or 0.0) / 1e3],
        "nimages": event.announced or 0,
        "ntrigger": 1,
        "photon_energy": HC_EV_ANGSTROM / it.wavelength_angstrom if it.wavelength_angstrom else 0.0,
        "wavelength": it.wavelength_angstrom or 0.0,
        "x_pixel_size": (it.pixel_x_mm or 0.0) / 1e3,
        "y_pixel_size": (it.pixel_y_mm or 0.0) / 1e3,
    }
    if it.shape is not None:
        config["x_pixels_in_detector"] = it.shape[-1]
        config["y_pixels_in_detector"] = math.prod(it.shape[:-1])  # modules one below another
    if it.saturation is not None:
        config["countrate_correction_count_cutoff"] = it.saturation
    if event.announced is None:
        del config["nimages"]
    return config
