"""Pixels come out of a raster as they went in."""

import zlib

import numpy as np
import pytest
from numpy.typing import NDArray

from hitfinder.monitor.raster import MOST_PIXELS, NOT_MEASURED, Raster, raster


def unpacked(made: Raster) -> NDArray[np.float64]:
    content = zlib.decompress(made.gzip, 16 + zlib.MAX_WBITS)
    values = np.frombuffer(content, np.dtype(made.dtype).newbyteorder("<")).astype(np.float64)
    if made.dtype == "uint16":
        values[values == NOT_MEASURED] = np.nan
    return values.reshape(made.rows, made.cols)


@pytest.mark.parametrize(
    ("pixels", "dtype"),
    [
        ([[0, 1], [65534, np.nan]], "uint16"),
        ([[0, 1], [65535, np.nan]], "float32"),
        ([[0, 1.5], [3, np.nan]], "float32"),
        ([[-1, 1], [3, 4]], "float32"),
        ([[np.nan, np.nan], [np.nan, np.nan]], "uint16"),
    ],
)
def test_nothing_is_lost(pixels: list[list[float]], dtype: str) -> None:
    given = np.array(pixels, np.float32)
    made = raster(given)
    assert made.dtype == dtype
    np.testing.assert_array_equal(unpacked(made), given)


def test_a_large_image_shows_the_brightest_of_each_block() -> None:
    rows, cols = 1500, 2001
    pixels = np.zeros((rows, cols), np.float32)
    pixels[1499, 2000] = 9
    pixels[3, 5] = 7
    pixels[100:200] = np.nan
    made = raster(pixels)
    assert made.binning == 2
    assert made.rows * made.cols <= MOST_PIXELS
    shown = unpacked(made)
    assert shown.shape == (750, 1001)
    assert shown[749, 1000] == 9
    assert shown[1, 2] == 7
    assert np.isnan(shown[50:100]).all()
    assert np.nansum(shown) == 16
