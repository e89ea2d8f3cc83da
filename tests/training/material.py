"""Little to learn from: simulated runs of 160 x 160 pixels, and labelled files of them."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from hitfinder.dataset.frames import Label
from hitfinder.dataset.hdf5_writer import series_writer
from hitfinder.frame import array_payload
from hitfinder.simulation.run import Run
from hitfinder.simulation.simulator import Simulator
from hitfinder.training.samples import Draw, Simulated
from tests.simulation.runs import PLAIN

HITS = Label(truth="hit", tier="strong")
MISSES = Label(truth="miss")

Relabel = Callable[[Label], Label | None]


def half_hits(seed: int) -> Run:
    """A run in which every other crystal is hit."""
    return replace(PLAIN, name=f"run{seed}", seed=seed, hit_share=0.5)


def draws(seeds: Iterable[int]) -> list[Draw]:
    return [partial(half_hits, seed) for seed in seeds]


def simulated(processes: int) -> Simulated:
    """Four runs to train on, two to calibrate on, two to test on; ten frames each."""
    return Simulated(
        runs={
            "training": draws(range(4)),
            "calibration": draws((4, 5)),
            "test": draws((6, 7)),
        },
        shots={"training": 10, "calibration": 10, "test": 10},
        processes=processes,
        words="little",
    )


def write_run(path: Path, seed: int, frames: int, relabel: Relabel = lambda label: label) -> Path:
    """A file of a simulated run with its labels, or what `relabel` makes of them."""
    simulator = Simulator(half_hits(seed))
    with series_writer(
        path, shape=(160, 160), dtype=np.dtype(np.uint16), detector=simulator.detector
    ) as writer:
        for number in range(frames):
            frame = simulator.shot(number)
            writer.add(array_payload(frame.pixels), label=relabel(frame.label))
    return path


def write_runs(folder: Path, frames: int, relabel: Relabel = lambda label: label) -> list[Path]:
    """Three files, enough for a split by run."""
    folder.mkdir(exist_ok=True)
    return [write_run(folder / f"run{seed}.h5", seed, frames, relabel) for seed in range(3)]
