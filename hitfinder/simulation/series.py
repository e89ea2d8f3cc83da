"""Simulated runs to files, and the demo's series."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hitfinder.dataset.frames import Label
from hitfinder.dataset.hdf5_writer import SeriesWriter, series_writer
from hitfinder.errors import ConfigError
from hitfinder.frame import array_payload
from hitfinder.simulation.catalog import CENTRAL_PX, DEMO
from hitfinder.simulation.draws import Purpose, stream
from hitfinder.simulation.run import Run
from hitfinder.simulation.simulator import SimulatedFrame, Simulator, label
from hitfinder.wire.compression import recoded

DEMO_HIT_SHARE = 0.2

_SHOTS_A_HIT = 50
"""A run with fewer hits is of no use to learn from."""


def write_series(path: Path, run: Run, frames: int, first: int = 0) -> None:
    """Write `frames` shots of the run from shot `first` on to one HDF5 file, truth included.
    Equal arguments give equal files.

    Raises DataFileError when it cannot be written.
    """
    simulator = Simulator(run)
    with _writer(path, simulator) as writer:
        for number in range(first, first + frames):
            frame = simulator.shot(number)
            _add(writer, frame, frame.label)


def diffuse_hits(simulator: Simulator, count: int, first: int = 0) -> Iterator[SimulatedFrame]:
    """A run's first `count` frames from shot `first` on that are hits and beyond doubt diffuse or
    not: what diffuse models learn from and are judged on.

    Raises ConfigError where too few of the run's shots are such.
    """
    given = 0
    for number in range(first, first + _SHOTS_A_HIT * count):
        if given == count:
            return
        frame = simulator.shot(number)
        if frame.label.truth == "hit" and frame.label.diffuse is not None:
            given += 1
            yield frame
    if given < count:
        raise ConfigError(
            f"run {simulator.run.name}: {given} of {_SHOTS_A_HIT * count} shots are hits that are "
            "known to be diffuse or not; give it more brightness or another strength"
        )


def write_demo_series(path: Path, frames: int = 60, seed: int = 20) -> None:
    """Write the demo's series to one HDF5 file: a fifth of the frames are hits, with more than 10
    strong spots in the middle 350 x 350 pixels, the others have no crystal, so that every truth is
    beyond doubt.

    Raises DataFileError when it cannot be written.
    """
    run = replace(DEMO, seed=seed)
    crystals = Simulator(replace(run, hit_share=1.0))
    empty = Simulator(replace(run, hit_share=0.0))
    hits = stream(seed, Purpose.DEMO).permutation(frames) < round(frames * DEMO_HIT_SHARE)
    number = 0
    with _writer(path, empty) as writer:
        for is_hit in hits:
            while True:
                frame = (crystals if is_hit else empty).shot(number)
                number += 1
                truth = label(_central_snr(frame), list(frame.label.artefacts))
                if not is_hit or truth.tier == "strong":
                    break
            _add(writer, frame, truth)


def _writer(path: Path, simulator: Simulator) -> AbstractContextManager[SeriesWriter]:
    return series_writer(
        path,
        shape=simulator.maps.shape,
        dtype=np.dtype(simulator.run.readout.dtype),
        detector=simulator.detector,
    )


def _add(writer: SeriesWriter, frame: SimulatedFrame, truth: Label) -> None:
    payload = recoded(array_payload(frame.pixels), carried=("bslz4",), encoding="bslz4")
    writer.add(payload, label=truth, spots=frame.spots, diffuse_strength=frame.diffuse_strength)


def _central_snr(frame: SimulatedFrame) -> NDArray[np.float32]:
    """S/N of the spots in the middle of a frame."""
    rows, cols = frame.pixels.shape
    x, y, snr, _ = frame.spots.T
    half = CENTRAL_PX / 2
    central: NDArray[np.float32] = snr[(abs(x - cols / 2) < half) & (abs(y - rows / 2) < half)]
    return central
