"""What earlier lives of the service left in the ledger, for this one to go on with.

A series that a life left unfinished goes on when its next frame arrives within a day, so that what
was sent in between is counted as lost; after a stop only if its start was seen, since without
starts the next frame may be a new series'. Two lives at a time are refused.
What this file does not know: what is written from here on (`store`).
"""

import json
import os
import platform
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from hitfinder.errors import LedgerError
from hitfinder.ledger.counting import NumberSet, SeriesCount
from hitfinder.ledger.open_series import OpenSeries

_UNFINISHED = """
SELECT * FROM series WHERE id IN (SELECT max(id) FROM series GROUP BY name)
AND (ended IS NULL OR (ended = 'service stopped' AND started)) AND last_unix_ns > ?
"""

_FORGET_NS = 24 * 3600 * 1_000_000_000
"""A series that was silent for longer does not go on; its name is used again."""

_ALIVE_NS = 10_000_000_000
"""A session whose last sign is older than this is dead, whoever has its process number now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """An earlier life of the service that did not close, and what it left open."""

    session: int
    open_series: tuple[str, ...]


def take_over(
    db: sqlite3.Connection, path: Path, now_unix_ns: int
) -> tuple[dict[str, OpenSeries], Crash | None]:
    """The series to go on with, by name, and the last life if it did not close.

    Raises LedgerError when that life still runs, and sqlite3.Error.
    """
    session = db.execute(
        "SELECT id, alive_unix_ns, ended_unix_ns, process, host FROM sessions ORDER BY id DESC"
    ).fetchone()
    if session is None:
        return {}, None
    number, alive_unix_ns, ended_unix_ns, process, host = session
    crashed = ended_unix_ns is None
    fresh = now_unix_ns - alive_unix_ns < _ALIVE_NS
    here = host == platform.node() and process != os.getpid()
    if crashed and fresh and here and _is_running(process):
        raise LedgerError(
            f"ledger {path} is in use by process {process}; stop it or name another file"
        )
    cursor = db.cursor()
    cursor.row_factory = sqlite3.Row
    rows = cursor.execute(_UNFINISHED, (now_unix_ns - _FORGET_NS,)).fetchall()
    series = {row["name"]: _taken_over(db, row) for row in rows}
    if not crashed:
        return series, None
    open_series = tuple(row["name"] for row in rows if row["ended"] is None)
    return series, Crash(session=number, open_series=open_series)


def _taken_over(db: sqlite3.Connection, row: sqlite3.Row) -> OpenSeries:
    count = SeriesCount(
        started=bool(row["started"]),
        announced=row["announced"],
        late=row["late"],
        duplicates=row["duplicates"],
        stray=row["stray"],
    )
    try:
        count.numbers = NumberSet.of_runs(json.loads(row["runs"]))
    except (TypeError, ValueError):  # too many to be written, or damaged
        query = "SELECT number FROM frames WHERE series = ? AND arrival IN ('next', 'late')"
        for (number,) in db.execute(query, (row["id"],)):
            count.numbers.add(number)
    return OpenSeries(
        row=row["id"],
        count=count,
        received=row["received"],
        ended=row["ended"],
        last_unix_ns=row["last_unix_ns"],
        touched=False,
        lost_before=count.lost,
        duplicates_before=count.duplicates,
    )


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
