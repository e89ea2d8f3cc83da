"""Stream v1: what is told from each message, and what of it may be missing."""

import json
from typing import Any

import numpy as np
import pytest

from hitfinder.errors import BadMessageError, PayloadError
from hitfinder.frame import Event, Frame, Passed, SeriesStarted
from hitfinder.wire.compression import CODECS
from hitfinder.wire.dectris_v1 import DectrisV1Decoder
from tests.wire import messages
from tests.wire.oracle import pixels

HEADER = {"htype": "dheader-1.0", "series": 4, "header_detail": "basic"}
CONFIG = {
    "beam_center_x": 500.5,
    "beam_center_y": 600.5,
    "detector_distance": 0.12,
    "nimages": 20,
    "ntrigger": 3,
    "wavelength": 1.1,
    "x_pixel_size": 7.5e-05,
    "x_pixels_in_detector": 1030,
    "y_pixels_in_detector": 514,
}


def part(*objects: dict[str, Any], **fields: object) -> bytes:
    return json.dumps({k: v for item in (*objects, fields) for k, v in item.items()}).encode()


def decode(*parts: bytes) -> Event:
    return DectrisV1Decoder().decode(parts, arrival_ns=0)


def started(*parts: bytes) -> SeriesStarted:
    event = decode(*parts)
    assert isinstance(event, SeriesStarted)
    return event


def image(blob: bytes, **about: object) -> Frame:
    head = {"htype": "dimage-1.0", "series": 4, "frame": 2, "hash": "0"}
    event = decode(part(head), part(about, htype="dimage_d-1.0"), blob)
    assert isinstance(event, Frame)
    assert (event.series, event.number) == ("4", 2)
    return event


@pytest.mark.parametrize("end", ["<", ""])
@pytest.mark.parametrize(
    ("name", "encoding", "dtype"),
    [
        ("", "raw", "uint16"),
        ("lz4", "lz4", "uint32"),
        ("bs8-lz4", "bslz4", "uint8"),
        ("bs16-lz4", "bslz4", "uint16"),
        ("bs32-lz4", "bslz4", "uint32"),
    ],
)
def test_encodings_with_and_without_byte_order(
    name: str, encoding: str, dtype: str, end: str
) -> None:
    frame = pixels(dtype, (30, 41))
    blob = bytes(CODECS[encoding].encode(frame))
    found = image(blob, shape=[41, 30], type=dtype, encoding=name + end, size=len(blob))
    assert found.payload.encoding == encoding
    assert np.array_equal(found.payload.whole(), frame)


def test_shape_is_x_first() -> None:
    found = image(bytes(12), shape=[3, 4], type="uint8", encoding="<")
    assert found.payload.shape == (4, 3)


@pytest.mark.parametrize(
    ("reason", "about"),
    [
        ("'<f4>' is unknown", {"type": "<f4>"}),
        ("'bs16-lz4>' is not supported", {"encoding": "bs16-lz4>"}),
        ("'bs32-lz4<' does not fit", {"encoding": "bs32-lz4<"}),
        ("positive whole numbers", {"shape": [3, 0]}),
        ("more than", {"shape": [2**20, 2**20]}),
        ("shape and dtype", {"shape": [3, 5], "encoding": "<"}),
    ],
)
def test_a_frame_that_cannot_be_read_is_still_a_frame(
    reason: str, about: dict[str, object]
) -> None:
    good = {"shape": [3, 4], "type": "uint16", "encoding": "bs16-lz4<"}
    found = image(bytes(24), **{**good, **about})
    with pytest.raises(PayloadError, match=reason):
        found.payload.rows(0, 1)


def test_the_image_s_times_may_be_missing_and_an_appendix_may_follow() -> None:
    parts = messages.frame("dectris-v1")
    for given in (parts[:3], parts, (*parts, b"appendix"), (*parts[:3], b"appendix")):
        event = decode(*given)
        assert isinstance(event, Frame)
        assert np.array_equal(event.payload.whole(), messages.PIXELS)
        assert event.parts == given


def test_the_hash_is_ignored() -> None:
    head, *rest = messages.frame("dectris-v1")
    for value in (None, "wrong", 5):
        assert isinstance(decode(part(json.loads(head), hash=value), *rest), Frame)


@pytest.mark.parametrize("appendix", [(), (b"not JSON",), (b'{"acqID": 1}',)])
def test_header_detail_none(appendix: tuple[bytes, ...]) -> None:
    event = started(part(HEADER, header_detail="none"), *appendix)
    assert (event.series, event.announced, event.detector.shape) == ("4", None, None)
    assert event.detector.underload == 0.0


