"""Regions against a reader that looks at one pixel at a time."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from hitfinder.errors import ConfigError, PayloadError
from hitfinder.frame import Detector, Payload, array_payload, decode_raw
from hitfinder.images import region
from hitfinder.images.gather import GatherMap
from hitfinder.images.region import ROWS_BETWEEN_MODULES, RegionSettings, plan_region
from hitfinder.wire.compression import CODECS, encoded_payload

DTYPES = ("u1", "<u2", ">u2", "<u4", "<u8", "i1", "<i2", "<i4", "<i8", "<f4", ">f4", "<f8")


def expected(
    frame: NDArray[Any], detector: Detector, top: int, left: int, rows: int, cols: int
) -> NDArray[np.float32]:
    """One pixel at a time, by the words of `Detector`."""
    height, width = frame.shape[-2:]
    stack = frame.reshape(-1, height, width)
    masks = None if detector.mask is None else detector.mask.reshape(stack.shape)
    pitch = height + (ROWS_BETWEEN_MODULES if len(stack) > 1 else 0)
    out = np.full((rows, cols), np.nan, np.float32)
    for row in range(rows):
        for col in range(cols):
            module, y = divmod(row + top, pitch)
            x = col + left
            if not (0 <= module < len(stack) and 0 <= y < height and 0 <= x < width):
                continue
            value = stack[module, y, x].item()
            flagged = (
                (masks is not None and bool(masks[module, y, x]))
                or not math.isfinite(value)
                or (detector.saturation is not None and value >= detector.saturation)
                or (detector.underload is not None and value < detector.underload)
                or (frame.dtype.kind == "u" and value == 2 ** (8 * frame.itemsize) - 1)
            )
            if not flagged:
                out[row, col] = value
    return out


@st.composite
def frames(draw: st.DrawFn) -> NDArray[Any]:
    shape = draw(
        st.one_of(
            st.tuples(st.integers(1, 12), st.integers(1, 12)),
            st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)),
        )
    )
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if dtype.kind == "f":
        special = np.array([np.nan, np.inf, -np.inf, -3.5, 0.0, 7.25, 100.0])
    else:
        bits = 8 * dtype.itemsize
        least = 0 if dtype.kind == "u" else -(2 ** (bits - 1))
        most = least + 2**bits - 1
        special = np.array([least, 0, 1, 7, 100, most - 1, most], dtype)
    return rng.choice(special, size=shape).astype(dtype)


LIMIT = st.one_of(st.none(), st.sampled_from((-1e30, -200.0, -1.0, 0.0, 0.5, 7.0, 99.5, 1e30)))


@settings(max_examples=150, deadline=None)
@given(
    frame=frames(),
    masked=st.booleans(),
    saturation=LIMIT,
    underload=LIMIT,
    box=st.tuples(st.integers(-8, 8), st.integers(-8, 8), st.integers(1, 24), st.integers(1, 16)),
)
def test_any_box_of_any_frame(
    frame: NDArray[Any],
    masked: bool,
    saturation: float | None,
    underload: float | None,
    box: tuple[int, int, int, int],
) -> None:
    mask = np.random.default_rng(0).random(frame.shape) < 0.2 if masked else None
    detector = Detector(mask=mask, saturation=saturation, underload=underload)
    top, left, rows, cols = box
    wanted = RegionSettings(kind="box", top=top, left=left, rows=rows, cols=cols)
    out = np.full((rows, cols), 12345.0, np.float32)
    try:
        reader = plan_region(wanted, frame.shape, detector, None)
    except ConfigError:
        assert np.isnan(expected(np.ones(frame.shape), Detector(), *box)).all()
        return
    assert reader.shape == (rows, cols)
    reader.read(array_payload(frame), out)
    np.testing.assert_array_equal(out, expected(frame, detector, *box))


@pytest.mark.parametrize("shape", [(9, 7), (3, 9, 7)])
def test_whole_frame(shape: tuple[int, ...]) -> None:
    frame = np.arange(math.prod(shape), dtype=np.int16).reshape(shape)
    reader = plan_region(RegionSettings(kind="whole"), shape, Detector(), None)
    out = np.empty(reader.shape, np.float32)
    reader.read(array_payload(frame), out)
    modules = math.prod(shape[:-2])
    assert reader.shape == (9 * modules + ROWS_BETWEEN_MODULES * (modules - 1), 7)
    np.testing.assert_array_equal(out, expected(frame, Detector(), 0, 0, *reader.shape))
    assert np.isfinite(out).sum() == frame.size


def test_modules_that_a_region_does_not_reach_cost_no_time() -> None:
    """One by one, those that this header claims would take minutes."""
    reader = plan_region(RegionSettings(), (2**31, 1, 1), Detector(), None)
    assert reader.shape == (350, 350)


@pytest.mark.parametrize("laid_out", [False, True])
def test_places_say_which_pixel_of_the_payload_is_seen(laid_out: bool) -> None:
    shape = (3, 9, 7)
    frame = np.arange(math.prod(shape), dtype=np.int32).reshape(shape)
    mask = np.random.default_rng(0).random(shape) < 0.2
    gather = None
    if laid_out:
        # An image of the last two modules, with pixels that are nowhere.
        index = np.arange(63, 189, dtype=np.int32)[::-1].reshape(9, 14).copy()
        index[::4, ::3] = -1
        gather = GatherMap(index=index, payload_shape=shape, beam_x_px=0.0, beam_y_px=0.0)
    wanted = RegionSettings(kind="box", top=3, left=-2, rows=30, cols=20)
    reader = plan_region(wanted, shape, Detector(mask=mask), gather)
    out = np.empty(reader.shape, np.float32)
    reader.read(array_payload(frame), out)
    places = reader.places()
    assert places.shape == reader.shape
    assert np.isfinite(out).sum() > 50
    np.testing.assert_array_equal(places, np.where(np.isnan(out), -1, out))


def spied(frame: NDArray[Any]) -> tuple[Payload, list[tuple[int, int]]]:
    """A payload that notes which elements were decoded."""
    asked: list[tuple[int, int]] = []

    def decode(payload: Payload, cuts: Sequence[int]) -> Iterator[NDArray[Any]]:
        asked.append((cuts[0], cuts[-1]))
        return decode_raw(payload, cuts)

    plain = array_payload(frame)
    return Payload(data=plain.data, dtype=plain.dtype, shape=plain.shape, decode=decode), asked


@pytest.mark.parametrize(
    ("shape", "wanted", "rows"),
    [
        ((20, 6), RegionSettings(rows=4, cols=4), (8, 12)),
        ((20, 6), RegionSettings(rows=30, cols=4), (0, 20)),
        ((20, 6), RegionSettings(kind="whole"), (0, 20)),
        ((20, 6), RegionSettings(kind="box", top=18, left=1, rows=9, cols=2), (18, 20)),
        # two modules of 5 rows: row 3 of the first to row 1 of the second
        ((4, 5, 6), RegionSettings(kind="box", top=3, left=0, rows=19, cols=6), (3, 7)),
    ],
)
def test_only_the_rows_needed_are_decoded_and_once(
    shape: tuple[int, ...], wanted: RegionSettings, rows: tuple[int, int]
) -> None:
    payload, asked = spied(np.zeros(shape, np.uint16))
    reader = plan_region(wanted, shape, Detector(), None)
    reader.read(payload, np.empty(reader.shape, np.float32))
    assert asked == [(rows[0] * 6, rows[1] * 6)]


@pytest.mark.parametrize("shape", [(40, 30), (3, 13, 30)])
@pytest.mark.parametrize("dtype", ["<u2", "<i4", "<f4"])
def test_a_large_region_is_read_a_few_rows_at_a_time(
    shape: tuple[int, ...], dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(region, "PIXELS_AT_ONCE", 7 * 30)
    rng = np.random.default_rng(0)
    frame = rng.choice([0, 3, 50, 100, 101], shape).astype(dtype)
    detector = Detector(mask=rng.random(shape) < 0.1, saturation=101, underload=1)
    reader = plan_region(RegionSettings(kind="whole"), shape, detector, None)
    out = np.zeros(reader.shape, np.float32)
    for payload in (array_payload(frame), bslz4(frame)):
        out[...] = 0
        reader.read(payload, out)
        np.testing.assert_array_equal(out, expected(frame, detector, 0, 0, *reader.shape))
    with pytest.raises(PayloadError):
        reader.read(bslz4(frame, cut=10), out)


def bslz4(frame: NDArray[Any], cut: int = 0) -> Payload:
    data = bytes(CODECS["bslz4"].encode(frame))
    return encoded_payload(
        data[: len(data) - cut], dtype=frame.dtype, shape=frame.shape, encoding="bslz4"
    )


def test_centre_is_around_the_image_or_the_beam() -> None:
    frame = np.arange(400, dtype=np.int32).reshape(20, 20)
    detector = Detector(beam_x_px=5.5, beam_y_px=12.0)
    out = np.empty((3, 4), np.float32)
    plan_region(RegionSettings(rows=3, cols=4), (20, 20), detector, None).read(
        array_payload(frame), out
    )
    assert out[0, 0] == 8 * 20 + 8
    around_beam = RegionSettings(rows=3, cols=4, around="beam")
    plan_region(around_beam, (20, 20), detector, None).read(array_payload(frame), out)
    assert out[0, 0] == 11 * 20 + 4


def test_a_reader_knows_where_its_beam_is() -> None:
    detector = Detector(beam_x_px=5.5, beam_y_px=12.0)
    box = RegionSettings(kind="box", top=-2, left=4, rows=30, cols=4)
    assert plan_region(box, (20, 20), detector, None).beam_px == (14.0, 1.5)
    assert plan_region(box, (20, 20), Detector(), None).beam_px is None
    assert plan_region(box, (2, 20, 20), detector, None).beam_px is None  # of which module?
    gather = GatherMap(
        index=np.arange(400, dtype=np.int32).reshape(20, 20),
        payload_shape=(2, 10, 20),
        beam_x_px=3.0,
        beam_y_px=-7.0,
    )
    assert plan_region(box, (2, 10, 20), detector, gather).beam_px == (-5.0, -1.0)


@pytest.mark.parametrize(
    ("wanted", "shape", "detector", "told"),
    [
        (RegionSettings(around="beam"), (9, 9), Detector(), "beam centre is unknown"),
        (
            RegionSettings(around="beam"),
            (2, 9, 9),
            Detector(beam_x_px=1.0, beam_y_px=1.0),
            "has no geometry",
        ),
        (RegionSettings(kind="box", top=50, left=0), (9, 9), Detector(), "holds no pixel"),
        (RegionSettings(), (9,), Detector(), "are no images"),
        (RegionSettings(), (9, 0), Detector(), "are no images"),
        (
            RegionSettings(),
            (9, 9),
            Detector(mask=np.zeros((8, 9), np.bool_)),
            "mask has shape",
        ),
    ],
)
def test_what_does_not_fit_is_refused(
    wanted: RegionSettings, shape: tuple[int, ...], detector: Detector, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        plan_region(wanted, shape, detector, None)


def test_frame_of_another_shape_or_kind_is_a_payload_error() -> None:
    reader = plan_region(RegionSettings(kind="whole"), (4, 6), Detector(), None)
    out = np.empty((4, 6), np.float32)
    with pytest.raises(PayloadError, match=r"\(6, 4\)"):
        reader.read(array_payload(np.zeros((6, 4), np.uint16)), out)
    with pytest.raises(PayloadError, match="complex64"):
        reader.read(array_payload(np.zeros((4, 6), np.complex64)), out)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "box"},
        {"kind": "box", "top": 1},
        {"top": 1, "left": 1},
        {"rows": 0},
        {"cols": 100_001},
        {"kind": "circle"},
    ],
)
def test_settings_that_contradict_themselves_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RegionSettings.model_validate(wrong)
