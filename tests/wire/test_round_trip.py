"""One table over every protocol, encoding, pixel type and shape, there and back."""

from typing import Any

import numpy as np
import pytest

from hitfinder.errors import PayloadError
from hitfinder.frame import (
    Detector,
    Frame,
    SeriesEnded,
    SeriesStarted,
    array_payload,
)
from hitfinder.wire import PROTOCOLS
from hitfinder.wire.compression import CODECS, broken_payload, encoded_payload, recoded
from tests.wire import messages
from tests.wire.oracle import noise, oracle, pixels

ENCODINGS = {
    "dectris-v1": ("raw", "lz4", "bslz4"),
    "dectris-v2": ("raw", "bslz4", "lz4-hdf5", "bszstd"),
    "array-1.0": ("raw",),
}
ROWS = [(protocol, encoding) for protocol, names in ENCODINGS.items() for encoding in names]
DTYPES = ["u1", "<u2", "<u4", "<i4", "<f4"]
SHAPES = [(1, 1), (3, 3), (64, 64), (101, 103), (3, 33, 35)]


def there_and_back(protocol: str, frame: Frame) -> Frame:
    (message,) = PROTOCOLS[protocol].encoder().frame(frame)
    event = PROTOCOLS[protocol].decoder().decode(message, arrival_ns=5)
    assert isinstance(event, Frame)
    assert (event.series, event.number) == (frame.series, frame.number)
    assert (event.parts, event.arrival_ns) == (tuple(message), 5)
    return event


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("protocol", "encoding"), ROWS)
@pytest.mark.parametrize("make", [pixels, noise])
def test_a_frame_survives(
    make: Any, protocol: str, encoding: str, dtype: str, shape: tuple[int, ...]
) -> None:
    image = make(dtype, shape)
    payload = recoded(array_payload(image), carried=(), encoding=encoding)
    frame = Frame(series="12", number=2**40, payload=payload)

    found = there_and_back(protocol, frame).payload
    assert (found.encoding, found.dtype, found.shape) == (encoding, np.dtype(dtype), shape)
    assert found.whole().tobytes() == image.tobytes()
    assert oracle(found.data, encoding, image.dtype, shape).tobytes() == image.tobytes()


@pytest.mark.parametrize("encoding", CODECS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pixels_go_as_they_are_where_the_protocol_carries_them(
    protocol: str, encoding: str
) -> None:
    image = messages.PIXELS
    data = CODECS[encoding].encode(image)
    payload = encoded_payload(data, dtype=image.dtype, shape=image.shape, encoding=encoding)
    found = there_and_back(protocol, Frame(series="1", number=0, payload=payload)).payload
    assert np.array_equal(found.whole(), image)
    if encoding in ENCODINGS[protocol]:
        assert found.encoding == encoding
        assert bytes(found.data) == bytes(data)
    else:
        assert found.encoding == ("raw" if protocol == "array-1.0" else "bslz4")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_big_endian_pixels_are_sent_little_endian(protocol: str) -> None:
    image = messages.PIXELS
    frame = Frame(series="1", number=0, payload=array_payload(image.astype(">u2")))
    found = there_and_back(protocol, frame).payload
    assert found.dtype == np.dtype("<u2")
    assert np.array_equal(found.whole(), image)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_cannot_be_encoded_is_a_payload_error(protocol: str) -> None:
    encoder = PROTOCOLS[protocol].encoder()
    for payload in (
        broken_payload("no pixels"),
        array_payload(np.zeros((4, 4), np.complex64)),
        array_payload(np.zeros((4, 4), np.complex128)),
    ):
        with pytest.raises(PayloadError):
            encoder.frame(Frame(series="1", number=0, payload=payload))


@pytest.mark.parametrize("protocol", ["dectris-v1", "dectris-v2"])
@pytest.mark.parametrize(
    "detector",
    [
        messages.DETECTOR,
        Detector(underload=0.0),
        Detector(shape=(48, 67), underload=0.0),
        Detector(shape=(2, 8, 9), mask=np.eye(16, 9, dtype=bool).reshape(2, 8, 9), underload=0.0),
    ],
    ids=["all", "none", "sides", "modules"],
)
@pytest.mark.parametrize("announced", [None, 0, 1200])
def test_a_series_start_survives(protocol: str, detector: Detector, announced: int | None) -> None:
    event = SeriesStarted(series="3", announced=announced, unique_id="abc", detector=detector)
    (message,) = PROTOCOLS[protocol].encoder().start(event)
    found = PROTOCOLS[protocol].decoder().decode(message, arrival_ns=0)

    assert isinstance(found, SeriesStarted)
    assert (found.series, found.announced) == ("3", announced)
    assert found.unique_id == ("abc" if protocol == "dectris-v2" else None)
    assert found.parts == tuple(message)
    assert found.detector.shape == detector.shape
    assert (found.detector.mask is None) == (detector.mask is None)
    if detector.mask is not None:
        assert np.array_equal(found.detector.mask, detector.mask)  # type: ignore[arg-type]
    for name in (
        *("saturation", "underload", "beam_x_px", "beam_y_px", "pixel_x_mm", "pixel_y_mm"),
        *("distance_mm", "wavelength_angstrom"),
    ):
        assert getattr(found.detector, name) == pytest.approx(getattr(detector, name)), name


@pytest.mark.parametrize("protocol", ["dectris-v1", "dectris-v2"])
def test_a_series_end_survives(protocol: str) -> None:
    (message,) = PROTOCOLS[protocol].encoder().end(SeriesEnded(series="3"))
    found = PROTOCOLS[protocol].decoder().decode(message, arrival_ns=0)
    assert isinstance(found, SeriesEnded)
    assert (found.series, found.parts) == ("3", tuple(message))


@pytest.mark.parametrize("protocol", ["dectris-v1", "dectris-v2"])
def test_a_series_of_any_name_gets_one_number(protocol: str) -> None:
    encoder, decoder = PROTOCOLS[protocol].encoder(), PROTOCOLS[protocol].decoder()
    frame = Frame(series="run_5/data", number=0, payload=array_payload(messages.PIXELS))
    events = [
        decoder.decode(message, arrival_ns=0)
        for part in (
            encoder.start(SeriesStarted(series="run_5/data")),
            encoder.frame(frame),
            encoder.end(SeriesEnded(series="run_5/data")),
        )
        for message in part
    ]
    series = {event.series for event in events if not hasattr(event, "kind")}
    assert len(series) == 1
    assert series.pop().isdecimal()


def test_array1_has_no_marks() -> None:
    encoder = PROTOCOLS["array-1.0"].encoder()
    assert encoder.start(SeriesStarted(series="1")) == ()
    assert encoder.end(SeriesEnded(series="1")) == ()
