"""array-1.0 in both dialects."""

import json
from typing import Any

import numpy as np
import pytest

from hitfinder.errors import BadMessageError, PayloadError
from hitfinder.frame import Event, Frame, Passed, array_payload
from hitfinder.wire.array1 import Array1Decoder, Array1Encoder
from tests.wire.oracle import pixels

FRAME = pixels("<u2", (4, 6))


def decode(decoder: Array1Decoder | None = None, /, **fields: Any) -> Event:
    head = {"htype": "array-1.0", "type": "uint16", "shape": [4, 6], "frame": 3, **fields}
    head = {key: value for key, value in head.items() if value is not None}
    part = json.dumps(head).encode()
    return (decoder or Array1Decoder()).decode([part, FRAME.tobytes()], arrival_ns=0)


def frame(decoder: Array1Decoder | None = None, /, **fields: Any) -> Frame:
    event = decode(decoder, **fields)
    assert isinstance(event, Frame)
    return event


@pytest.mark.parametrize(
    ("htype", "order", "shape"),
    [
        ("array-1.0", "auto", (4, 6)),
        (["array-1.0"], "auto", (6, 4)),
        ("array-1.0", "x-first", (6, 4)),
        (["array-1.0"], "numpy", (4, 6)),
    ],
)
def test_the_order_of_the_shape(htype: object, order: str, shape: tuple[int, int]) -> None:
    decoder = Array1Decoder(shape_order=order)  # type: ignore[arg-type]
    assert frame(decoder, htype=htype).payload.shape == shape


@pytest.mark.parametrize("name", ["bool", "uint8", "int16", "uint32", "int64", "float32"])
def test_pixel_types(name: str) -> None:
    size = FRAME.nbytes // np.dtype(name).itemsize
    found = frame(type=name, shape=[2, size // 2]).payload
    assert found.whole().tobytes() == FRAME.tobytes()
    assert found.dtype == np.dtype(name)


def test_stacks_of_modules() -> None:
    assert frame(shape=[2, 2, 6]).payload.flat_shape == (4, 6)
    assert frame(htype=["array-1.0"], shape=[6, 2, 2]).payload.shape == (2, 2, 6)


@pytest.mark.parametrize(
    ("fields", "series", "number"),
    [
        ({}, "array", 3),
        ({"source": "JF07"}, "JF07", 3),
        ({"series": 12}, "12", 3),
        ({"source": "JF07", "series": 12}, "JF07", 3),
        ({"pulse_id": 21_000_000_000}, "array", 3),
        ({"frame": None, "pulse_id": 21_000_000_000}, "array", 21_000_000_000),
    ],
)
def test_series_and_number(fields: dict[str, Any], series: str, number: int) -> None:
    found = frame(**fields, is_good_frame=True, spot_x=[1.0])
    assert (found.series, found.number) == (series, number)


@pytest.mark.parametrize("fields", [{"frame": None}, {"frame": -1}, {"source": []}, {"series": ""}])
def test_frames_that_cannot_be_named_are_bad(fields: dict[str, Any]) -> None:
    with pytest.raises(BadMessageError, match="header"):
        decode(**fields)


def test_a_frame_without_its_blob_is_still_a_frame() -> None:
    part = json.dumps({"htype": "array-1.0", "frame": 3}).encode()
    event = Array1Decoder().decode([part], arrival_ns=0)
    assert isinstance(event, Frame)
    with pytest.raises(PayloadError, match="blob is missing"):
        event.payload.whole()


@pytest.mark.parametrize(
    "attributes",
    [
        b'{"I0":nan}',
        b'{"I0":-inf,"b":1}',
        b'{,"b":1}',
        b'{"b":1,}',
        b'{"path":"C:\\data"}',
        b'{"unit":"\xb5m"}',
        b'{"text":"two\nlines"}',
    ],
)
def test_attributes_that_are_no_json_cost_no_frame(attributes: bytes) -> None:
    head = b'{"htype":["array-1.0"], "type":"uint16", "shape":[6,4], "frame":7, "ndattr": '
    event = Array1Decoder().decode([head + attributes + b"}", FRAME.tobytes()], arrival_ns=0)
    assert isinstance(event, Frame)
    assert event.number == 7
    np.testing.assert_array_equal(event.payload.whole(), FRAME)


def test_a_header_that_is_no_json_before_its_attributes_is_bad() -> None:
    for head in (b'{"frame":nan, "ndattr":{}}', b'{"frame":nan}', b'"ndattr"'):
        with pytest.raises(BadMessageError):
            Array1Decoder().decode([head, FRAME.tobytes()], arrival_ns=0)


@pytest.mark.parametrize("key", ["encoding", "compression"])
def test_a_compressed_blob_is_not_taken_for_pixels(key: str) -> None:
    with pytest.raises(PayloadError, match=f"compressed, {key} 'bslz4', which is not read here"):
        frame(**{key: "bslz4"}).payload.whole()
    for said in ("", "none", "raw", "<"):
        np.testing.assert_array_equal(frame(**{key: said}).payload.whole(), FRAME)


def test_the_shape_must_fit_the_blob() -> None:
    with pytest.raises(PayloadError, match="48 bytes where"):
        frame(shape=[4, 5]).payload.whole()


def test_other_htypes_are_passed() -> None:
    event = decode(htype="chunk-1.0")
    assert isinstance(event, Passed)
    assert event.kind == "chunk-1.0"


@pytest.mark.parametrize("shape", [(4, 6), (2, 3, 4)])
def test_the_encoder_writes_both_orders(shape: tuple[int, ...]) -> None:
    image = pixels("<i4", shape)
    given = Frame(series="camera 1", number=8, payload=array_payload(image))
    (psi,) = Array1Encoder().frame(given)
    (area,) = Array1Encoder(shape_order="x-first").frame(given)
    assert json.loads(bytes(psi[0]))["shape"] == list(shape)
    assert json.loads(bytes(area[0]))["shape"] == list(shape[::-1])
    assert json.loads(bytes(area[0]))["htype"] == ["array-1.0"]
    for message in (psi, area):
        event = Array1Decoder().decode(message, arrival_ns=0)
        assert isinstance(event, Frame)
        assert (event.series, event.number) == ("camera 1", 8)
        assert np.array_equal(event.payload.whole(), image)
