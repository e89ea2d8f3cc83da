"""What a recipe learns from: frames as a model sees them, their labels, and their spots.

Simulated runs are made in other processes, `SHOTS` frames at a time, and only what `reduce` makes
of the images comes back: a recipe whose first layers learn nothing keeps their results instead of
the pixels. Frames of files go through the same region code as in the live service.
"""

import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from hitfinder.dataset.frames import Label, Series, as_diffuse
from hitfinder.errors import DataFileError
from hitfinder.evaluation.scores import read_region, run_names
from hitfinder.evaluation.search import plan_search
from hitfinder.frame import array_payload
from hitfinder.images.region import RegionSettings, plan_region
from hitfinder.inference.model_card import Task
from hitfinder.peaks.finder import PeakFinder
from hitfinder.peaks.settings import PeakSettings
from hitfinder.simulation.run import Run
from hitfinder.simulation.simulator import SimulatedFrame, Simulator, label

Draw = Callable[[], Run]
"""Gives a simulated run; drawing one takes a while, so workers do it."""

Reduce = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Images (k, H, W) float32, NaN = no measurement → (k, ...) float32 that a recipe keeps."""

WHOLE = RegionSettings(kind="whole")

HELD_OUT = 10
"""One run of so many shows how training goes on what it does not see, and is not trained on."""

SHOTS = 50
"""Frames of one task: some 25 MB of 350 x 350 pixels, a second or so of work."""

STRONG = 0.05
"""Of the background: weaker diffuse scattering is there, but in the pixels of one frame rarely to
be told from noise. It is not learned from, and counts apart as weak."""

LEARNED_FROM = 100_000
"""Training takes a run's shots from here on; files that `hitfinder simulate` writes hold those
from 0 on, and so no frame that anything was trained on.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Frames of one run. `inputs` (k, ...) float32 is what `Reduce` made of the images; `labels`
    has k; `spots` k arrays (m, 2) float32 of x_px, y_px, first pixel's outer corner at 0.
    """

    run: str
    inputs: NDArray[np.float32]
    labels: tuple[Label, ...]
    spots: tuple[NDArray[np.float32], ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def truths(self) -> NDArray[np.int8]:
        """(k,) 1 for hits, 0 for misses, -1 for what lies between."""
        codes = {"hit": 1, "miss": 0, "ambiguous": -1}
        return np.array([codes[label.truth] for label in self.labels], np.int8)

    @property
    def strong(self) -> NDArray[np.bool_]:
        """(k,) hits, but for those known to be weak."""
        return np.array([is_strong(label) for label in self.labels], np.bool_)


def is_strong(label: Label | None) -> bool:
    """Whether a hit, but for those known to be weak."""
    return label is not None and label.truth == "hit" and label.tier != "weak"


Part = Literal["training", "calibration", "test"]


class Material(Protocol):
    """Where a recipe's frames come from. No run is in two parts."""

    def load(self, part: Part, reduce: Reduce, done: Callable[[int], None]) -> list[Samples]:
        """The part's runs, each image reduced; `done` is told of frames as they come. The same
        frames in the same order every time. Raises DataFileError.
        """
        ...

    def count(self, part: Part) -> int:
        """Frames in a part."""
        ...

    def described(self) -> str:
        """What the model is trained on, in words, for its card."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """Material that is made as it is needed: `shots` frames of each run of a part. `processes`
    make it at once; their number changes nothing of it. For the task "diffuse" the labels are
    `as_diffuse`.
    """

    runs: Mapping[Part, Sequence[Draw]]
    shots: Mapping[Part, int]
    processes: int
    words: str
    task: Task = "hit"

    def load(self, part: Part, reduce: Reduce, done: Callable[[int], None]) -> list[Samples]:
        """See `Material`."""
        first = LEARNED_FROM if part == "training" else 0
        stop = first + self.shots[part]
        tasks = [
            (draw, start, min(start + SHOTS, stop))
            for draw in self.runs[part]
            for start in range(first, stop, SHOTS)
        ]
        pieces: dict[str, list[Samples]] = {}
        # Fresh processes: a fork would inherit threads of torch that do not exist there. Ctrl-C
        # reaches them too, but this process' word is enough.
        with ProcessPoolExecutor(
            self.processes,
            mp_context=get_context("spawn"),
            initializer=signal.signal,
            initargs=(signal.SIGINT, signal.SIG_IGN),
        ) as pool:
            for piece in pool.map(partial(_simulate, reduce, part, self.task), tasks):
                pieces.setdefault(piece.run, []).append(piece)
                done(len(piece))
        return [_joined(each) for each in pieces.values()]

    def count(self, part: Part) -> int:
        """See `Material`."""
        return len(self.runs[part]) * self.shots[part]

    def described(self) -> str:
        """See `Material`."""
        return self.words


def _simulate(reduce: Reduce, part: Part, asked: Task, task: tuple[Draw, int, int]) -> Samples:
    """Shots of a run. Labels for learning count what the region leaves to be seen; those that a
    model is measured by count all.
    """
    draw, start, stop = task
    run = draw()
    simulator = Simulator(run)
    reader = plan_region(WHOLE, simulator.maps.shape, simulator.detector, None)
    inputs, labels, spots = [], [], []
    for number in range(start, stop):  # one by one: whole frames are large
        frame = simulator.shot(number)
        image = np.empty((1, *reader.shape), np.float32)
        reader.read(array_payload(frame.pixels), image[0])
        seen = _seen(image[0], frame.spots)
        inputs.append(reduce(image))
        labels.append(_label(asked, part, frame, seen))
        spots.append(seen[:, :2])
    return Samples(
        run=run.name, inputs=np.concatenate(inputs), labels=tuple(labels), spots=tuple(spots)
    )


def _label(asked: Task, part: Part, frame: SimulatedFrame, seen: NDArray[np.float32]) -> Label:
    if asked == "diffuse":
        answer = as_diffuse(frame.label)
        if answer.truth != "hit":
            return answer
        return replace(answer, tier="strong" if frame.diffuse_strength >= STRONG else "weak")
    return frame.label if part == "test" else label(seen[:, 2], frame.label.artefacts)


def _seen(image: NDArray[np.float32], spots: NDArray[np.float32]) -> NDArray[np.float32]:
    """The spots (k, 4) whose pixel was measured: rings of ice hide some."""
    cols, rows = spots[:, :2].astype(np.intp).T
    seen: NDArray[np.float32] = spots[np.isfinite(image[rows, cols])]
    return seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Material from labelled files. What stands out in a hit, for our own peak finder, is taken
    for its spots; in a miss nothing is one, and for the task "diffuse" spots do not matter.
    """

    parts: Mapping[Part, Sequence[Series]]
    region: RegionSettings
    words: str
    task: Task = "hit"

    def load(self, part: Part, reduce: Reduce, done: Callable[[int], None]) -> list[Samples]:
        """See `Material`. A frame that cannot be read raises DataFileError: training must not go
        on without it in silence.
        """
        series = self.parts[part]
        return [
            self._load(one, name, reduce, done)
            for one, name in zip(series, run_names(series), strict=True)
        ]

    def count(self, part: Part) -> int:
        """See `Material`."""
        return sum(len(one.frames) for one in self.parts[part])

    def described(self) -> str:
        """See `Material`."""
        return self.words

    def _load(self, one: Series, name: str, reduce: Reduce, done: Callable[[int], None]) -> Samples:
        plan = plan_search(one, self.region, PeakSettings())
        image = np.empty(plan.reader.shape, np.float32)
        inputs, labels, spots = [], [], []
        for ref in one.frames:
            if ref.label is None:
                continue
            problem = read_region(ref, plan.reader, image)
            if problem is not None:
                raise DataFileError(f"{problem}; label it ambiguous, or leave it out")
            inputs.append(reduce(image[np.newaxis]))
            labels.append(ref.label)
            looked_for = self.task == "hit" and ref.label.truth == "hit"
            spots.append(_peaks(plan.finder, image) if looked_for else _no_spots())
            done(1)
        return Samples(
            run=name, inputs=np.concatenate(inputs), labels=tuple(labels), spots=tuple(spots)
        )


