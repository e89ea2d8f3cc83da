"""What recipes learn from."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hitfinder.dataset.frames import Label
from hitfinder.dataset.labels import apply_labels
from hitfinder.dataset.series import open_series
from hitfinder.errors import DataFileError
from hitfinder.images.region import RegionSettings
from hitfinder.simulation.simulator import Simulator
from hitfinder.training.samples import (
    LEARNED_FROM,
    SHOTS,
    Files,
    Samples,
    Simulated,
    check_classes,
    is_strong,
)
from tests.training.material import HITS, MISSES, draws, half_hits, write_run


def brightest(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """(k, H, W) to (k,): little to carry between processes."""
    peak: NDArray[np.float32] = np.nanmax(images, axis=(1, 2))
    return peak


def as_they_are(images: NDArray[np.float32]) -> NDArray[np.float32]:
    return images


def material(processes: int) -> Simulated:
    return Simulated(
        runs={"training": draws((1, 2)), "calibration": draws((3,)), "test": draws((4,))},
        shots={"training": SHOTS + 3, "calibration": 2, "test": 2},
        processes=processes,
        words="little",
    )


def same(some: list[Samples], others: list[Samples]) -> bool:
    return all(
        a.run == b.run
        and a.labels == b.labels
        and np.array_equal(a.inputs, b.inputs, equal_nan=True)
        and all(np.array_equal(c, d) for c, d in zip(a.spots, b.spots, strict=True))
        for a, b in zip(some, others, strict=True)
    )


def test_the_number_of_processes_changes_nothing() -> None:
    told: list[int] = []
    one = material(1).load("training", brightest, told.append)
    assert [each.run for each in one] == ["run1", "run2"]
    assert [len(each) for each in one] == [SHOTS + 3] * 2
    assert sum(told) == material(1).count("training")
    assert same(one, material(3).load("training", brightest, lambda _: None))


def test_what_is_simulated_is_what_a_model_sees() -> None:
    """NaN where nothing was measured. What a model is measured by is labelled as in files; what
    it learns from, by the spots that it can see, and these are shots that no file holds.
    """
    (run,) = material(1).load("test", as_they_are, lambda _: None)
    simulator = Simulator(half_hits(4))
    frame = simulator.shot(1)
    measured = ~np.isnan(run.inputs[1])
    assert simulator.detector.mask is not None
    assert not measured[simulator.detector.mask].any()
    assert measured.mean() > 0.5
    np.testing.assert_array_equal(run.inputs[1][measured], frame.pixels[measured])
    assert run.labels[1] == frame.label

    (calibrated,) = material(1).load("calibration", as_they_are, lambda _: None)
    for image, spots in zip(calibrated.inputs, calibrated.spots, strict=True):
        cols, rows = spots.astype(np.intp).T
        assert np.isfinite(image[rows, cols]).all()
    learned = material(1).load("training", as_they_are, lambda _: None)[0]
    shot = Simulator(half_hits(1)).shot(LEARNED_FROM)
    measured = np.isfinite(learned.inputs[0])
    np.testing.assert_array_equal(learned.inputs[0][measured], shot.pixels[measured])


def files(*paths: Path) -> Files:
    return Files(
        parts={"training": open_series(list(paths)), "calibration": (), "test": ()},
        region=RegionSettings(kind="whole"),
        words="files",
    )


def test_files_are_labelled_and_their_peaks_are_spots(tmp_path: Path) -> None:
    """A peak finder stands in for the truth: most that it sees are spots, where they are."""
    path = write_run(tmp_path / "run.h5", 5, 12)
    (run,) = files(path).load("training", as_they_are, lambda _: None)
    frames = [Simulator(half_hits(5)).shot(number) for number in range(12)]
    assert run.labels == tuple(frame.label for frame in frames)
    hits = [place for place, label in enumerate(run.labels) if label.truth == "hit"]
    assert hits
    for place, spots in enumerate(run.spots):
        if place not in hits:
            assert len(spots) == 0
            continue
        truth = frames[place].spots[:, :2]
        distance = np.hypot(*(spots[:, None] - truth[None]).T).min(axis=0)
        assert len(spots) > 5
        assert (distance < 1.0).mean() > 0.8


def test_runs_of_one_name_stay_apart(tmp_path: Path) -> None:
    paths = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        paths.append(write_run(tmp_path / folder / "run.h5", 5, 2))
    runs = files(*paths).load("training", brightest, lambda _: None)
    assert [each.run for each in runs] == ["a/run", "b/run"]


def test_a_frame_that_cannot_be_read_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "run.npy"
    frames = np.ones((3, 20, 20), np.float32)
    frames[:2] = np.nan
    np.save(f"{path}", frames)
    labels = tmp_path / "labels.csv"
    labels.write_text("file,frame,label\nrun.npy,1,hit\nrun.npy,2,miss\n")
    broken = Files(
        parts={"training": apply_labels(open_series([Path(f"{path}::frames")]), labels)},
        region=RegionSettings(kind="whole"),
        words="files",
    )
    with pytest.raises(DataFileError, match=r"frame 1: no pixel .* label it ambiguous"):
        broken.load("training", as_they_are, lambda _: None)


def labelled(*labels: Label) -> Samples:
    return Samples(
        run="run",
        inputs=np.zeros((len(labels), 1), np.float32),
        labels=labels,
        spots=(np.empty((0, 2), np.float32),) * len(labels),
    )


def test_truths_and_strong_hits() -> None:
    weak, unknown = Label(truth="hit", tier="weak"), Label(truth="hit")
    samples = labelled(HITS, MISSES, weak, unknown, Label(truth="ambiguous"))
    assert samples.truths.tolist() == [1, 0, 1, 1, -1]
    assert samples.strong.tolist() == [True, False, False, True, False]
    assert not is_strong(None)


def test_both_classes_are_needed() -> None:
    check_classes([labelled(HITS), labelled(MISSES)])
    with pytest.raises(DataFileError, match="none of the 2 frames to train on is labelled miss"):
        check_classes([labelled(HITS), labelled(HITS)])
    with pytest.raises(DataFileError, match="is labelled hit"):
        check_classes([labelled(MISSES)])
