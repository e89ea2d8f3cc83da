"""Bins against means of what is read pixel by pixel."""

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hitfinder.errors import ConfigError, PayloadError
from hitfinder.frame import Detector, Payload, array_payload
from hitfinder.images import binning
from hitfinder.images.binning import binned
from hitfinder.images.gather import GatherMap
from hitfinder.images.reader import RegionReader
from hitfinder.images.region import RegionSettings, plan_region
from hitfinder.wire.compression import CODECS, encoded_payload
from tests.images.test_region import LIMIT, frames

WHOLE = RegionSettings(kind="whole")


def pixels_of(reader: RegionReader, payload: Payload) -> NDArray[np.float64]:
    pixels = np.empty(reader.shape, np.float32)
    reader.read(payload, pixels)
    return pixels.astype(np.float64)


def means(pixels: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    rows, cols = (side // size for side in pixels.shape)
    cut = pixels[: rows * size, : cols * size]
    found: NDArray[np.float64] = cut.reshape(rows, size, cols, size).mean((1, 3))
    return found


def expected(reader: RegionReader, payload: Payload, size: int) -> NDArray[np.float64]:
    return means(pixels_of(reader, payload), size)


def read(reader: RegionReader, payload: Payload, size: int) -> NDArray[np.float32]:
    bins = binned(reader, size)
    out = np.full(bins.shape, 12345.0, np.float32)
    bins.read(payload, out)
    return out


@settings(max_examples=150, deadline=None)
@given(
    frame=frames(),
    size=st.integers(1, 5),
    masked=st.booleans(),
    saturation=LIMIT,
    underload=LIMIT,
    box=st.tuples(st.integers(-3, 3), st.integers(-3, 3), st.integers(1, 24), st.integers(1, 16)),
    whole=st.booleans(),
)
def test_any_bins_of_any_frame(
    frame: NDArray[Any],
    size: int,
    masked: bool,
    saturation: float | None,
    underload: float | None,
    box: tuple[int, int, int, int],
    whole: bool,
) -> None:
    mask = np.random.default_rng(0).random(frame.shape) < 0.05 if masked else None
    detector = Detector(mask=mask, saturation=saturation, underload=underload)
    top, left, rows, cols = box
    of = WHOLE if whole else RegionSettings(kind="box", top=top, left=left, rows=rows, cols=cols)
    try:
        reader = plan_region(of, frame.shape, detector, None)
        found = read(reader, array_payload(frame), size)
    except ConfigError:
        return
    pixels = pixels_of(reader, array_payload(frame))
    wanted = means(pixels, size)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
    # In a sum of float32, large values of both signs of the same bin may cancel.
    measured = ~np.isnan(wanted)
    away = np.abs(found - wanted)[measured]
    assert (away <= 1e-6 * means(np.abs(pixels), size)[measured]).all()


@pytest.mark.parametrize("encoding", ["raw", "lz4", "bslz4"])
@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_bands_of_a_large_frame(
    encoding: str, dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binning, "PIXELS_AT_ONCE", 2000)
    rng = np.random.default_rng(1)
    frame: NDArray[Any] = rng.integers(0, 1000, (203, 301)).astype(dtype)
    frame[rng.random(frame.shape) < 0.01] = -1 if dtype is np.int32 else 65535
    mask = rng.random(frame.shape) < 0.01
    reader = plan_region(WHOLE, frame.shape, Detector(mask=mask, saturation=995, underload=0), None)
    payload = encoded_payload(
        CODECS[encoding].encode(frame), dtype=frame.dtype, shape=frame.shape, encoding=encoding
    )
    found = read(reader, payload, 4)
    assert found.shape == (50, 75)
    assert 0.3 < np.isnan(found).mean() < 0.6
    np.testing.assert_allclose(found, expected(reader, payload, 4), rtol=1e-6)


def test_what_is_left_over_is_never_decoded() -> None:
    frame = np.ones((21, 8), np.uint8)
    frame[20] = 255
    reader = plan_region(WHOLE, frame.shape, Detector(), None)
    assert (read(reader, array_payload(frame), 4) == 1).all()


def test_an_assembled_image() -> None:
    index = np.arange(144, dtype=np.int32)[::-1].reshape(12, 12).copy()
    index[:4, :4] = -1
    gather = GatherMap(index=index, payload_shape=(144, 1), beam_x_px=0.0, beam_y_px=0.0)
    reader = plan_region(WHOLE, (144, 1), Detector(), gather)
    payload = array_payload(np.arange(144, dtype=np.int16).reshape(144, 1))
    found = read(reader, payload, 4)
    assert np.isnan(found).sum() == 1
    np.testing.assert_allclose(found, expected(reader, payload, 4))


def test_values_beyond_float32_are_no_measurement() -> None:
    frame = np.ones((4, 8))
    frame[0, 0], frame[3, 3] = 1e300, -1e300
    reader = plan_region(WHOLE, frame.shape, Detector(), None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read(reader, array_payload(frame), 4)
    np.testing.assert_array_equal(found, [[np.nan, 1.0]])


def test_a_region_that_is_too_small_is_told() -> None:
    reader = plan_region(RegionSettings(rows=3, cols=30), (50, 50), Detector(), None)
    with pytest.raises(ConfigError, match=r"3 x 30 pixels is too small .* 4 x 4; make"):
        binned(reader, 4)


def test_bins_of_one_pixel_are_the_region_itself() -> None:
    reader = plan_region(WHOLE, (50, 50), Detector(), None)
    assert binned(reader, 1) is reader


@pytest.mark.parametrize("shape", [(12, 12), (2, 12, 12)])
def test_another_shape_or_type_is_refused(shape: tuple[int, ...]) -> None:
    bins = binned(plan_region(WHOLE, shape, Detector(), None), 4)
    out = np.empty(bins.shape, np.float32)
    with pytest.raises(PayloadError, match="where the region expects"):
        bins.read(array_payload(np.zeros((12, 13), np.uint8)), out)
    with pytest.raises(PayloadError, match="neither integers nor floats"):
        bins.read(array_payload(np.zeros(shape, np.complex64)), out)
