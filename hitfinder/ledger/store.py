"""The ledger on disk: SQLite in WAL mode, one row a frame, committed at least twice a second.

Killed at any moment, the file opens and is complete up to the last `flush`. A life of the
service that did not close is told by its row in `sessions`; a series that it left open goes on
when its next frame arrives, so that what was sent in between is counted as lost. A disk that
refuses a write loses nothing at first: rows wait in memory, within a bound, and are written
when it accepts again.
What this file does not know: threads. One thread at a time calls it.
"""

import os
import platform
import sqlite3
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hitfinder.errors import LedgerError
from hitfinder.frame import SeriesStarted
from hitfinder.ledger.counting import Arrival, SeriesCount
from hitfinder.verdict import Verdict

FORMAT = 1
BUSY_S = 0.05
MOST_LATE = 100
MAX_WAITING_ROWS = 1_000_000

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS sessions (
    id INTEGER PRIMARY KEY, started_unix_ns INTEGER NOT NULL, alive_unix_ns INTEGER NOT NULL,
    ended_unix_ns INTEGER, process INTEGER NOT NULL, host TEXT NOT NULL, model TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS series (
    id INTEGER PRIMARY KEY, session INTEGER NOT NULL REFERENCES sessions, name TEXT NOT NULL,
    unique_id TEXT, started INTEGER NOT NULL, announced INTEGER, ended TEXT,
    first_unix_ns INTEGER NOT NULL, last_unix_ns INTEGER NOT NULL,
    received INTEGER NOT NULL DEFAULT 0, lost INTEGER NOT NULL DEFAULT 0,
    lost_at_end INTEGER NOT NULL DEFAULT 0, duplicates INTEGER NOT NULL DEFAULT 0,
    late INTEGER NOT NULL DEFAULT 0, stray INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS frames (
    series INTEGER NOT NULL REFERENCES series, number INTEGER NOT NULL, arrival TEXT NOT NULL,
    outcome TEXT NOT NULL, reason TEXT, score REAL, arrival_unix_ns INTEGER NOT NULL,
    latency_us INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS events (
    session INTEGER NOT NULL REFERENCES sessions, unix_ns INTEGER NOT NULL, kind TEXT NOT NULL,
    text TEXT NOT NULL);
PRAGMA user_version = {FORMAT};
"""

_FRAME = "INSERT INTO frames VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_EVENT = "INSERT INTO events VALUES (?, ?, ?, ?)"
_SERIES = "INSERT INTO series (id, session, name, unique_id, started, announced, first_unix_ns, last_unix_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: E501
_SERIES_NOW = "UPDATE series SET ended=?, last_unix_ns=?, received=?, lost=?, lost_at_end=?, duplicates=?, late=?, stray=?, announced=? WHERE id=?"  # noqa: E501


_OVER = ("end", "no end seen")
"""Ends after which announced frames that never came are lost."""

_ALIVE_NS = 10_000_000_000
"""A session whose last sign is older than this is dead, whoever has its process number now."""


@dataclass(slots=True, kw_only=True)
class _OpenSeries:
    row: int
    count: SeriesCount
    received: int = 0
    last_unix_ns: int = 0
    ended: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """An earlier life of the service that did not close: its last sign, and what it left open."""

    session: int
    alive_unix_ns: int
    open_series: tuple[str, ...]


class Ledger:
    """Records outcomes. `wall_ns` gives Unix time in nanoseconds for a monotonic time."""

    def __init__(self, path: Path, *, model: str, wall_ns: Callable[[int], int]) -> None:
        self._path = path
        self._model = model
        self._wall_ns = wall_ns
        self._series: dict[str, _OpenSeries] = {}
        self._statements: deque[tuple[str, tuple[object, ...]]] = deque()
        self._dirty: dict[int, _OpenSeries] = {}
        self._closed_lost = self._closed_duplicates = 0
        self.rows_dropped = 0

    def open(self, now_ns: int) -> Crash | None:
        """Open or create the file; says whether the last life ended badly. Raises LedgerError."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # The pipeline opens it in one thread and writes from another, never both at once.
            # A file that someone else locks must not hold up the frames: the rows wait instead.
            self._db = sqlite3.connect(
                self._path, timeout=BUSY_S, check_same_thread=False, isolation_level=None
            )
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, FORMAT):
                raise LedgerError(
                    f"ledger {self._path} has format {version}, this hitfinder writes {FORMAT}; "
                    f"name another file"
                )
            self._db.execute("PRAGMA journal_mode = WAL")
            # A killed process loses nothing; a power cut may lose the last seconds.
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(_SCHEMA)
            crash = self._take_over(now_ns)
            wall = self._wall_ns(now_ns)
            cursor = self._db.execute(
                "INSERT INTO sessions (started_unix_ns, alive_unix_ns, process, host, model) "
                "VALUES (?, ?, ?, ?, ?)",
                (wall, wall, os.getpid(), platform.node(), self._model),
            )
            self._session = int(cursor.lastrowid or 0)
            last = self._db.execute("SELECT max(id) FROM series").fetchone()[0]
        except (sqlite3.Error, OSError) as error:
            raise LedgerError(
                f"ledger {self._path}: {error}; name a file in a folder that can be written"
            ) from error
        self._next_row = (last or 0) + 1
        return crash

    def series_started(self, event: SeriesStarted, now_ns: int) -> None:
        """A series begins; one of the same name that is still open is over without its end."""
        self._close_series(event.series, "no end seen")
        self._open_series(
            event.series, now_ns, announced=event.announced, started=True, unique_id=event.unique_id
        )

    def series_ended(self, series: str) -> SeriesCount | None:
        """The sender's end of a series; returns its count, None when no frame of it was seen."""
        return self._close_series(series, "end")

    def frame(self, verdict: Verdict) -> Arrival:
        """Record one frame's outcome. A series not yet known was joined midway."""
        known = self._series.get(verdict.series)
        if known is None or self._begins_anew(known, verdict.number):
            self._close_series(verdict.series, "numbers began anew")
            known = self._open_series(verdict.series, verdict.arrival_ns, started=False)
        arrival = known.count.arrive(verdict.number)
        known.received += 1
        known.last_unix_ns = wall = self._wall_ns(verdict.arrival_ns)
        self._dirty[known.row] = known
        latency_us = (verdict.settled_ns - verdict.arrival_ns) // 1000
        reason = None if verdict.reason is None else verdict.reason.value
        self._later(
            _FRAME,
            (
                known.row,
                verdict.number,
                arrival.value,
                verdict.outcome.value,
                reason,
                verdict.score,
                wall,
                latency_us,
            ),
        )
        return arrival

    def event(self, kind: str, text: str, now_ns: int) -> None:
        """Record something that happened to the service."""
        self._later(_EVENT, (self._session, self._wall_ns(now_ns), kind, text))

    def flush(self, now_ns: int) -> None:
        """Commit everything so far, in one transaction. Raises LedgerError; then all of it is
        kept for the next try, within MAX_WAITING_ROWS.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for statement, values in self._statements:
                self._db.execute(statement, values)
            for known in self._dirty.values():
                self._db.execute(_SERIES_NOW, _series_row(known))
            self._db.execute(
                "UPDATE sessions SET alive_unix_ns = ? WHERE id = ?",
                (self._wall_ns(now_ns), self._session),
            )
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise LedgerError(
                f"ledger {self._path} does not take writes: {error}; free the disk, "
                f"{len(self._statements)} rows wait in memory"
            ) from error
        self._statements.clear()
        self._dirty.clear()

    def close(self, now_ns: int) -> None:
        """Close the session; what its open series still owed is not lost. Raises LedgerError."""
        for name in list(self._series):
            self._close_series(name, "service stopped")
        self.flush(now_ns)
        self._db.execute(
            "UPDATE sessions SET ended_unix_ns = ? WHERE id = ?",
            (self._wall_ns(now_ns), self._session),
        )
        self._db.close()

    @property
    def lost(self) -> int:
        """Frames lost upstream, over all series of this session."""
        return self._closed_lost + sum(known.count.lost for known in self._series.values())

    @property
    def duplicates(self) -> int:
        """Frames that came more than once, over all series of this session."""
        return self._closed_duplicates + sum(k.count.duplicates for k in self._series.values())

    def _later(self, statement: str, values: tuple[object, ...]) -> None:
        if len(self._statements) >= MAX_WAITING_ROWS:
            self._statements.popleft()
            self.rows_dropped += 1
        self._statements.append((statement, values))

    def _begins_anew(self, known: _OpenSeries, number: int) -> bool:
        """Protocols without a start message begin a new series by counting from the beginning:
        back at the first number seen, or further back than a late frame can be.
        """
        first = known.count.numbers.first
        if known.count.started or first is None or known.count.numbers.count < 2:
            return False
        return number == first or number < first - MOST_LATE

    def _open_series(
        self,
        name: str,
        now_ns: int,
        *,
        started: bool,
        announced: int | None = None,
        unique_id: str | None = None,
    ) -> _OpenSeries:
        wall = self._wall_ns(now_ns)
        known = _OpenSeries(
            row=self._next_row,
            last_unix_ns=wall,
            count=SeriesCount(started=started, announced=announced),
        )
        self._next_row += 1
        self._later(
            _SERIES, (known.row, self._session, name, unique_id, started, announced, wall, wall)
        )
        self._series[name] = self._dirty[known.row] = known
        return known

    def _close_series(self, name: str, how: str) -> SeriesCount | None:
        known = self._series.pop(name, None)
        if known is None:
            return None
        known.ended, known.count.ended = how, how in _OVER
        self._dirty[known.row] = known
        self._closed_lost += known.count.lost
        self._closed_duplicates += known.count.duplicates
        return known.count

    def _take_over(self, now_ns: int) -> Crash | None:
        """Find a session that did not close, and go on with the series it left open."""
        session = self._db.execute(
            "SELECT id, alive_unix_ns, ended_unix_ns, process, host FROM sessions ORDER BY id DESC"
        ).fetchone()
        if session is None or session[2] is not None:
            return None
        number, alive_unix_ns, _, process, host = session
        fresh = self._wall_ns(now_ns) - alive_unix_ns < _ALIVE_NS
        here = host == platform.node() and process != os.getpid()
        if fresh and here and _is_running(process):
            raise LedgerError(
                f"ledger {self._path} is in use by process {process}; stop it or name another file"
            )
        rows = self._db.execute(
            "SELECT id, name, started, announced, last_unix_ns FROM series "
            "WHERE session = ? AND ended IS NULL",
            (number,),
        ).fetchall()
        for row, name, started, announced, last_unix_ns in rows:
            count = SeriesCount(started=bool(started), announced=announced)
            known = _OpenSeries(row=row, count=count, last_unix_ns=last_unix_ns)
            for (seen,) in self._db.execute("SELECT number FROM frames WHERE series = ?", (row,)):
                count.arrive(seen)
                known.received += 1
            self._series[name] = known
            # Only what this session sees is this session's loss.
            self._closed_lost -= count.lost
            self._closed_duplicates -= count.duplicates
        return Crash(
            session=number, alive_unix_ns=alive_unix_ns, open_series=tuple(row[1] for row in rows)
        )


def _series_row(known: _OpenSeries) -> tuple[object, ...]:
    count = known.count
    return (
        known.ended,
        known.last_unix_ns,
        known.received,
        count.lost,
        count.lost_at_end,
        count.duplicates,
        count.late,
        count.stray,
        count.announced,
        known.row,
    )


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
