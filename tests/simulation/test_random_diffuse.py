"""Random runs with diffuse hits are wide, and the same every time."""

from collections import Counter

import pytest

from hitfinder.errors import ConfigError
from hitfinder.simulation.diffuse_runs import DIFFUSE_RUNS
from hitfinder.simulation.random_diffuse import random_diffuse_run
from hitfinder.simulation.series import diffuse_hits
from hitfinder.simulation.simulator import Simulator
from tests.simulation.runs import PLAIN


def test_runs_are_wide_and_repeat() -> None:
    runs = [random_diffuse_run(seed, 128) for seed in range(16)]
    assert runs[3] == random_diffuse_run(3, 128)
    assert all(max(run.geometry.shape) <= 128 for run in runs)
    strengths = [run.diffuse.strength for run in runs if run.diffuse]
    assert min(strengths) < 0.03
    assert max(strengths) > 0.07
    assert len({run.geometry.shape for run in runs}) > 4
    assert 0 < sum(bool(run.diffuse and run.diffuse.streaks) for run in runs) < 16
    assert len({run.sample.symmetry for run in runs}) >= 3


def test_both_kinds_of_hits_are_frequent() -> None:
    said: Counter[bool | None] = Counter()
    for seed in (0, 4, 5, 7, 11, 12):
        simulator = Simulator(random_diffuse_run(seed, 128))
        for number in range(4):
            label = simulator.shot(number).label
            if label.truth == "hit":
                said[label.diffuse] += 1
    assert said[True] > 3
    assert said[False] > 3


def test_hits_beyond_doubt_are_given_out() -> None:
    simulator = Simulator(random_diffuse_run(1, 128))
    frames = list(diffuse_hits(simulator, 6, first=10))
    assert len(frames) == 6
    assert all(frame.label.truth == "hit" for frame in frames)
    assert all(frame.label.diffuse is not None for frame in frames)
    assert len({frame.label.diffuse for frame in frames}) == 2


def test_a_run_without_hits_is_refused() -> None:
    with pytest.raises(ConfigError, match="0 of 50 shots are hits"):
        list(diffuse_hits(Simulator(PLAIN), 1))


def test_the_named_runs() -> None:
    assert DIFFUSE_RUNS[0].geometry.shape == (1734, 1731)
    assert len({run.sample.cell_angstrom for run in DIFFUSE_RUNS}) == 4
    assert len({run.diffuse for run in DIFFUSE_RUNS}) == 4
    others = DIFFUSE_RUNS[1:]
    assert not {run.geometry.shape for run in others} & {(1734, 1731)}
