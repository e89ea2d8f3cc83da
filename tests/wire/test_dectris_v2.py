"""Stream v2: what is told from each message, and what of it may be missing."""

from typing import Any

import cbor2
import numpy as np
import pytest

from hitfinder.errors import BadMessageError, PayloadError
from hitfinder.frame import Event, Frame, Passed, SeriesEnded, SeriesStarted
from hitfinder.wire.compression import CODECS
from hitfinder.wire.dectris_v2 import DectrisV2Decoder
from tests.wire import messages
from tests.wire.oracle import pixels


def array(dims: object, tag: int, content: object) -> cbor2.CBORTag:
    return cbor2.CBORTag(40, [dims, cbor2.CBORTag(tag, content)])


def packed(frame: Any, algorithm: str, said: int | None = None) -> cbor2.CBORTag:
    data = CODECS["lz4-hdf5" if algorithm == "lz4" else algorithm].encode(frame)
    return cbor2.CBORTag(56500, [algorithm, frame.itemsize if said is None else said, bytes(data)])


def decode(message: object, channel: str | None = None) -> Event:
    part = message if isinstance(message, bytes) else cbor2.dumps(message)
    return DectrisV2Decoder(channel=channel).decode([part], arrival_ns=0)


def image(data: object, channel: str | None = None) -> Frame:
    message = {"type": "image", "series_id": 4, "series_unique_id": "u", "image_id": 2}
    event = decode({**message, "data": data}, channel)
    assert isinstance(event, Frame)
    assert (event.series, event.number) == ("4", 2)
    return event


def start(**fields: object) -> SeriesStarted:
    event = decode({"type": "start", "series_id": 4, **fields})
    assert isinstance(event, SeriesStarted)
    return event


@pytest.mark.parametrize("algorithm", [None, "bslz4", "lz4", "bszstd"])
@pytest.mark.parametrize(
    ("tag", "dtype"),
    [
        *((64, "u1"), (69, "<u2"), (70, "<u4"), (71, "<u8")),
        *((72, "i1"), (77, "<i2"), (78, "<i4"), (79, "<i8")),
        *((85, "<f4"), (86, "<f8")),
    ],
)
def test_every_pixel_type_raw_and_compressed(tag: int, dtype: str, algorithm: str | None) -> None:
    frame = pixels(dtype, (30, 41))
    content = frame.tobytes() if algorithm is None else packed(frame, algorithm)
    found = image({"threshold_1": array([30, 41], tag, content)}).payload
    assert (found.dtype, found.shape) == (np.dtype(dtype), (30, 41))
    assert np.array_equal(found.whole(), frame)


def test_lz4_says_elements_of_zero_bytes() -> None:
    frame = pixels("<u2", (30, 41))
    found = image({"threshold_1": array([30, 41], 69, packed(frame, "lz4", said=0))})
    assert np.array_equal(found.payload.whole(), frame)


@pytest.mark.parametrize("algorithm", ["bslz4", "bszstd"])
def test_bitshuffle_of_another_element_size_cannot_be_read(algorithm: str) -> None:
    frame = pixels("<u2", (30, 41))
    found = image({"threshold_1": array([30, 41], 69, packed(frame, algorithm, said=4))})
    with pytest.raises(PayloadError, match="4-byte elements for 2-byte pixels"):
        found.payload.whole()


def test_stacks_of_modules() -> None:
    frame = pixels("<u2", (3, 10, 11))
    found = image({"threshold_1": array([3, 10, 11], 69, packed(frame, "bslz4"))}).payload
    assert np.array_equal(found.whole(), frame)
    assert found.flat_shape == (30, 11)


def test_channels() -> None:
    frames = {name: np.full((2, 3), i, "u1") for i, name in enumerate(["default", "b", "c"])}
    data = {name: array([2, 3], 64, frame.tobytes()) for name, frame in frames.items()}
    assert np.array_equal(image(data).payload.whole(), frames["default"])
    assert np.array_equal(image(data, "c").payload.whole(), frames["c"])
    with pytest.raises(PayloadError, match="'d' is not in the image; it has 'default', 'b', 'c'"):
        image(data, "d").payload.whole()
    with pytest.raises(PayloadError) as caught:  # it becomes one line of the log
        image({"two\nlines": data["b"]}, "d").payload.whole()
    assert "\n" not in str(caught.value)


def test_channels_announced_under_other_names() -> None:
    frame = pixels("u1", (2, 3))
    decoder = DectrisV2Decoder()
    begin = cbor2.dumps({"type": "start", "series_id": 4, "channels": ["1"]})
    assert isinstance(decoder.decode([begin], arrival_ns=0), SeriesStarted)
    data = {"threshold_1": array([2, 3], 64, frame.tobytes())}
    part = cbor2.dumps({"type": "image", "series_id": 4, "image_id": 0, "data": data})
    event = decoder.decode([part], arrival_ns=0)
    assert isinstance(event, Frame)
    assert np.array_equal(event.payload.whole(), frame)