@pytest.mark.parametrize("appendix", [(), (b"not JSON",), (b'{"acqID": 1}',)])
def test_header_detail_basic(appendix: tuple[bytes, ...]) -> None:
    event = started(part(HEADER), part(CONFIG), *appendix)
    assert event.announced == 60
    it = event.detector
    assert it.shape == (514, 1030)
    assert (it.beam_x_px, it.beam_y_px) == (500.5, 600.5)
    assert it.distance_mm == pytest.approx(120)
    assert it.pixel_x_mm == pytest.approx(0.075)
    assert (it.pixel_y_mm, it.saturation, it.underload) == (None, None, 0.0)


@pytest.mark.parametrize("appendix", [(), (b"not JSON",), (b'{"acqID": 1}',)])
def test_header_detail_all(appendix: tuple[bytes, ...]) -> None:
    event = started(*messages.start("dectris-v1"), *appendix)
    assert event.detector.mask is not None
    assert np.array_equal(event.detector.mask, messages.DETECTOR.mask)  # type: ignore[arg-type]


def test_header_and_config_in_two_messages() -> None:
    decoder = DectrisV1Decoder()
    first = decoder.decode([part(HEADER)], arrival_ns=0)
    second = decoder.decode([part(CONFIG)], arrival_ns=0)
    assert first == Passed(kind="header", parts=(part(HEADER),))
    assert isinstance(second, SeriesStarted)
    assert (second.series, second.announced, second.parts) == ("4", 60, (part(CONFIG),))
    with pytest.raises(BadMessageError, match="type"):  # a config belongs to one header
        decoder.decode([part(CONFIG)], arrival_ns=0)


def test_a_bad_message_between_header_and_config_changes_nothing() -> None:
    decoder = DectrisV1Decoder()
    decoder.decode([part(HEADER)], arrival_ns=0)
    with pytest.raises(BadMessageError):
        decoder.decode([b"\xff"], arrival_ns=0)
    assert isinstance(decoder.decode([part(CONFIG)], arrival_ns=0), SeriesStarted)


def test_what_has_no_htype_starts_no_series_once_its_frames_have_come() -> None:
    decoder = DectrisV1Decoder()
    decoder.decode([part(HEADER)], arrival_ns=0)
    decoder.decode(messages.frame("dectris-v1"), arrival_ns=0)
    with pytest.raises(BadMessageError, match="type"):
        decoder.decode([part(CONFIG)], arrival_ns=0)


def test_all_config_keys_are_optional() -> None:
    event = started(part(HEADER), b"{}")
    assert (event.announced, event.detector.shape) == (None, None)
    for key in CONFIG:
        assert started(part(HEADER), part({k: v for k, v in CONFIG.items() if k != key}))


@pytest.mark.parametrize(
    ("config", "name", "value"),
    [
        ({"beam_center_x": 0, "beam_center_y": 0}, "beam_x_px", None),
        ({"detector_distance": 0, "detector_translation": [1, 2, -0.3]}, "distance_mm", 300),
        ({"detector_distance": 0, "detector_translation": [0, 0, 0]}, "distance_mm", None),
        ({"detector_distance": float("nan")}, "distance_mm", None),
        ({"wavelength": 0, "photon_energy": 12398.419843320026}, "wavelength_angstrom", 1),
        ({"wavelength": 0, "photon_energy": 0}, "wavelength_angstrom", None),
        ({"countrate_correction_count_cutoff": 9000}, "saturation", 9000),
        ({"x_pixel_size": "7.5e-05"}, "pixel_x_mm", None),
        ({"x_pixels_in_detector": "1030"}, "shape", None),
    ],
)
def test_what_the_config_says_of_the_detector(
    config: dict[str, object], name: str, value: float | None
) -> None:
    event = started(part(HEADER), part(CONFIG, config))
    assert getattr(event.detector, name) == (None if value is None else pytest.approx(value))


def test_an_empty_mask_and_a_missing_one_are_none() -> None:
    parts = list(messages.start("dectris-v1"))
    empty = part(htype="dpixelmask-1.0", shape=[], type="undefined")
    assert started(*parts[:4], empty, b"", *parts[6:]).detector.mask is None
    assert started(*parts[:4], *parts[6:]).detector.mask is None


def test_a_mask_of_another_size_than_the_detector_is_none() -> None:
    parts = list(messages.start("dectris-v1"))
    short = part(json.loads(parts[4]), shape=[67, 47])
    event = started(*parts[:4], short, parts[5][: 67 * 47 * 4], *parts[6:])
    assert (event.detector.mask, event.detector.shape) == (None, (48, 67))


def test_other_htypes_are_passed() -> None:
    event = decode(part(htype="dsomething-2.0", series=1), b"x")
    assert event == Passed(
        kind="dsomething-2.0", parts=(part(htype="dsomething-2.0", series=1), b"x")
    )
