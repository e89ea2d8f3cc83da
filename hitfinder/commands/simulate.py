"""`hitfinder simulate`: runs with known truth, one HDF5 file each."""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import typer

from hitfinder.commands.progress import progress_bar
from hitfinder.errors import ConfigError
from hitfinder.simulation.catalog import (
    CENTRAL_PX,
    DIFFUSE_RUNS,
    EXPERIMENTS,
    NAMED,
    PAPER_RUNS,
    central,
)
from hitfinder.simulation.random_diffuse import random_diffuse_run
from hitfinder.simulation.random_run import random_run
from hitfinder.simulation.series import write_demo_series, write_series

_SETS = {"paper": PAPER_RUNS, "experiments": EXPERIMENTS, "diffuse": DIFFUSE_RUNS}
KINDS = ("random", "random-diffuse", *_SETS, "demo", *NAMED)

_SEEDS_APART = 1000
"""Named runs have seeds below; another `--seed` gives each run other shots, never one another's."""

_UNTRAINED = 10**15
"""Random runs from this seed on: `train` draws its own far below, and a model must not be measured
on the crystals that it learned from."""

Write = Callable[[], None]
"""Writes one file."""


def run(
    target: Path,
    *,
    what: str,
    frames: int,
    runs: int,
    seed: int,
    whole: bool,
    processes: int,
    first: int = 0,
) -> int:
    """Write `what` into the folder `target`, made if absent: a run a file, `frames` shots each from
    shot `first` on, of the middle 350 x 350 pixels or of `whole` detectors. "random" and
    "random-diffuse" draw `runs` runs, none that `hitfinder train` learns from. Runs with diffuse
    hits are always whole. Equal arguments give equal files. Exit status 0.

    Raises ConfigError and DataFileError.
    """
    for name, value, least in (
        ("--frames", frames, 1),
        ("--first", first, 0),
        ("--runs", runs, 1),
        ("--seed", seed, 0),
        ("--processes", processes, 1),
    ):
        if value < least:
            raise ConfigError(f"{name} {value}: must be {least} or more")
    if what not in KINDS:
        raise ConfigError(f"simulate {what}: known are {', '.join(KINDS)}")
    if what == "demo" and first:
        raise ConfigError("--first: the demo is always the same; leave it out")
    if target.exists() and not target.is_dir():
        raise ConfigError(f"cannot write into {target}: it is a file; name a folder")
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make {target}: {error.strerror}; name another folder") from error
    jobs = _jobs(target, what, frames, first, runs, seed, whole)
    with progress_bar() as progress:
        task = progress.add_task("simulating", total=len(jobs))
        for path in _written(jobs, processes):
            progress.advance(task)
            progress.console.print(f"{path}", highlight=False)
    typer.echo(f"{len(jobs)} file{'s' * (len(jobs) > 1)} of {frames} frames in {target}")
    return 0


def _jobs(
    target: Path, what: str, frames: int, first: int, runs: int, seed: int, whole: bool
) -> dict[Path, Write]:
    """What writes each file."""
    if what == "demo":
        path = target / "demo.h5"
        return {path: partial(write_demo_series, path, frames, seed)}
    if what in ("random", "random-diffuse"):
        paths = {one: target / f"{what}-{one}.h5" for one in range(seed, seed + runs)}
        return {
            path: partial(_random, path, _UNTRAINED + one, frames, first, whole, what)
            for one, path in paths.items()
        }
    jobs: dict[Path, Write] = {}
    for one in _SETS.get(what) or (NAMED[what],):
        path = target / f"{one.name}.h5"
        seeded = replace(one, seed=one.seed + _SEEDS_APART * seed)
        seen = seeded if whole or one.diffuse else central(seeded)
        jobs[path] = partial(write_series, path, seen, frames, first)
    return jobs


def _random(path: Path, seed: int, frames: int, first: int, whole: bool, what: str) -> None:
    """A run drawn here, as drawing takes a while, too."""
    side = None if whole else CENTRAL_PX
    run = random_run(seed, side, side) if what == "random" else random_diffuse_run(seed)
    write_series(path, replace(run, name=path.stem), frames, first)


def _written(jobs: dict[Path, Write], processes: int) -> Iterator[Path]:
    """Does the jobs and yields each file that is complete."""
    if processes == 1:
        for path, write in jobs.items():
            write()
            yield path
        return
    # A fork would copy the locks of this process' threads in whatever state they are.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(write): path for path, write in jobs.items()}
        try:
            for future in as_completed(futures):
                future.result()
                yield futures[future]
        finally:  # after Ctrl-C or a full disk the pool would make all the other runs first
            pool.shutdown(cancel_futures=True)
