"""`hitfinder classify`: files to a verdict table."""

import csv
import time
from collections import Counter
from itertools import compress
from pathlib import Path

import typer
from rich.table import Table

from hitfinder.assemble import SecondStep, build_judging
from hitfinder.classify import Classified, classify
from hitfinder.commands.progress import progress_bar
from hitfinder.commands.regions import check_region
from hitfinder.commands.tables import print_table
from hitfinder.commands.targets import check_target
from hitfinder.config import ServeConfig, load_config
from hitfinder.dataset.series import open_series
from hitfinder.settings import checked
from hitfinder.verdict import Diffuse

# A file needs no socket, but a configuration does; nobody connects to this one.
_NO_INPUT = {"input": {"endpoint": "ipc://none", "protocol": "dectris-v2"}}
_NO_DEADLINE = {"deadline_ms": 600_000.0}
COLUMNS = ("file", "frame", "outcome", "reason", "score", "diffuse", "diffuse_score", "truth")


def run(
    files: list[Path],
    *,
    config: Path | None,
    region: str | None,
    model: str | None,
    diffuse: str | None,
    csv_path: Path | None,
) -> int:
    """Exit status 0 when every frame got a score, and every hit a second one if it is to."""
    if region is not None:
        check_region(region)
    check_target(csv_path, ".csv")
    base = checked(ServeConfig, _NO_INPUT, "defaults") if config is None else load_config(config)
    folder = Path.cwd() if config is None else config.resolve().parent
    table = base.model_dump(exclude_unset=True)
    table["pressure"] = table.get("pressure", {}) | _NO_DEADLINE
    if region is not None:
        rest = base.region.model_dump(exclude={"kind", "top", "left"})
        table["region"] = {**rest, "kind": region}
    for section, name in {"model": model, "diffuse": diffuse}.items():
        if name is not None:
            artifact = str(Path(name).resolve()) if Path(name).is_dir() else name
            table[section] = {**(table.get(section) or {}), "artifact": artifact}
    if table.get("diffuse") is not None:
        table["diffuse"] |= _NO_DEADLINE
    clock = time.monotonic_ns
    judging = build_judging(checked(ServeConfig, table, "options"), folder, clock)
    series = open_series(files)
    results: list[Classified] = []
    with progress_bar() as progress:
        task = progress.add_task("judging", total=sum(len(one.frames) for one in series))
        for one in series:
            for result in classify(one, judging, clock):
                results.append(result)
                progress.advance(task)
    rows = [_row(result) for result in results]
    if csv_path is not None:
        with csv_path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMNS, *rows])
    _print(rows)
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
    if judging.second is not None:
        _tell_second_step(judging.second, scored)
    findings = [r.verdict.diffuse for r in scored if r.verdict is not None]
    unknown = any(found is not None and found.score is None for found in findings)
    return 0 if len(scored) == len(results) and not unknown else 1


def _tell_second_step(second: SecondStep, scored: list[Classified]) -> None:
    found = Counter(
        r.verdict.diffuse.diffuse
        for r in scored
        if r.verdict is not None and r.verdict.diffuse is not None
    )
    typer.echo(
        f"{found.total()} hits, {found[Diffuse.YES]} with diffuse scattering, "
        f"{found[Diffuse.NO]} without, {found[Diffuse.UNJUDGED]} without a score; "
        f"model {second.model.card.name}, threshold {second.threshold:g}, {second.model.device}"
    )


def _row(result: Classified) -> tuple[str, ...]:
    verdict = result.verdict
    if verdict is None:
        unread = ("unreadable", "", "", "", "")
        return (str(result.path), str(result.index), *unread, result.truth or "")
    found = verdict.diffuse
    return (
        str(result.path),
        str(result.index),
        verdict.outcome.value,
        "" if verdict.reason is None else verdict.reason.value,
        "" if verdict.score is None else f"{verdict.score:.4f}",
        "" if found is None else found.reason or found.diffuse.value,
        "" if found is None or found.score is None else f"{found.score:.4f}",
        result.truth or "",
    )


def _print(rows: list[tuple[str, ...]]) -> None:
    told = [any(cells) for cells in zip(*rows, strict=True)]
    table = Table(box=None)
    for name in compress(COLUMNS, told):  # a column that is empty takes room from the files' names
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*compress(row, told))
    print_table(table)
