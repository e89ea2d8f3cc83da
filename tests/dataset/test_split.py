"""Runs to parts: whole, with both classes in each, the same for the same seed."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hitfinder.dataset.frames import FrameRef, Label, Series, Truth
from hitfinder.dataset.split import DIFFUSE, Split, split_runs
from hitfinder.errors import ConfigError, DataFileError
from hitfinder.frame import Detector, Payload

TRUTHS: dict[str, Truth] = {"h": "hit", "m": "miss", "a": "ambiguous"}


def _never(path: Path, index: int) -> Payload:
    raise DataFileError("a split reads no pixels")


def _runs(*runs: str) -> list[Series]:
    """A run for each text, a frame for each letter: h hit, m miss, a ambiguous, - unlabelled."""
    return [
        Series(
            name=f"run{number}",
            shape=(8, 9),
            dtype=np.dtype("u2"),
            detector=Detector(),
            frames=tuple(
                FrameRef(
                    path=Path(f"run{number}.h5"),
                    index=index,
                    read=_never,
                    label=Label(truth=TRUTHS[letter]) if letter in TRUTHS else None,
                )
                for index, letter in enumerate(letters)
            ),
        )
        for number, letters in enumerate(runs)
    ]


def _parts(split: Split) -> list[tuple[Series, ...]]:
    return [split.train, split.calibrate, split.test]


def _frames(part: tuple[Series, ...]) -> list[tuple[str, int]]:
    return [(frame.path.stem, frame.index) for one in part for frame in one.frames]


def _truths(part: tuple[Series, ...]) -> set[Truth | None]:
    return {frame.truth for one in part for frame in one.frames}


RUN = st.text("hma-", min_size=1, max_size=12)


@given(runs=st.lists(RUN, min_size=3, max_size=9), seed=st.integers(0, 2**32))
def test_whole_runs_with_both_classes_wherever_that_is_possible(runs: list[str], seed: int) -> None:
    classes = [set(run) & {"h", "m"} for run in runs]
    both = sum(len(each) == 2 for each in classes)
    hits, misses = classes.count({"h"}), classes.count({"m"})
    assume(both + hits + misses >= 3)
    series = _runs(*runs)
    if both + min(hits, misses) < 3:
        with pytest.raises(DataFileError, match=r"^the data: "):
            split_runs(series, seed=seed)
        return
    if any(sum(run.count(letter) for run in runs) < 3 for letter in "hm"):
        return
    split = split_runs(series, seed=seed)
    parts = _parts(split)
    assert not split.by_blocks
    assert all(_truths(part) == {"hit", "miss"} for part in parts)
    names = [one.name for part in parts for one in part]
    assert len(names) == len(set(names))
    expected = [
        (f"run{number}", index)
        for number, run in enumerate(runs)
        for index, letter in enumerate(run)
        if letter in "hm"
    ]
    assert sorted(frame for part in parts for frame in _frames(part)) == sorted(expected)
    assert split == split_runs(series, seed=seed)


@given(runs=st.lists(st.text("hm-", min_size=30, max_size=60), min_size=1, max_size=2))
def test_few_runs_are_cut_into_blocks_in_time(runs: list[str]) -> None:
    assume(all({"h", "m"} <= set(run[start : start + 6]) for run in runs for start in (0, 12, 24)))
    try:
        split = split_runs(_runs(*runs), seed=1)
    except DataFileError:
        return
    assert split.by_blocks
    parts = _parts(split)
    assert all(_truths(part) == {"hit", "miss"} for part in parts)
    for part in parts:
        assert _frames(part) == sorted(_frames(part))
    every = [frame for part in parts for frame in _frames(part)]
    assert len(every) == len(set(every))


def test_one_run_with_mixed_frames_makes_five_blocks() -> None:
    split = split_runs(_runs("hm" * 50), seed=1)
    assert split.by_blocks
    owner = {index: at for at, part in enumerate(_parts(split)) for _, index in _frames(part)}
    changes = [index for index in range(1, 100) if owner[index] != owner[index - 1]]
    assert len(changes) <= 4
    assert all(index % 20 == 0 for index in changes)
    assert [len(_frames(part)) for part in _parts(split)] == [60, 20, 20]


def test_spells_of_hits_make_more_blocks() -> None:
    split = split_runs(_runs(("h" * 20 + "m" * 20) * 5), seed=1)
    assert split.by_blocks
    assert all(_truths(part) == {"hit", "miss"} for part in _parts(split))


def test_shares_are_of_frames() -> None:
    split = split_runs(_runs(*["hm" * size for size in (300, 10, 90, 100, 10)]), seed=1)
    sizes = [len(_frames(part)) for part in _parts(split)]
    assert 600 <= sizes[0] <= 640
    assert min(sizes[1:]) >= 180
    split = split_runs(_runs(*["hm" * 10] * 10), seed=1, shares=(1, 1, 2))
    assert [len(part) for part in _parts(split)] in ([3, 2, 5], [2, 3, 5])


def test_the_seed_chooses_among_runs_that_are_alike() -> None:
    series = _runs(*["hm" * 10] * 10)
    tests = {tuple(one.name for one in split_runs(series, seed=seed).test) for seed in range(10)}
    assert len(tests) > 5


def test_a_part_may_be_left_out() -> None:
    split = split_runs(_runs("hmhm", "hmhm"), seed=1, shares=(0.5, 0.5, 0))
    assert not split.by_blocks
    assert [len(part) for part in _parts(split)] == [1, 1, 0]


@pytest.mark.parametrize("shares", [(0.0, 0.5, 0.5), (0.8, 0.4, -0.2)])
def test_shares_that_are_none(shares: tuple[float, float, float]) -> None:
    with pytest.raises(ConfigError, match="shares"):
        split_runs(_runs("hmhmhm"), seed=1, shares=shares)


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([], "no frame is labelled hit or miss"),
        (["--a", "a"], "no frame is labelled hit or miss"),
        (["mmm", "mma", "m"], "of 6 labelled frames none is a hit; add runs with hits"),
        (["hhh"], "of 3 labelled frames none is a miss; add runs with misses"),
        (["hmmmmmmmmm", "mmmh"], "2 hits are too few for 3 parts"),
        (["hhhmmm"], "3 parts made of at least 5 consecutive frames"),
        (["m" * 100 + "hhh"], "3 parts made of at least 5 consecutive frames"),
        (["hhm", "hmm", "hh", "h"], "of 4 runs have run2 only hits, run3 only hits; label what"),
    ],
)
def test_data_that_cannot_be_split(runs: list[str], message: str) -> None:
    with pytest.raises(DataFileError, match=message):
        split_runs(_runs(*runs), seed=1)


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        (["--a"], "no hit is labelled as with or without diffuse scattering; fill in the column"),
        (["mmm"], "none is a hit with diffuse scattering; add runs"),
        (["hhh"], "none is a hit without; add runs with hits without diffuse"),
        (["hmmmmmmmmm"], "1 hits with diffuse scattering are too few"),
        (["hhm", "hmm", "hh", "h"], "have run2 only hits with diffuse scattering, run3"),
    ],
)
def test_hits_are_named_by_what_they_are_split_by(runs: list[str], message: str) -> None:
    with pytest.raises(DataFileError, match=message):
        split_runs(_runs(*runs), seed=1, classes=DIFFUSE)


def test_a_file_in_two_runs() -> None:
    series = _runs("hmhm", "hmhm", "hmhm")
    with pytest.raises(DataFileError, match=r"run0\.h5: its frames are given twice"):
        split_runs([*series, series[0]], seed=1)