def _peaks(finder: PeakFinder, image: NDArray[np.float32]) -> NDArray[np.float32]:
    peaks = finder.find(image)
    return np.stack([peaks.col_px, peaks.row_px], axis=1).astype(np.float32)


def _no_spots() -> NDArray[np.float32]:
    return np.empty((0, 2), np.float32)


def _joined(parts: Sequence[Samples]) -> Samples:
    return Samples(
        run=parts[0].run,
        inputs=np.concatenate([part.inputs for part in parts]),
        labels=tuple(label for part in parts for label in part.labels),
        spots=tuple(each for part in parts for each in part.spots),
    )


def check_classes(samples: Sequence[Samples], names: tuple[str, str] = ("hit", "miss")) -> None:
    """Raises DataFileError unless there are hits and misses to learn from, so called."""
    truths = np.concatenate([each.truths for each in samples])
    for code, name in zip((1, 0), names, strict=True):
        if not (truths == code).any():
            raise DataFileError(
                f"none of the {len(truths)} frames to train on is labelled {name}; give both "
                f"{names[0]} and {names[1]}"
            )


def held_out(samples: Sequence[Samples]) -> tuple[list[Samples], list[Samples]]:
    """What is learned from, and every HELD_OUT-th run beside it (none of fewer runs)."""
    learned = [each for place, each in enumerate(samples, 1) if place % HELD_OUT]
    return learned, list(samples[HELD_OUT - 1 :: HELD_OUT])
