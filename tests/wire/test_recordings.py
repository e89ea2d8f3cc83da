"""Every recorded message of a real detector, read by us and by the HDF5 library."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cbor2
import numpy as np
import pytest

from hitfinder.frame import Event, Frame, Payload, SeriesEnded, SeriesStarted
from hitfinder.wire import PROTOCOLS
from tests.wire.oracle import oracle

V2_500K = {
    "bslz4_8bit": ("u1", "bslz4"),
    "bslz4_16bit": ("<u2", "bslz4"),
    "bslz4_32bit": ("<u4", "bslz4"),
    "lz4_8bit": ("u1", "lz4-hdf5"),
    "lz4_16bit": ("<u2", "lz4-hdf5"),
}


def decode(protocol: str, messages: list[list[bytes]], **settings: Any) -> list[Event]:
    decoder = PROTOCOLS[protocol].decoder(**settings)
    return [decoder.decode(parts, arrival_ns=7) for parts in messages]


def assert_pixels(payload: Payload, encoding: str, dtype: str, shape: tuple[int, int]) -> None:
    """Whole and by band, against the HDF5 library."""
    expected = oracle(payload.data, encoding, np.dtype(dtype), shape)
    assert (payload.encoding, payload.dtype, payload.shape) == (encoding, np.dtype(dtype), shape)
    assert np.array_equal(payload.whole(), expected)
    rows = shape[0]
    middle = rows // 2
    for start, stop in [(0, 1), (0, 175), (middle - 175, middle + 175), (rows - 3, rows), (5, 5)]:
        assert np.array_equal(payload.rows(start, stop), expected[start:stop])


@pytest.fixture
def eiger4m(wire_samples: Path) -> list[list[bytes]]:
    """Eiger 4M, header `all` with appendix; the flatfield's and mask's blobs are stand-ins."""

    def part(number: int) -> bytes:
        return (wire_samples / "v1_eiger4m_hits" / f"streamfile_{number}").read_bytes()

    flatfield = np.ones((2167, 2070), "<f4").tobytes()
    mask = np.zeros((2167, 2070), "<u4")
    mask[500:600, :] = 1
    header = [part(1), part(2), part(3), flatfield, part(5), mask.tobytes(), *map(part, (7, 8, 9))]
    images = [[part(first + i) for i in range(4)] for first in (10, 14, 18)]
    return [header, *images, [part(22)]]


@pytest.fixture
def eiger1m(wire_samples: Path) -> Callable[[int], list[list[bytes]]]:
    """Eiger2 1M, a complete series of 10 dark frames from the given first file."""

    def part(number: int) -> bytes:
        return (wire_samples / "v1_eiger2_1m_dark" / f"streamData.{number:06}").read_bytes()

    def series(first: int) -> list[list[bytes]]:
        header = [part(first + i) for i in range(8)]
        images = [[part(first + 8 + 4 * n + i) for i in range(4)] for n in range(10)]
        return [header, *images, [part(first + 48)]]

    return series


def test_v1_eiger4m(eiger4m: list[list[bytes]]) -> None:
    started, *frames, ended = decode("dectris-v1", eiger4m)

    assert isinstance(started, SeriesStarted)
    assert (started.series, started.announced) == ("6", 10)  # though three follow
    assert started.parts == tuple(eiger4m[0])
    it = started.detector
    assert it.shape == (2167, 2070)
    assert it.mask is not None
    assert (it.mask.shape, it.mask.sum()) == ((2167, 2070), 100 * 2070)
    assert (it.saturation, it.underload) == (None, 0.0)
    assert (it.beam_x_px, it.beam_y_px, it.distance_mm) == (None, None, None)
    assert it.pixel_x_mm == pytest.approx(0.075, rel=1e-5)
    assert it.wavelength_angstrom == pytest.approx(1.5406, rel=1e-4)

    for number, (frame, parts) in enumerate(zip(frames, eiger4m[1:-1], strict=True)):
        assert isinstance(frame, Frame)
        assert (frame.series, frame.number, frame.arrival_ns) == ("6", number, 7)
        assert frame.parts == tuple(parts)
    assert isinstance(frames[0], Frame)
    assert_pixels(frames[0].payload, "bslz4", "<u2", (2167, 2070))
    assert isinstance(ended, SeriesEnded)
    assert ended.series == "6"


@pytest.mark.parametrize(("first", "series"), [(1, "71"), (50, "72")])
def test_v1_eiger1m(eiger1m: Any, first: int, series: str) -> None:
    started, *frames, ended = decode("dectris-v1", eiger1m(first))

    assert isinstance(started, SeriesStarted)
    assert (started.series, started.announced) == (series, 10)
    it = started.detector
    assert it.shape == (1062, 1028)
    assert it.mask is None  # the part is there, and empty
    assert it.saturation == 1702012
    assert it.wavelength_angstrom == pytest.approx(1.5418, rel=1e-5)
    assert [frame.number for frame in frames if isinstance(frame, Frame)] == list(range(10))
    for frame in (frames[0], frames[9]):
        assert isinstance(frame, Frame)
        assert_pixels(frame.payload, "lz4", "<u4", (1062, 1028))
    assert isinstance(ended, SeriesEnded)


def test_v1_joining_in_the_middle_of_a_series(eiger1m: Any) -> None:
    frame, ended = decode("dectris-v1", eiger1m(1)[-2:])
    assert isinstance(frame, Frame)
    assert frame.number == 9
    assert isinstance(ended, SeriesEnded)


@pytest.mark.parametrize("name", V2_500K)
@pytest.mark.parametrize("channel", [None, "threshold_1", "threshold_2", "difference"])
def test_v2_three_channels_without_a_start(
    wire_samples: Path, name: str, channel: str | None
) -> None:
    message = (wire_samples / "v2_dectris_500k" / f"r500k_bm_{name}_000001.cbor").read_bytes()
    (frame,) = decode("dectris-v2", [[message]], channel=channel)
    assert isinstance(frame, Frame)
    assert (frame.series, frame.number, frame.parts) == ("1", 0, (message,))
    dtype, encoding = V2_500K[name]
    assert_pixels(frame.payload, encoding, dtype, (514, 1030))
    theirs = cbor2.loads(message)["data"][channel or "threshold_1"]  # tag 40, typed, 56500
    assert bytes(frame.payload.data) == theirs.value[1].value.value[2]


def test_v2_end(wire_samples: Path) -> None:
    message = (wire_samples / "v2_dectris_500k" / "r500k_bm_bslz4_16bit_000011.cbor").read_bytes()
    (ended,) = decode("dectris-v2", [[message]])
    assert isinstance(ended, SeriesEnded)
    assert ended.series == "1"


def test_v2_eiger16m(wire_samples: Path) -> None:
    folder = wire_samples / "v2_eiger2_16m_dark"
    messages = [[(folder / f"{name}.cbor").read_bytes()] for name in ("start", "image", "end")]
    started, frame, ended = decode("dectris-v2", messages)

    assert isinstance(started, SeriesStarted)
    assert (started.series, started.announced) == ("15614", 1)
    assert started.unique_id == "01HBV3JPF9T4ZDPADX6EMK6XMZ"
    it = started.detector
    assert it.shape == (4362, 4148)
    assert it.mask is None  # 4 plain bytes where an array is due
    assert (it.saturation, it.underload) == (21517, 0.0)
    assert it.beam_x_px == pytest.approx(2049.384, abs=1e-3)
    assert it.beam_y_px == pytest.approx(2163.621, abs=1e-3)
    assert it.pixel_y_mm == pytest.approx(0.075)
    assert it.distance_mm == pytest.approx(237.159, abs=1e-3)
    assert it.wavelength_angstrom == pytest.approx(0.918381, abs=1e-6)

    assert isinstance(frame, Frame)
    assert_pixels(frame.payload, "bslz4", "<u2", (4362, 4148))
    assert isinstance(ended, SeriesEnded)
    assert ended.series == "15614"
