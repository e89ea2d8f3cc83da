"""Masks from files of every format."""

from pathlib import Path

import numpy as np
import pytest
from fabio.tifimage import TifImage

from hitfinder.dataset.mask_file import load_mask
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


def test_a_mask_that_leaves_nothing_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.ones((4, 6), "u1"))
    with pytest.raises(DataFileError, match="masks every pixel"):
        load_mask(tmp_path / "m.npy")


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
