"""`hitfinder classify`: files to a verdict table."""

import csv
import time
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from hitfinder.assemble import build_judging
from hitfinder.classify import Classified, classify
from hitfinder.commands.regions import check_region
from hitfinder.commands.targets import check_target
from hitfinder.config import ServeConfig, load_config
from hitfinder.dataset.series import open_series
from hitfinder.settings import checked

# A file needs no socket, but a configuration does; nobody connects to this one.
_NO_INPUT = {"input": {"endpoint": "ipc://none", "protocol": "dectris-v2"}}
_NO_DEADLINE = {"deadline_ms": 600_000.0}
COLUMNS = ("file", "frame", "outcome", "reason", "score", "truth")


def run(
    files: list[Path],
    *,
    config: Path | None,
    region: str | None,
    model: str | None,
    csv_path: Path | None,
) -> int:
    """Exit status 0 when every frame got a score."""
    if region is not None:
        check_region(region)
    check_target(csv_path)
    base = checked(ServeConfig, _NO_INPUT, "defaults") if config is None else load_config(config)
    folder = Path.cwd() if config is None else config.resolve().parent
    table = base.model_dump(exclude_unset=True)
    table["pressure"] = table.get("pressure", {}) | _NO_DEADLINE
    if region is not None:
        rest = base.region.model_dump(exclude={"kind", "top", "left"})
        table["region"] = {**rest, "kind": region}
    if model is not None:
        artifact = Path(model)
        name = str(artifact.resolve()) if artifact.is_dir() else model
        table["model"] = {**table.get("model", {}), "artifact": name}
    clock = time.monotonic_ns
    judging = build_judging(checked(ServeConfig, table, "options"), folder, clock)
    series = open_series(files)
    results: list[Classified] = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("judging", total=sum(len(one.frames) for one in series))
        for one in series:
            for result in classify(one, judging, clock):
                results.append(result)
                progress.advance(task)
    rows = [_row(result) for result in results]
    _print(rows)
    if csv_path is not None:
        with csv_path.open("w", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *rows])
    for result in results:
        if result.problem is not None:
            typer.echo(f"hitfinder: {result.problem}", err=True)
    scored = [r for r in results if r.verdict is not None and r.verdict.score is not None]
    kept = sum(r.verdict is not None and r.verdict.outcome == "kept" for r in scored)
    typer.echo(
        f"{len(results)} frames, {kept} kept, {len(scored) - kept} vetoed, "
        f"{len(results) - len(scored)} without a score; model {judging.model.card.name}, "
        f"threshold {judging.threshold:g}, {judging.model.device}"
    )
    return 0 if len(scored) == len(results) else 1


def _row(result: Classified) -> tuple[str, ...]:
    verdict = result.verdict
    if verdict is None:
        return (str(result.path), str(result.index), "unreadable", "", "", result.truth or "")
    return (
        str(result.path),
        str(result.index),
        verdict.outcome.value,
        "" if verdict.reason is None else verdict.reason.value,
        "" if verdict.score is None else f"{verdict.score:.4f}",
        result.truth or "",
    )


def _print(rows: list[tuple[str, ...]]) -> None:
    table = Table(box=None)
    for name in COLUMNS:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
