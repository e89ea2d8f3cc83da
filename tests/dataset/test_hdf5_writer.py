"""What the writer writes, the reader reads."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from hitfinder.dataset.frames import Label
from hitfinder.dataset.hdf5_writer import DIFFUSE_STRENGTH, SPOTS, series_writer
from hitfinder.dataset.series import open_series
from hitfinder.errors import DataFileError
from hitfinder.frame import Detector, array_payload
from hitfinder.wire.compression import recoded
from tests.dataset.files import counts

U2 = np.dtype(np.uint16)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    frames, mask = counts(3, 40, 50), np.zeros((40, 50), bool)
    mask[3] = True
    detector = Detector(
        shape=(40, 50),
        mask=mask,
        saturation=60000.0,
        underload=0.0,
        beam_x_px=20.5,
        beam_y_px=21.5,
        pixel_x_mm=0.075,
        pixel_y_mm=0.08,
        distance_mm=120.0,
        wavelength_angstrom=1.25,
    )
    path = tmp_path / "run.h5"
    spots = np.array([[1.5, 2.5, 9.0, 100.0]], np.float32)
    encoded = recoded(array_payload(frames[0]), carried=(), encoding="bslz4")
    with series_writer(path, shape=(40, 50), dtype=U2, detector=detector) as writer:
        writer.add(
            encoded,
            label=Label(truth="hit", tier="weak", artefacts=("salt", "cosmic"), diffuse=True),
            spots=spots,
            diffuse_strength=0.125,
        )
        writer.add(array_payload(frames[1]), label=Label(truth="ambiguous", diffuse=False))
        assert not path.exists()  # a reader never sees half a file
        writer.add(array_payload(frames[2]))
    (series,) = open_series([path])
    assert [frame.label for frame in series.frames] == [
        Label(truth="hit", tier="weak", artefacts=("salt", "cosmic"), diffuse=True),
        Label(truth="ambiguous", diffuse=False),
        None,
    ]
    assert [frame.load().encoding for frame in series.frames] == ["bslz4"] * 3
    assert series.frames[0].load().data == encoded.data
    for frame, expected in zip(series.frames, frames, strict=True):
        np.testing.assert_array_equal(frame.load().whole(), expected)
    with h5py.File(path) as file:  # by HDF5's own filter, too
        np.testing.assert_array_equal(file["entry/data/data"][()], frames)
        assert file[DIFFUSE_STRENGTH][()].tolist() == [0.125, 0.0, 0.0]
        assert file[SPOTS][()].tolist() == [[0, 1.5, 2.5, 9, 100]]
    got = series.detector
    assert got.mask is not None
    np.testing.assert_array_equal(got.mask, mask)
    for name in ("saturation", "underload", "beam_x_px", "beam_y_px", "pixel_x_mm", "pixel_y_mm"):
        assert getattr(got, name) == pytest.approx(getattr(detector, name))
    assert got.distance_mm == pytest.approx(120)
    assert got.wavelength_angstrom == pytest.approx(1.25)


def test_frames_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    with (
        pytest.raises(DataFileError, match="write them to a file of their own"),
        series_writer(path, shape=(4, 5), dtype=U2, detector=Detector()) as writer,
    ):
        writer.add(array_payload(counts(5, 4)))
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "run.h5"
    with (
        pytest.raises(DataFileError, match="cannot be written"),
        series_writer(path, shape=(4, 5), dtype=U2, detector=Detector()),
    ):
        pass
