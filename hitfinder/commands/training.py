"""What `hitfinder train` has alike for every task: options that are checked, labelled files or
random runs to learn from, and the card at the end.

What this file does not know: recipes, and what each task simulates.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

import typer
from rich.table import Table

from hitfinder.commands.tables import print_table
from hitfinder.dataset.frames import Series
from hitfinder.dataset.labels import apply_labels
from hitfinder.dataset.series import open_series
from hitfinder.dataset.split import Split
from hitfinder.errors import ConfigError
from hitfinder.evaluation.calibration import hits_needed
from hitfinder.images.region import RegionSettings
from hitfinder.inference.model_card import ModelCard, Task
from hitfinder.training.samples import Draw, Files, Simulated

FILE_EPOCHS = 30
"""Files hold fewer frames than a simulation; so many times through them."""

SEEDS_APART = 1_000_000
"""Random runs of one `--seed`, calibration from the middle on; those of the next follow."""

RandomRuns = Callable[[int, int], list[Draw]]
"""So many random runs from a seed on: the first seed, and the number."""


class Options(Protocol):
    """Of every task; None: left out."""

    @property
    def data(self) -> Sequence[Path]: ...  # noqa: D102
    @property
    def labels(self) -> Path | None: ...  # noqa: D102
    @property
    def runs(self) -> int | None: ...  # noqa: D102
    @property
    def shots(self) -> int | None: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102
    @property
    def epochs(self) -> int | None: ...  # noqa: D102
    @property
    def confidence(self) -> float: ...  # noqa: D102
    @property
    def processes(self) -> int | None: ...  # noqa: D102


def check_options(
    options: Options,
    choices: Iterable[tuple[str, str, Sequence[str]]],
    promised: tuple[str, float],
) -> None:
    """Raises ConfigError for what is wrong or contradicts itself, whatever the task. `choices` are
    names, values and what they may be; `promised` names the share that the threshold promises.
    """
    for name, value, known in choices:
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
    for name, share in (promised, ("--confidence", options.confidence)):
        if not 0 < share < 1:
            raise ConfigError(f"{name} {share:g}: must lie between 0 and 1")
    if options.labels is not None and not options.data:
        raise ConfigError("--labels without --data: name the files that the labels are of")
    if options.data and (options.runs is not None or options.shots is not None):
        raise ConfigError("--runs and --shots are of simulations; leave them out with --data")


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


def labelled(options: Options) -> list[Series]:
    """The files given, with the labels given. Raises DataFileError."""
    series = open_series(list(options.data))
    return series if options.labels is None else apply_labels(series, options.labels)


def files_of(split: Split, region: RegionSettings, task: Task) -> Files:
    """Material from labelled files."""
    how = (
        "by blocks of the same runs, so that nothing is known of other runs"
        if split.by_blocks
        else "by whole runs"
    )
    return Files(
        parts={"training": split.train, "calibration": split.calibrate, "test": split.test},
        region=region,
        words=(
            f"{sum(len(each.frames) for each in split.train)} labelled frames of "
            f"{', '.join(dict.fromkeys(each.name for each in split.train))}; split {how}"
        ),
        task=task,
    )


def simulated(
    random_runs: RandomRuns,
    tests: list[Draw],
    options: Options,
    *,
    runs: int,
    calibrated_on: int,
    shots: int,
    test_shots: int,
    task: Task,
    promised: tuple[str, float],
) -> Simulated:
    """Material from `runs` random runs, `shots` frames of each; calibration on one other for so
    many, and tests on named runs. Raises ConfigError where those are too few for what is promised,
    whatever is on them: training takes long.
    """
    n_calibrate = -(-runs // calibrated_on)
    name, share = promised
    needed = hits_needed(sensitivity=share, confidence=options.confidence)
    if n_calibrate * shots < needed:
        raise ConfigError(
            f"--runs {runs}: the threshold would rest on {n_calibrate * shots} frames, and {name} "
            f"{share:g} with {options.confidence:.4g} confidence takes {needed} of one kind; "
            f"name some {2 * calibrated_on * -(-needed // shots)} runs, or a lower {name}"
        )
    first = options.seed * SEEDS_APART
    return Simulated(
        runs={
            "training": random_runs(first, runs),
            "calibration": random_runs(first + SEEDS_APART // 2, n_calibrate),
            "test": tests,
        },
        shots={"training": shots, "calibration": shots, "test": test_shots},
        processes=options.processes or cores(),
        words=(
            f"{runs} simulated runs of random conditions, {shots} frames each; calibrated on "
            f"{n_calibrate} others; measured on {test_shots} frames of each of {len(tests)} named "
            "simulated runs, none of which it was trained on"
        ),
        task=task,
    )


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
    print_table(table)
    typer.echo(f"{target}: threshold {card.threshold:.4f}; {card.threshold_from}")
