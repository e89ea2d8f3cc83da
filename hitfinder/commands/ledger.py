"""`hitfinder ledger`: read what the service recorded, also while it runs."""

from datetime import UTC, datetime
from pathlib import Path

import typer
from rich.table import Table

from hitfinder.commands.tables import print_table
from hitfinder.commands.targets import check_target
from hitfinder.errors import ConfigError
from hitfinder.ledger.report import LedgerReport, export_csv, export_parquet, read_report

_EXPORTS = {".csv": export_csv, ".parquet": export_parquet}
LATEST_EVENTS = 30


def show(path: Path) -> int:
    """Exit status 0 when every series balances."""
    report = read_report(path)
    for table in (_sessions(report), _series(report), _events(report)):
        print_table(table)
    unjudged = ", ".join(f"{reason} {count}" for reason, count in report.unjudged.items())
    typer.echo(f"unjudged by reason: {unjudged or 'none'}")
    if report.diffuse:
        diffuse = ", ".join(f"{found} {count}" for found, count in report.diffuse.items())
        typer.echo(f"diffuse scattering in hits: {diffuse}")
    off = [one.series for one in report.series if not one.balances]
    typer.echo(f"totals do not balance in series {', '.join(off)}" if off else "totals balance")
    return 1 if off else 0


def export(path: Path, target: Path) -> int:
    """Write all frames."""
    write = _EXPORTS.get(target.suffix)
    if write is None:
        raise ConfigError(f"cannot export to {target}: name a .csv or .parquet file")
    check_target(target, target.suffix)
    typer.echo(f"{write(path, target)} frames written to {target}")
    return 0


def _sessions(report: LedgerReport) -> Table:
    table = Table(title="sessions (times in UTC)", box=None, title_justify="left")
    for name in ("id", "started", "ended", "host", "model", "diffuse model"):
        table.add_column(name)
    for one in report.sessions:
        if one.ended_unix_ns is None:
            ended = f"open; last sign {_time(one.alive_unix_ns)}"
        else:
            ended = _time(one.ended_unix_ns)
        models = (one.model, one.diffuse_model or "–")
        table.add_row(str(one.session), _time(one.started_unix_ns), ended, one.host, *models)
    return table


def _series(report: LedgerReport) -> Table:
    table = Table(title="series", box=None, title_justify="left")
    # What seldom is anything but nothing is left out then, or 80 columns do not hold the rest.
    seldom = [
        name
        for name in ("diffuse", "duplicates", "late", "stray")
        if any(getattr(one, name) for one in report.series)
    ]
    names = ("announced", "received", "kept", "vetoed", "unjudged", "lost", *seldom)
    table.add_column("series", overflow="fold")
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("ended")
    for one in report.series:
        values = (getattr(one, name) for name in names)
        cells = ("–" if value is None else str(value) for value in values)
        table.add_row(one.series, *cells, one.ended or "open")
    return table


def _events(report: LedgerReport) -> Table:
    table = Table(
        title=f"last {LATEST_EVENTS} events (times in UTC)", box=None, title_justify="left"
    )
    for name in ("time", "what", "text"):
        table.add_column(name)
    for one in report.events[-LATEST_EVENTS:]:
        table.add_row(_time(one.unix_ns), one.kind, one.text)
    return table


def _time(unix_ns: int) -> str:
    return datetime.fromtimestamp(unix_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S")