@pytest.mark.parametrize("make", [messages.start, messages.frame, messages.end])
def test_the_self_describing_tag_may_be_missing(make: Any) -> None:
    (part,) = make("dectris-v2")
    assert part.startswith(b"\xd9\xd9\xf7")
    assert type(decode(part)) is type(decode(part[3:]))


def test_messages_of_one_part_are_not_copied() -> None:
    buffer = bytearray(messages.frame("dectris-v2")[0])
    event = DectrisV2Decoder().decode([memoryview(buffer).toreadonly()], arrival_ns=0)
    assert isinstance(event, Frame)
    assert isinstance(event.payload.data, memoryview)
    assert event.payload.data.obj is buffer


@pytest.mark.parametrize("kind", ["calibration", "metadata", "anything"])
def test_other_types_are_passed(kind: str) -> None:
    part = cbor2.dumps({"type": kind, "series_id": "not even a number"})
    assert decode(part) == Passed(kind=kind, parts=(part,))


def test_unknown_keys_are_ignored() -> None:
    """user_data may hold anything, dates travel under tags."""
    (part,) = messages.frame("dectris-v2")
    extra = {"series_date": cbor2.CBORTag(0, "2023-10-03T17:47:48+02:00"), "user_data": [1, "💙"]}
    (data,) = (v for k, v in cbor2.loads(part).items() if k == "data")
    event = image(data)
    again = decode({"type": "image", "series_id": 4, "image_id": 2, "data": data, **extra})
    assert isinstance(again, Frame)
    assert np.array_equal(again.payload.whole(), event.payload.whole())


def test_more_than_one_part_is_bad() -> None:
    with pytest.raises(BadMessageError, match="parts"):
        DectrisV2Decoder().decode(messages.frame("dectris-v2") * 2, arrival_ns=0)


def test_an_end_without_a_start() -> None:
    event = decode({"type": "end", "series_id": 9})
    assert isinstance(event, SeriesEnded)
    assert event.series == "9"


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"beam_center_x": 0.0, "beam_center_y": 0.0}, "beam_x_px", None),
        ({"beam_center_x": 1.5, "beam_center_y": 0.0}, "beam_x_px", 1.5),
        ({"detector_translation": [0.1, 0.2, -0.3]}, "distance_mm", 300),
        ({"detector_translation": [0.1, 0.2, 0.0]}, "distance_mm", None),
        ({"detector_translation": [0.1]}, "distance_mm", None),
        ({"incident_energy": 12398.419843320026}, "wavelength_angstrom", 1),
        ({"incident_energy": 0, "incident_wavelength": 0.9}, "wavelength_angstrom", 0.9),
        ({"pixel_size_x": 7.5e-05}, "pixel_x_mm", 0.075),
        ({"saturation_value": 21517}, "saturation", 21517),
        ({}, "saturation", None),
        ({}, "underload", 0.0),
    ],
)
def test_what_a_start_says_of_the_detector(
    fields: dict[str, object], name: str, value: float | None
) -> None:
    found = getattr(start(**fields).detector, name)
    assert found == (None if value is None else pytest.approx(value))


def test_masks() -> None:
    flags = np.arange(6, dtype="<u4").reshape(2, 3)
    other = np.zeros((2, 3), "<u4")
    masks = {
        "threshold_1": array([2, 3], 70, flags.tobytes()),
        "threshold_2": array([2, 3], 70, packed(other, "bslz4")),
    }
    message = cbor2.dumps({"type": "start", "series_id": 4, "pixel_mask": masks})
    for channel, expected in [(None, flags), ("threshold_2", other), ("absent", flags)]:
        event = decode(message, channel)
        assert isinstance(event, SeriesStarted)
        assert event.detector.shape == (2, 3)
        assert event.detector.mask is not None
        assert np.array_equal(event.detector.mask, expected != 0)


@pytest.mark.parametrize(
    "mask",
    [
        *(None, {}, {"threshold_1": bytes(4)}),  # 4 plain bytes: seen
        {"threshold_1": array([2, 3], 70, bytes(4))},
        {"threshold_1": array([5, 5], 70, bytes(100))},
    ],
)
def test_masks_that_are_none(mask: object) -> None:
    event = start(pixel_mask=mask, flatfield=mask, image_size_x=3, image_size_y=2)
    assert (event.detector.mask, event.detector.shape) == (None, (2, 3))
