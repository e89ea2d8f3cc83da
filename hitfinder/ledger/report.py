"""Reading a ledger, also while the service writes it: what was seen, and exports of it."""

import csv
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hitfinder.errors import ConfigError, LedgerError
from hitfinder.ledger.schema import FORMAT

COLUMNS = (
    *("session", "series", "unique_id", "number", "arrival", "outcome", "reason", "score"),
    *("arrival_unix_ns", "latency_us", "diffuse", "diffuse_reason", "diffuse_score"),
)

_FRAMES = (
    "SELECT s.session, s.name, s.unique_id, f.number, f.arrival, f.outcome, f.reason, f.score, "
    "f.arrival_unix_ns, f.latency_us, {diffuse}, {diffuse_reason}, {diffuse_score} "
    "FROM frames f JOIN series s ON s.id = f.series ORDER BY f.rowid"
)

_SERIES = (
    "SELECT s.session, s.name, s.announced, s.ended, s.received, s.lost, s.lost_at_end, "
    "s.duplicates, s.late, s.stray, s.first_unix_ns, s.last_unix_ns, "
    "count(f.outcome) FILTER (WHERE f.outcome = 'kept'), "
    "count(f.outcome) FILTER (WHERE f.outcome = 'vetoed'), "
    "count(f.outcome) FILTER (WHERE f.outcome = 'unjudged'), "
    "count(f.outcome) FILTER (WHERE {diffuse} = 'yes') "
    "FROM series s LEFT JOIN frames f ON f.series = s.id GROUP BY s.id ORDER BY s.id"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesReport:
    """One series: received = kept + vetoed + unjudged. `diffuse` are hits with diffuse
    scattering, among the kept, or the vetoed if the policy wants it so.
    """

    session: int
    series: str
    announced: int | None
    ended: str | None
    received: int
    lost: int
    lost_at_end: int
    duplicates: int
    late: int
    stray: int
    first_unix_ns: int
    last_unix_ns: int
    kept: int
    vetoed: int
    unjudged: int
    diffuse: int

    @property
    def balances(self) -> bool:
        """Every frame has an outcome, and every announced frame of an ended series is told."""
        outcomes = self.received == self.kept + self.vetoed + self.unjudged
        if self.ended != "end" or self.announced is None:
            return outcomes
        return outcomes and self.announced <= self.received - self.duplicates + self.lost


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionReport:
    """One life of the service. `ended_unix_ns` is None while it runs, or when it was killed."""

    session: int
    started_unix_ns: int
    alive_unix_ns: int
    ended_unix_ns: int | None
    host: str
    model: str
    diffuse_model: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventReport:
    """Something that happened to the service."""

    session: int
    unix_ns: int
    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerReport:
    """Everything but the single frames. `unjudged` counts frames by reason; `diffuse` counts hits
    by what the second step says, "yes", "no", or the reason why it says nothing.
    """

    sessions: tuple[SessionReport, ...]
    series: tuple[SeriesReport, ...]
    events: tuple[EventReport, ...]
    unjudged: dict[str, int]
    diffuse: dict[str, int]


def read_report(path: Path) -> LedgerReport:
    """Raises LedgerError."""
    with _reading(path) as db:
        columns = _diffuse_columns(db)
        sessions = db.execute(
            "SELECT id, started_unix_ns, alive_unix_ns, ended_unix_ns, host, model, "
            "{diffuse_model} FROM sessions ORDER BY id".format_map(columns)
        ).fetchall()
        events = db.execute("SELECT session, unix_ns, kind, text FROM events ORDER BY rowid")
        unjudged = db.execute(
            "SELECT reason, count(*) FROM frames WHERE reason IS NOT NULL GROUP BY reason"
        )
        diffuse = db.execute(
            "SELECT coalesce({diffuse_reason}, {diffuse}) AS found, count(*) FROM frames f "
            "WHERE found IS NOT NULL GROUP BY found".format_map(columns)
        )
        series = db.execute(_SERIES.format_map(columns))
        return LedgerReport(
            sessions=tuple(_named(SessionReport, row) for row in sessions),
            series=tuple(_named(SeriesReport, row) for row in series),
            events=tuple(_named(EventReport, row) for row in events),
            unjudged=dict(unjudged.fetchall()),
            diffuse=dict(diffuse.fetchall()),
        )


def check_ledger(path: Path) -> None:
    """Raises LedgerError for something that is there and is no ledger."""
    if path.is_dir():
        raise LedgerError(f"ledger {path} is a folder; name a file in it")
    if path.exists():
        with _reading(path) as db:
            db.execute("PRAGMA schema_version").fetchone()


def read_frames(path: Path) -> Iterator[tuple[Any, ...]]:
    """Rows of COLUMNS in order of publication. Raises LedgerError."""
    with _reading(path) as db:
        yield from db.execute(_FRAMES.format_map(_diffuse_columns(db)))


def export_csv(path: Path, target: Path) -> int:
    """Write all frames as CSV; returns how many. Raises LedgerError."""
    count = 0
    with _replacing(target) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in read_frames(path):
            writer.writerow(row)
            count += 1
    return count


def export_parquet(path: Path, target: Path) -> int:
    """Write all frames as Parquet; returns how many. Raises LedgerError, ConfigError."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError(
            "Parquet needs pyarrow: in the checkout, pip install '.[parquet]'; or export csv"
        ) from error
    rows = list(read_frames(path))
    columns = zip(*rows, strict=True) if rows else [()] * len(COLUMNS)
    table = pyarrow.table(dict(zip(COLUMNS, map(list, columns), strict=True)))
    with _replacing(target) as partial:
        pyarrow.parquet.write_table(table, partial)
    return len(rows)


def _diffuse_columns(db: sqlite3.Connection) -> dict[str, str]:
    """What to select for each column that a ledger of format 1 has not: reading migrates none."""
    has_them = db.execute("PRAGMA user_version").fetchone()[0] >= FORMAT
    frames = ("diffuse", "diffuse_reason", "diffuse_score")
    columns = {name: f"f.{name}" for name in frames} | {"diffuse_model": "diffuse_model"}
    return columns if has_them else dict.fromkeys(columns, "NULL")


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """A file beside `target` that takes its place when all went well."""
    partial = target.with_name(f"{target.name}.partial")
    try:
        yield partial
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _named(kind: Any, row: tuple[Any, ...]) -> Any:
    return kind(**dict(zip(kind.__dataclass_fields__, row, strict=True)))


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    if not path.is_file():
        raise LedgerError(f"no ledger at {path}; the path stands under [ledger] in the config")
    try:
        # Without a write-ahead log nobody writes, and reading needs no right to write beside it.
        idle = not path.with_name(f"{path.name}-wal").exists()
        options = "mode=ro&immutable=1" if idle else "mode=ro"
        with closing(sqlite3.connect(f"file:{quote(str(path))}?{options}", uri=True)) as db:
            yield db
    except sqlite3.Error as error:
        raise LedgerError(
            f"ledger {path} cannot be read: {error}; name a file that `hitfinder serve` wrote"
        ) from error
