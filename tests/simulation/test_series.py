"""Files hold what the simulator made, the same bytes every time."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from hitfinder.commands.simulate import run as simulate
from hitfinder.dataset.series import open_series
from hitfinder.errors import ConfigError
from hitfinder.simulation.catalog import EXPERIMENTS, NAMED, PAPER_RUNS, central
from hitfinder.simulation.random_diffuse import random_diffuse_run
from hitfinder.simulation.random_run import random_run
from hitfinder.simulation.run import Artefacts
from hitfinder.simulation.series import write_demo_series, write_series
from hitfinder.simulation.simulator import Simulator
from tests.simulation.runs import INTEGRATING, PLAIN


def test_a_file_holds_the_frames_and_their_truth(tmp_path: Path) -> None:
    run = replace(PLAIN, readout=INTEGRATING, hit_share=0.5, artefacts=Artefacts(salt=0.5, jet=0.5))
    path = tmp_path / "run.h5"
    write_series(path, run, 8)
    (series,) = open_series([path])
    simulator = Simulator(run)
    assert (series.shape, series.dtype) == ((160, 160), np.dtype("int16"))
    assert series.detector.distance_mm == pytest.approx(45.0)
    with h5py.File(path) as file:
        spots = file["entry/truth/spots"][()]
    for number, ref in enumerate(series.frames):
        frame = simulator.shot(number)
        assert ref.label == frame.label
        np.testing.assert_array_equal(ref.load().whole(), frame.pixels)
        np.testing.assert_array_equal(spots[spots[:, 0] == number, 1:], frame.spots)
    assert {ref.truth for ref in series.frames} >= {"hit", "miss"}


def test_the_demo_file(tmp_path: Path) -> None:
    path = tmp_path / "demo.h5"
    write_demo_series(path, frames=5, seed=1)
    (series,) = open_series([path])
    assert (series.shape, len(series.frames)) == ((1750, 1750), 5)
    assert sorted(str(frame.truth) for frame in series.frames) == ["hit", *["miss"] * 4]
    assert series.detector.mask is not None
    assert 0.03 < series.detector.mask.mean() < 0.12
    with h5py.File(path) as file:
        spots = file["entry/truth/spots"][()]
    for ref in series.frames:
        payload = ref.load()
        assert payload.encoding == "bslz4"
        assert 0.6e6 < len(payload.data) < 2e6
        x, y, snr = spots[spots[:, 0] == ref.index, 1:4].T
        central_strong = (abs(x - 875) < 175) & (abs(y - 875) < 175) & (snr >= 5)
        assert central_strong.sum() > 10 if ref.truth == "hit" else len(snr) == 0


def test_the_catalogue() -> None:
    assert [run.name for run in PAPER_RUNS] == [
        *(str(number) for number in range(90, 97)),
        *("98", "99", "100"),
    ]
    assert len(EXPERIMENTS) == 5
    assert len(NAMED) == 19
    assert len({run.seed for run in NAMED.values()}) == 19
    assert len({run.readout.dtype for run in EXPERIMENTS}) == 5
    for run in NAMED.values():
        assert run.geometry.shape == (run.window.rows, run.window.cols)


@pytest.mark.parametrize("name", ["90", "99", *(run.name for run in EXPERIMENTS)])
def test_named_runs_show_hits_and_misses(name: str) -> None:
    run = central(NAMED[name])
    simulator = Simulator(run)
    assert simulator.maps.shape == (350, 350)
    labels = [simulator.shot(number).label for number in range(40)]
    hits = sum(each.truth == "hit" for each in labels)
    misses = sum(each.truth == "miss" for each in labels)
    assert abs(hits / (hits + misses) - 0.9 * run.hit_share) < 0.25
    assert any(each.tier == "strong" for each in labels)
    assert any(each.artefacts for each in labels)


def test_the_command_writes_equal_files_for_equal_seeds(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        arguments = {"what": "random", "frames": 3, "runs": 2, "seed": 5, "whole": False}
        assert simulate(tmp_path / folder, **arguments, processes=1) == 0  # type: ignore[arg-type]
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["random-5.h5", "random-6.h5"]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("what", ["random", "random-diffuse"])
def test_the_command_draws_no_run_that_the_trainer_draws(what: str, tmp_path: Path) -> None:
    simulate(tmp_path, what=what, frames=1, runs=1, seed=0, whole=False, processes=1)
    trained_on = random_run(0) if what == "random" else random_diffuse_run(0)
    (series,) = open_series([tmp_path / f"{what}-0.h5"])
    assert series.detector.distance_mm != pytest.approx(trained_on.geometry.distance_mm)


def test_the_command_gives_named_runs_other_shots_for_other_seeds(tmp_path: Path) -> None:
    for seed in (0, 1):
        folder = tmp_path / str(seed)
        simulate(folder, what="90", frames=2, runs=1, seed=seed, whole=False, processes=1)
    first, second = (open_series([tmp_path / name / "90.h5"])[0] for name in ("0", "1"))
    assert first.shape == (350, 350)
    assert (first.frames[0].load().whole() != second.frames[0].load().whole()).any()


def test_the_command_gives_other_shots_of_the_same_run(tmp_path: Path) -> None:
    arguments = {"what": "90", "runs": 1, "seed": 0, "whole": False, "processes": 1}
    for folder, frames, first in (("all", 4, 0), ("rest", 2, 2)):
        simulate(tmp_path / folder, frames=frames, first=first, **arguments)  # type: ignore[arg-type]
    every, rest = (open_series([tmp_path / name / "90.h5"])[0].frames for name in ("all", "rest"))
    assert [len(every), len(rest)] == [4, 2]
    for one, other in zip(every[2:], rest, strict=True):
        np.testing.assert_array_equal(one.load().whole(), other.load().whole())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"what": "nothing"}, "simulate nothing: known are random, random-diffuse, paper, "),
        ({"frames": 0}, "--frames 0: must be 1 or more"),
        ({"seed": -1}, "--seed -1: must be 0 or more"),
        ({"first": -1}, "--first -1: must be 0 or more"),
        ({"what": "demo", "first": 3}, "the demo is always the same"),
    ],
)
def test_the_command_refuses_what_it_does_not_know(
    tmp_path: Path, change: dict[str, object], says: str
) -> None:
    arguments = {"what": "90", "frames": 1, "runs": 1, "seed": 0, "whole": False, "processes": 1}
    with pytest.raises(ConfigError, match=says):
        simulate(tmp_path, **(arguments | change))  # type: ignore[arg-type]


def test_the_command_needs_a_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ConfigError, match="it is a file; name a folder"):
        simulate(file, what="90", frames=1, runs=1, seed=0, whole=False, processes=1)
