"""Random runs are wide, sensible and the same every time."""

from collections import Counter

import numpy as np

from hitfinder.simulation.random_run import random_run
from hitfinder.simulation.simulator import Simulator


def test_equal_seeds_give_equal_runs() -> None:
    assert random_run(7) == random_run(7)
    assert random_run(7) != random_run(8)


def test_runs_are_wide() -> None:
    runs = [random_run(seed) for seed in range(60)]
    photons = [run.scattering.photons for run in runs]
    assert min(photons) < 0.05
    assert max(photons) > 50
    axes = [max(run.sample.cell_angstrom) for run in runs]
    assert min(axes) < 40
    assert max(axes) > 220
    kinds = Counter(run.readout.dtype for run in runs)
    assert set(kinds) == {"uint16", "int16", "int32", "uint32", "float32"}
    assert 15 < sum(run.readout.counting for run in runs) < 45
    assert all(0.3 <= run.hit_share <= 0.7 for run in runs)
    assert all((run.window.rows, run.window.cols) == (350, 350) for run in runs)


def test_every_kind_of_truth_is_frequent() -> None:
    truths: Counter[str] = Counter()
    strong = []
    for seed in range(40):
        simulator = Simulator(random_run(seed, 200, 200))
        for number in range(12):
            frame = simulator.shot(number)
            truths[f"{frame.label.truth} {frame.label.tier}"] += 1
            if frame.label.truth == "hit":
                strong.append(int((frame.spots[:, 2] >= 5).sum()))
            readout = simulator.run.readout
            shown = frame.pixels[~simulator.panels.mask]
            assert np.isfinite(shown).all()
            assert shown.max() <= readout.saturation
            assert "dark" in frame.label.artefacts or shown.any()
    assert truths["hit strong"] > 80
    assert truths["hit weak"] > 25
    assert truths["ambiguous None"] > 8
    assert truths["miss None"] > 120
    assert max(strong) > 100


def test_a_whole_detector() -> None:
    run = random_run(3, None, None)
    assert (run.window.rows, run.window.cols) == run.geometry.shape
