"""`hitfinder train`: frames to a model artifact, with its threshold and its measures."""

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from hitfinder.commands.regions import REGIONS
from hitfinder.dataset.labels import apply_labels
from hitfinder.dataset.series import open_series
from hitfinder.dataset.split import split_runs
from hitfinder.errors import ConfigError
from hitfinder.inference.model_card import ModelCard, find_artifact
from hitfinder.simulation.catalog import EXPERIMENTS, PAPER_RUNS, central
from hitfinder.simulation.random_run import random_run
from hitfinder.training.artifact import Epoch, Promise, check_promise
from hitfinder.training.hit import train_hit
from hitfinder.training.li2018 import train_li2018
from hitfinder.training.samples import Draw, Files, Material, Part, Simulated

NETWORKS = ("hit", "li2018")

EPOCHS = {"hit": 14, "li2018": 8}
FILE_EPOCHS = 30
"""Files hold fewer frames than a simulation; so many times through them."""

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

COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())

SEEDS_APART = 1_000_000
"""Random runs of one `--seed`, calibration from the middle on; those of the next follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for; None: left out."""

    task: str
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
    with Progress(*COLUMNS, console=Console(stderr=True)) as progress:
        bars: dict[Part | Literal["epochs"], TaskID] = {}

        def done(part: Part, frames: int) -> None:
            if part not in bars:
                bars[part] = progress.add_task(f"{part} frames", total=material.count(part))
            progress.advance(bars[part], frames)
            if progress.finished and "epochs" not in bars:  # what follows the training's frames
                bars["epochs"] = progress.add_task("training", total=epochs)

        def told(epoch: Epoch) -> None:
            progress.update(bars["epochs"], completed=epoch.epoch, description=losses(epoch))

        if options.network == "li2018":
            card = train_li2018(
                target,
                material,
                seed=options.seed,
                epochs=epochs,
                created_by=created_by,
                done=done,
                told=told,
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
                told=told,
            )
    print_card(card, target)
    return 0


def _check(options: Options) -> None:
    """Raises ConfigError for options that are wrong or contradict each other."""
    for name, value, known in (
        ("train", options.task, ("hit", "diffuse")),
        ("--network", options.network, NETWORKS),
        ("--region", options.region, tuple(REGIONS)),
    ):
        if value not in known:
            raise ConfigError(f"{name} {value}: known are {', '.join(known)}")
    for name, number, least in (
        ("--seed", options.seed, 0),
        ("--epochs", options.epochs, 1),
        ("--processes", options.processes, 1),
        ("--runs", options.runs, 1),
        ("--shots", options.shots, 1),
    ):
        if number is not None and number < least:
            raise ConfigError(f"{name} {number}: must be {least} or more")
    for name, share in (
        ("--sensitivity", options.sensitivity),
        ("--confidence", options.confidence),
    ):
        if not 0 < share < 1:
            raise ConfigError(f"{name} {share:g}: must lie between 0 and 1")
    if options.labels is not None and not options.data:
        raise ConfigError("--labels without --data: name the files that the labels are of")
    if options.data and (options.runs is not None or options.shots is not None):
        raise ConfigError("--runs and --shots are of simulations; leave them out with --data")
    if options.network != "hit" and options.start is not None:
        raise ConfigError(f"--from {options.start}: only the network hit can begin with a model")
    if options.network != "hit" and options.runs is not None:
        raise ConfigError(f"--runs: li2018 trains on the runs {', '.join(LI_RUNS)}; leave it out")


def check_folder(target: Path) -> None:
    """Raises ConfigError unless a new folder can be made there: training takes long."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"--out {target}: is there already; name a new folder, or remove it")
    above = next(each for each in target.parents if each.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise ConfigError(f"--out {target}: cannot write in {above}; name another place")


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def _simulated(options: Options) -> Simulated:
    tests: list[Draw] = [partial(central, each) for each in (*PAPER_RUNS, *EXPERIMENTS)]
    shots = options.shots or SHOTS[options.network]
    test_shots = min(TEST_SHOTS, TESTED_FOR * shots)
    processes = options.processes or cores()
    if options.network == "li2018":
        known = [partial(central, each) for each in PAPER_RUNS if each.name in LI_RUNS]
        return Simulated(
            runs={"training": known, "test": tests},
            shots={"training": shots, "test": test_shots},
            processes=processes,
            words=(
                f"{shots} simulated frames of each of the runs {', '.join(LI_RUNS)}; measured on "
                f"{test_shots} other frames of each of {len(tests)} named simulated runs, those "
                "among them"
            ),
        )
    n_train = options.runs or RUNS
    n_calibrate = -(-n_train // CALIBRATED_ON)
    first = options.seed * SEEDS_APART
    middle = first + SEEDS_APART // 2
    return Simulated(
        runs={
            "training": [partial(random_run, each) for each in range(first, first + n_train)],
            "calibration": [
                partial(random_run, each) for each in range(middle, middle + n_calibrate)
            ],
            "test": tests,
        },
        shots={"training": shots, "calibration": shots, "test": test_shots},
        processes=processes,
        words=(
            f"{n_train} simulated runs of random conditions, {shots} frames each; calibrated on "
            f"{n_calibrate} others; measured on {test_shots} frames of each of {len(tests)} named "
            "simulated runs, none of which it was trained on"
        ),
    )


def _files(options: Options, promise: Promise) -> Files:
    series = open_series(list(options.data))
    if options.labels is not None:
        series = apply_labels(series, options.labels)
    split = split_runs(series, seed=options.seed)
    if options.network == "hit":  # before the training, not after it
        labels = [frame.label for one in split.calibrate for frame in one.frames if frame.label]
        check_promise(
            sum(label.truth == "hit" and label.tier != "weak" for label in labels), promise
        )
    how = (
        "by blocks of the same runs, so that nothing is known of other runs"
        if split.by_blocks
        else "by whole runs"
    )
    return Files(
        parts={"training": split.train, "calibration": split.calibrate, "test": split.test},
        region=REGIONS[options.region],
        words=(
            f"{sum(len(each.frames) for each in split.train)} labelled frames of "
            f"{', '.join(dict.fromkeys(each.name for each in split.train))}; split {how}"
        ),
    )


def losses(epoch: Epoch) -> str:
    """How training goes, in words."""
    held_out = epoch.validation_loss
    beside = "" if held_out is None else f", {held_out:.3f} on held-out runs"
    return f"training, loss {epoch.loss:.3f}{beside}"


def print_card(card: ModelCard, target: Path) -> None:
    """A card's measures, threshold and promise."""
    table = Table(box=None)
    for name in ("run", "hits", "misses", "sensitivity", "specificity", "area under curve"):
        table.add_column(name, justify="left" if name == "run" else "right")
    for row in card.metrics:
        shares = (row.sensitivity, row.specificity, row.area_under_curve)
        table.add_row(
            row.run,
            str(row.hits),
            str(row.misses),
            *("–" if share is None else f"{share:.4f}" for share in shares),
        )
    Console().print(table)
    typer.echo(f"{target}: threshold {card.threshold:.4f}; {card.threshold_from}")
