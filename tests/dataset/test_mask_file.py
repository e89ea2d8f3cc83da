"""Masks from files of every format."""

import struct
from pathlib import Path

import numpy as np
import pytest
from fabio.tifimage import TifImage

from hitfinder.dataset.mask_file import load_mask
from hitfinder.dataset.series import open_series
from hitfinder.errors import DataFileError
from tests.dataset.files import write_hdf5

MASK = np.zeros((4, 6), bool)
MASK[1, 2:4] = True


def _npy(folder: Path) -> str:
    np.save(folder / "m.npy", MASK)
    return str(folder / "m.npy")


def _tiff(folder: Path) -> str:
    TifImage(data=MASK.astype(np.uint8) * 255).write(str(folder / "m.tif"))
    return str(folder / "m.tif")


def _usual(folder: Path) -> str:
    return str(
        write_hdf5(folder / "m.h5", entry__instrument__detector__pixel_mask=MASK.astype("u4") * 8)
    )


def _named(folder: Path) -> str:
    return f"{write_hdf5(folder / 'm.h5', my__mask=MASK)}::/my/mask"


@pytest.mark.parametrize("make", [_npy, _tiff, _usual, _named])
def test_nonzero_is_masked(tmp_path: Path, make: object) -> None:
    assert callable(make)
    mask = load_mask(Path(make(tmp_path)))
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, MASK)


@pytest.mark.parametrize("place", ["", "::entry_1/instrument_1/detector_1/mask"])
def test_a_cxi_mask_says_the_same_as_beside_its_frames(tmp_path: Path, place: str) -> None:
    # hot; a peak, a corrected background and a signal, which are no faults
    values = np.where(MASK, 4, 0x2000 | 0x4000 | 0x10000).astype("u4")
    path = write_hdf5(
        tmp_path / "run.cxi",
        entry_1__data_1__data=np.zeros((2, 4, 6), "u2"),
        entry_1__instrument_1__detector_1__mask=values,
    )
    (series,) = open_series([path])
    assert series.detector.mask is not None
    np.testing.assert_array_equal(series.detector.mask, MASK)
    np.testing.assert_array_equal(load_mask(Path(f"{path}{place}")), MASK)


def test_a_mask_that_leaves_nothing_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.ones((4, 6), "u1"))
    with pytest.raises(DataFileError, match="masks every pixel"):
        load_mask(tmp_path / "m.npy")


def test_a_mask_that_would_be_read_wrongly_is_refused(tmp_path: Path) -> None:
    header = struct.pack("<2sHI", b"II", 42, 8)
    page = struct.pack("<HHHIHxxI", 1, 259, 3, 1, 32773, 0)  # its compression, and no next one
    (tmp_path / "m.tif").write_bytes(header + page)
    with pytest.raises(DataFileError, match="is compressed by PackBits"):
        load_mask(tmp_path / "m.tif")


def test_modules_have_a_mask_too(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.stack([MASK, ~MASK]))
    assert load_mask(tmp_path / "m.npy").shape == (2, 4, 6)


def test_files_without_a_mask(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="has no mask at"):
        load_mask(write_hdf5(tmp_path / "m.h5", other=MASK))
    np.save(tmp_path / "m.npy", np.zeros(5))
    with pytest.raises(DataFileError, match="are no frame"):
        load_mask(tmp_path / "m.npy")
    (tmp_path / "e.npy").write_bytes(b"")
    with pytest.raises(DataFileError, match="no readable NumPy file"):
        load_mask(tmp_path / "e.npy")
    for name in ("gone.npy", "gone.h5", "gone.tif", "gone.xyz"):
        with pytest.raises(DataFileError, match=name):
            load_mask(tmp_path / name)
