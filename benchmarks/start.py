"""From a cold process to a service that is ready, and batches after that. Part of `make bench`.

Python, its imports, the models, the warming of every size of batch: all of what `hitfinder serve`
does until /readyz says yes; files are in the system's cache. Then the same warming in this
process, and batches of all sizes in random order: a size that was not warmed would show.
"""

import random
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.material import Shots, shots
from benchmarks.record import Bar, Column, Row, Section, Tell, spread
from benchmarks.rig import Setup, running
from hitfinder.assemble import build_judging
from hitfinder.commands.demo import free_ports
from hitfinder.config import ServeConfig
from hitfinder.frame import array_payload
from hitfinder.inference.batcher import BATCH_SIZES
from hitfinder.settings import checked

PART = "start"
STARTS = 5
BATCHES = 100
READY_S = 3.0
LONGEST = 3.0
"""Times the median of its size that a batch may take."""

SHAPE = "[detector]\nshape = [1750, 1750]\n"
SERVICES = {
    "hit": '[model]\ndevice = "cpu"\n',
    "hit and diffuse, as the demo": '[model]\ndevice = "cpu"\n[diffuse]\ndevice = "cpu"\n',
    "hit and diffuse, both warm before the first series": (
        f'[model]\ndevice = "cpu"\n[diffuse]\ndevice = "cpu"\n{SHAPE}'
    ),
}


def measure(share: float, tell: Tell) -> list[Section]:
    """Starts of the service, and batches of a service that is ready."""
    return [_starts(share, tell), _batches(share, tell)]


def _starts(share: float, tell: Tell) -> Section:
    turns = max(1, round(share * STARTS))
    seconds: dict[str, list[float]] = {name: [] for name in SERVICES}
    for turn in range(-1, turns):  # the first fills the system's cache
        for name, more in SERVICES.items():
            tell(f"start {turn + 1} of {turns}: {name}")
            taken = _start(more)
            if turn >= 0:
                seconds[name].append(taken)
    rows = tuple(Row(name=name, cells=(spread(each),)) for name, each in seconds.items())
    return Section(
        part=PART,
        title="Start to ready",
        says=(
            "A cold process of Python until /readyz answers 200, all sizes of batch warmed; files "
            "in the system's cache."
        ),
        first="service",
        columns=(Column(name="ready after", unit="s"),),
        rows=rows,
        bars=tuple(
            Bar(what=f"ready, {name}, s", value=spread(each).median, most=READY_S)
            for name, each in seconds.items()
        ),
    )


def _start(more: str) -> float:
    """Seconds until a new service is ready."""
    with tempfile.TemporaryDirectory(prefix="hitfinder-bench-") as folder:
        setup = Setup(data=Path(), more=more)
        ports = free_ports()
        started = time.perf_counter()
        with running(setup, Path(folder), ports):
            return time.perf_counter() - started


def _batches(share: float, tell: Tell) -> Section:
    tell("simulating frames")
    times = _times(shots(8), max(3, round(share * BATCHES)), tell)
    rows = []
    longest = np.zeros(2)  # by the clock, in processor time
    for size, ms in times.items():
        medians, most = np.median(ms, axis=0), ms.max(axis=0)
        longest = np.maximum(longest, most / medians)
        clock, processor = (most / medians).tolist()
        cells = (
            spread(ms[:, 0]),
            spread(ms[:, 0] / size),
            float(ms[0, 0]),
            float(most[0]),
            clock,
            processor,
        )
        rows.append(Row(name=str(size), cells=cells))
    by_clock, by_processor = longest.tolist()
    return Section(
        part=PART,
        title="Batches of a service that is ready",
        says=(
            "Crop and score, one core, sizes in random order, from the first batch after warming "
            "on. By the clock, the longest has in it whatever else the machine did meanwhile; in "
            "processor time it has not."
        ),
        first="frames in the batch",
        columns=(
            Column(name="a batch", unit="ms"),
            Column(name="a frame", unit="ms"),
            Column(name="the first", unit="ms"),
            Column(name="the longest", unit="ms"),
            Column(name="longest / median"),
            Column(name="in processor time"),
        ),
        rows=tuple(rows),
        bars=(
            Bar(what="longest over median, any size", value=by_clock, most=LONGEST),
            Bar(what="the same in processor time", value=by_processor, most=LONGEST),
        ),
    )


def _times(seen: Shots, count: int, tell: Tell) -> dict[int, NDArray[np.float64]]:
    """Ms of each batch by its size, in the order they came."""
    table = {
        "input": {"endpoint": "ipc://none", "protocol": "dectris-v2"},
        "model": {"device": "cpu"},
        "batch": {"size": max(BATCH_SIZES)},
    }
    judging = build_judging(checked(ServeConfig, table, "bench"), Path(), time.monotonic_ns)
    reader = judging.plan(seen.pixels.shape[1:], seen.detector)
    payloads = [array_payload(frame) for frame in seen.pixels]
    buffer = np.empty((max(BATCH_SIZES), *reader.shape), np.float32)
    order = list(BATCH_SIZES) * count
    random.Random(0).shuffle(order)
    times: dict[int, list[tuple[float, float]]] = {size: [] for size in BATCH_SIZES}
    judging.judge.warm(*reader.shape)
    tell(f"{len(order)} batches")
    for size in order:
        started, worked = time.perf_counter(), time.thread_time()
        for place in range(size):
            reader.read(payloads[place % len(payloads)], buffer[place])
        judging.model.score(buffer[:size])
        times[size].append((time.perf_counter() - started, time.thread_time() - worked))
    return {size: 1e3 * np.array(each) for size, each in times.items()}
