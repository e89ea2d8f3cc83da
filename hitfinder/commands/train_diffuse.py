"""`hitfinder train diffuse`: hits with and without diffuse scattering to a model artifact."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast, get_args

from hitfinder.commands.progress import bars
from hitfinder.commands.training import (
    FILE_EPOCHS,
    SEEDS_APART,
    check_folder,
    check_options,
    cores,
    files_of,
    labelled,
    print_card,
    simulated,
)
from hitfinder.dataset.frames import about_diffuse
from hitfinder.dataset.split import DIFFUSE, split_runs
from hitfinder.errors import ConfigError
from hitfinder.inference.model_card import Precision
from hitfinder.simulation.catalog import DIFFUSE_RUNS
from hitfinder.simulation.random_diffuse import random_diffuse_run
from hitfinder.simulation.run import Run
from hitfinder.training.artifact import Restrained, check_restrained
from hitfinder.training.diffuse import train_diffuse
from hitfinder.training.samples import WHOLE, Draw, Files, Part, Simulated
from hitfinder.training.vgg16 import Lessons, train_vgg16

METHODS = ("compact", "vgg16")
OTHERS = "frames without diffuse scattering"

RUNS = 252
"""Random runs to train on."""

CALIBRATED_ON = 3
"""One random run to calibrate on for so many to train on: what looks most like diffuse scattering
is rare among the others."""

SHOTS = {"compact": 8, "vgg16": 500}
"""Of each random run; of the one run that VGG16's regression learns from, as in Su's report."""

TAUGHT, RANDOM = "taught", "random"
"""What `--weights` takes beside a file."""

LESSONS = 200
"""Random runs that VGG16 is taught on, each of as many shots as for the compact model."""

LESSONS_EPOCHS = 10

TEST_SHOTS = 60
SIDE_PX = 640
"""Random runs are binned until no side is longer: every fourth less so, to twice that."""

EPOCHS = 20
SPECIFICITY = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for; None: left out."""

    method: str
    data: Sequence[Path]
    labels: Path | None
    weights: str | None
    precision: str
    runs: int | None
    shots: int | None
    seed: int
    epochs: int | None
    specificity: float
    confidence: float
    processes: int | None


def run(target: Path, options: Options) -> int:
    """Train a model and write the artifact to `target`. Exit status 0.

    Raises ConfigError, DataFileError, ArtifactError and OSError, and leaves no folder then.
    """
    target = target.absolute()
    _check(options)
    check_folder(target)
    promise = Restrained(
        specificity=options.specificity, confidence=options.confidence, misses=OTHERS
    )
    material = _files(options, promise) if options.data else _simulated(options)
    epochs = options.epochs or _epochs(options)
    created_by = shlex.join(["hitfinder", *sys.argv[1:]])
    with bars(epochs) as shown:

        def done(part: Part, frames: int) -> None:
            shown.add(f"{part} frames", material.count(part), frames)

        def fitted(frames: int) -> None:
            shown.add("through VGG16", material.count("training"), frames)

        def made(frames: int) -> None:
            shown.add("frames for lessons", lessons.count("training"), frames)

        if options.method == "vgg16":
            lessons = _lessons(options)
            source: Path | Lessons | None = None
            if options.weights in (None, TAUGHT):
                source = Lessons(material=lessons, epochs=epochs, done=made, told=shown.told)
            elif options.weights != RANDOM:
                source = Path(str(options.weights))
            card = train_vgg16(
                target,
                material,
                seed=options.seed,
                source=source,
                precision=cast(Precision, options.precision),
                created_by=created_by,
                done=done,
                fitted=fitted,
            )
        else:
            card = train_diffuse(
                target,
                material,
                seed=options.seed,
                epochs=epochs,
                promise=promise,
                created_by=created_by,
                done=done,
                told=shown.told,
            )
    print_card(card, target)
    return 0


def _check(options: Options) -> None:
    """Raises ConfigError for options that are wrong or contradict each other."""
    choices = (
        ("--method", options.method, METHODS),
        ("--precision", options.precision, get_args(Precision)),
    )
    check_options(options, choices, ("--specificity", options.specificity))
    if options.method == "vgg16":
        if options.weights in (None, TAUGHT):
            return
        if options.runs is not None or options.epochs is not None:
            raise ConfigError(
                f"--runs and --epochs: nothing is taught with --weights {options.weights}; leave "
                "them out"
            )
        if options.weights != RANDOM and not Path(str(options.weights)).is_file():
            raise ConfigError(
                f"--weights {options.weights}: no such file; known are {TAUGHT}, {RANDOM}, and "
                "torchvision's file"
            )
    elif options.weights is not None or options.precision != "fp32":
        raise ConfigError("--weights and --precision are of --method vgg16; leave them out")


def _epochs(options: Options) -> int:
    if options.method == "vgg16":
        return LESSONS_EPOCHS if options.weights in (None, TAUGHT) else 0
    return FILE_EPOCHS if options.data else EPOCHS


def _lessons(options: Options) -> Simulated:
    """What VGG16 is taught on; the compact model learns from more of the same runs."""
    count, shots = options.runs or LESSONS, SHOTS["compact"]
    return Simulated(
        runs={"training": _random(options.seed * SEEDS_APART, count)},
        shots={"training": shots},
        processes=options.processes or cores(),
        words=f"{count} simulated runs of random conditions, {shots} frames each",
        task="diffuse",
    )


def _simulated(options: Options) -> Simulated:
    tests = [partial(_same, each) for each in DIFFUSE_RUNS]
    shots = options.shots or SHOTS[options.method]
    test_shots = min(TEST_SHOTS, 10 * shots)
    if options.method == "vgg16":
        return Simulated(
            runs={"training": tests[:1], "test": tests},
            shots={"training": shots, "test": test_shots},
            processes=options.processes or cores(),
            words=(
                f"{shots} simulated frames of the run {DIFFUSE_RUNS[0].name}; measured on "
                f"{test_shots} others of it, and of {len(tests) - 1} runs of other crystals and "
                "conditions"
            ),
            task="diffuse",
        )
    return simulated(
        _random,
        list(tests),
        options,
        runs=options.runs or RUNS,
        calibrated_on=CALIBRATED_ON,
        shots=shots,
        test_shots=test_shots,
        task="diffuse",
        promised=("--specificity", options.specificity),
    )


def _random(first: int, count: int) -> list[Draw]:
    return [
        partial(random_diffuse_run, first + place, SIDE_PX * (1 if place % 4 else 2))
        for place in range(count)
    ]


def _same(one: Run) -> Run:
    return one


def _files(options: Options, promise: Restrained) -> Files:
    series = [about_diffuse(one) for one in labelled(options)]
    split = split_runs(series, seed=options.seed, classes=DIFFUSE)
    if options.method == "compact":  # before the training, not after it
        truths = [frame.truth for one in split.calibrate for frame in one.frames]
        check_restrained(truths.count("miss"), promise)
    return files_of(split, WHOLE, "diffuse")
