"""`hitfinder train hit`: frames to a model artifact, with its threshold and its measures."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hitfinder.commands.progress import bars
from hitfinder.commands.regions import REGIONS
from hitfinder.commands.training import (
    FILE_EPOCHS,
    check_folder,
    check_options,
    cores,
    files_of,
    labelled,
    print_card,
    simulated,
)
from hitfinder.dataset.split import split_runs
from hitfinder.errors import ConfigError
from hitfinder.inference.model_card import find_artifact
from hitfinder.simulation.catalog import EXPERIMENTS, PAPER_RUNS, central
from hitfinder.simulation.random_run import random_run
from hitfinder.training.artifact import Promise, check_promise
from hitfinder.training.hit import train_hit
from hitfinder.training.li2018 import train_li2018
from hitfinder.training.samples import Draw, Files, Material, Part, Simulated

NETWORKS = ("hit", "li2018")

EPOCHS = {"hit": 14, "li2018": 8}
SENSITIVITY = 0.92
RUNS = 1000
"""Random runs to train on: conditions matter more than frames of each."""

CALIBRATED_ON = 5
"""One random run to calibrate on for so many to train on."""

SHOTS = {"hit": 40, "li2018": 1500}
LI_RUNS = ("90", "91", "92")
TEST_SHOTS = 200
TESTED_FOR = 5
"""Frames of a run to test on for each shot of one to train on, `TEST_SHOTS` at most: small
numbers are for trying out, and testing must not take most of the time then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for; None: left out."""

    network: str
    data: Sequence[Path]
    labels: Path | None
    start: str | None
    region: str
    runs: int | None
    shots: int | None
    seed: int
    epochs: int | None
    sensitivity: float
    confidence: float
    processes: int | None


def run(target: Path, options: Options) -> int:
    """Train a model and write the artifact to `target`. Exit status 0.

    Raises ConfigError, DataFileError, ArtifactError and OSError, and leaves no folder then.
    """
    target = target.absolute()
    _check(options)
    check_folder(target)
    start = None if options.start is None else find_artifact(options.start, Path.cwd())
    promise = Promise(sensitivity=options.sensitivity, confidence=options.confidence)
    material: Material
    if options.data:
        material = _files(options, promise)
        epochs = options.epochs or FILE_EPOCHS
    else:
        material = _simulated(options)
        epochs = options.epochs or EPOCHS[options.network]
    created_by = shlex.join(["hitfinder", *sys.argv[1:]])
    with bars(epochs) as shown:

        def done(part: Part, frames: int) -> None:
            shown.add(f"{part} frames", material.count(part), frames)

        if options.network == "li2018":
            card = train_li2018(
                target,
                material,
                seed=options.seed,
                epochs=epochs,
                created_by=created_by,
                done=done,
                told=shown.told,
            )
        else:
            card = train_hit(
                target,
                material,
                seed=options.seed,
                epochs=epochs,
                start=start,
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
        ("--network", options.network, NETWORKS),
        ("--region", options.region, tuple(REGIONS)),
    )
    check_options(options, choices, ("--sensitivity", options.sensitivity))
    if options.network != "hit" and options.start is not None:
        raise ConfigError(f"--from {options.start}: only the network hit can begin with a model")
    if options.network != "hit" and options.runs is not None:
        raise ConfigError(f"--runs: li2018 trains on the runs {', '.join(LI_RUNS)}; leave it out")


def _simulated(options: Options) -> Simulated:
    tests: list[Draw] = [partial(central, each) for each in (*PAPER_RUNS, *EXPERIMENTS)]
    shots = options.shots or SHOTS[options.network]
    test_shots = min(TEST_SHOTS, TESTED_FOR * shots)
    if options.network == "li2018":
        known = [partial(central, each) for each in PAPER_RUNS if each.name in LI_RUNS]
        return Simulated(
            runs={"training": known, "test": tests},
            shots={"training": shots, "test": test_shots},
            processes=options.processes or cores(),
            words=(
                f"{shots} simulated frames of each of the runs {', '.join(LI_RUNS)}; measured on "
                f"{test_shots} other frames of each of {len(tests)} named simulated runs, those "
                "among them"
            ),
        )
    return simulated(
        _random,
        tests,
        options,
        runs=options.runs or RUNS,
        calibrated_on=CALIBRATED_ON,
        shots=shots,
        test_shots=test_shots,
        task="hit",
        promised=("--sensitivity", options.sensitivity),
    )


def _random(first: int, count: int) -> list[Draw]:
    return [partial(random_run, each) for each in range(first, first + count)]


def _files(options: Options, promise: Promise) -> Files:
    split = split_runs(labelled(options), seed=options.seed)
    if options.network == "hit":  # before the training, not after it
        labels = [frame.label for one in split.calibrate for frame in one.frames if frame.label]
        check_promise(
            sum(label.truth == "hit" and label.tier != "weak" for label in labels), promise
        )
    return files_of(split, REGIONS[options.region], "hit")
