"""`hitfinder peaks` and `hitfinder label` on files."""

import csv
from pathlib import Path

import h5py
import numpy as np
import pytest

from hitfinder.commands import label, peaks
from hitfinder.dataset.frames import Label
from hitfinder.dataset.hdf5_writer import series_writer
from hitfinder.dataset.labels import read_labels
from hitfinder.errors import ConfigError, DataFileError
from hitfinder.frame import Detector, array_payload

SHAPE = (400, 420)
SPOTS = (14, 0, 5, 1)
"""Spots in each frame; the first lies outside the middle 350 x 350."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "run.h5"
    rng = np.random.default_rng(8)
    detector = Detector(beam_x_px=210.0, beam_y_px=200.0)
    with series_writer(path, shape=SHAPE, dtype=np.dtype(np.int16), detector=detector) as writer:
        for n_spots in SPOTS:
            frame = rng.normal(100, 5, SHAPE).astype(np.int16)
            for spot in range(n_spots):
                row, col = (10, 12) if spot == 0 else (60 + 20 * spot, 50 + 22 * spot)
                frame[row : row + 3, col : col + 3] += 300
            writer.add(array_payload(frame), label=Label(truth="miss"))
    return path


def search(file: Path, region: str = "whole", csv_path: Path | None = None) -> int:
    return peaks.run(
        [file],
        region=region,
        threshold=None,
        min_snr=5.0,
        min_pixels=2,
        max_pixels=200,
        csv_path=csv_path,
    )


def write_label(file: Path, out: Path, hit_above: int = 10, miss_below: int = 2) -> int:
    return label.run(
        [file],
        out=out,
        region="whole",
        threshold=None,
        min_snr=5.0,
        min_pixels=2,
        max_pixels=200,
        hit_above=hit_above,
        miss_below=miss_below,
    )


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_one_row_a_peak(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "peaks.csv"
    assert search(file, csv_path=out) == 0
    rows = rows_of(out)
    assert tuple(rows[0]) == peaks.COLUMNS
    assert [sum(row["frame"] == str(n) for row in rows) for n in range(4)] == list(SPOTS)
    last = rows[-1]
    assert (last["file"], last["frame"], last["pixels"]) == (str(file), "3", "9")
    assert (float(last["x_px"]), float(last["y_px"])) == pytest.approx((13.5, 11.5), abs=0.1)
    assert float(last["intensity"]) == pytest.approx(2700, rel=0.03)


def test_the_center_counts_in_pixels_of_the_whole(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "peaks.csv"
    assert search(file, region="center", csv_path=out) == 0
    rows = rows_of(out)
    assert [sum(row["frame"] == str(n) for row in rows) for n in range(4)] == [13, 0, 4, 0]
    first = rows[0]
    assert (float(first["x_px"]), float(first["y_px"])) == pytest.approx((73.5, 81.5), abs=0.1)


def test_li_s_rule(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.csv"
    assert write_label(file, out) == 0
    assert [(row.file, row.frame, row.label.truth) for row in read_labels(out)] == [
        (str(file), 0, "hit"),
        (str(file), 1, "miss"),
        (str(file), 2, "ambiguous"),
        (str(file), 3, "miss"),
    ]
    out.unlink()
    assert write_label(file, out, hit_above=4, miss_below=1) == 0
    truths = [row.label.truth for row in read_labels(out)]
    assert truths == ["hit", "miss", "hit", "ambiguous"]


@pytest.mark.parametrize(("n_peaks", "truth"), [(0, "miss"), (1, "miss"), (2, "ambiguous")])
def test_few_peaks(n_peaks: int, truth: str) -> None:
    assert label.truth_of(n_peaks) == truth


@pytest.mark.parametrize(("n_peaks", "truth"), [(10, "ambiguous"), (11, "hit")])
def test_many_peaks(n_peaks: int, truth: str) -> None:
    assert label.truth_of(n_peaks) == truth


def test_an_unreadable_frame_is_told_and_gets_no_label(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with h5py.File(file) as opened:
        chunk = opened["/entry/data/data"].id.get_chunk_info(2)
    with file.open("r+b") as stream:
        stream.seek(chunk.byte_offset)
        stream.write(b"\xff" * chunk.size)
    out = tmp_path / "labels.csv"
    assert write_label(file, out) == 1
    assert [row.frame for row in read_labels(out)] == [0, 1, 3]
    told = capsys.readouterr()
    assert f"{file}, frame 2: " in told.err
    assert "1 frames unreadable" in told.out
    assert search(file) == 1


def test_a_frame_of_which_nothing_was_measured_is_no_miss(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "run.h5", tmp_path / "labels.csv"
    frames = np.random.default_rng(8).normal(100, 5, (3, *SHAPE)).astype(np.float32)
    frames[1] = np.nan
    with h5py.File(file, "w") as opened:
        opened["entry/data/data"] = frames
    assert write_label(file, out) == 1
    assert [(row.frame, row.label.truth) for row in read_labels(out)] == [(0, "miss"), (2, "miss")]
    assert f"{file}, frame 1: no pixel of the region was measured" in capsys.readouterr().err


def test_mistakes_are_one_line(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--region middle"):
        search(file, region="middle")
    with pytest.raises(ConfigError, match="no such folder"):
        search(file, csv_path=tmp_path / "none" / "peaks.csv")
    with pytest.raises(ConfigError, match="--miss-below"):
        write_label(file, tmp_path / "labels.csv", hit_above=1, miss_below=5)
    with pytest.raises(DataFileError, match="no such file"):
        search(tmp_path / "none.h5")
