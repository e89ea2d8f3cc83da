"""The ledger on disk: SQLite in WAL mode, one row a frame, committed at least twice a second.

Killed at any moment, the file opens and is complete up to the last `flush`. A life of the
service that did not close is told by its row in `sessions`; what it left unfinished goes on
(`takeover`). A disk that refuses a write loses nothing at first: rows wait in memory, within a
bound, and are written when it accepts again.
What this file does not know: threads. One thread at a time calls it.
"""

import os
import platform
import sqlite3
from collections import deque
from collections.abc import Callable
from pathlib import Path

from hitfinder.errors import LedgerError
from hitfinder.frame import SeriesStarted
from hitfinder.ledger.counting import Arrival, SeriesCount
from hitfinder.ledger.open_series import OpenSeries
from hitfinder.ledger.schema import FORMAT, SCHEMA, migrate
from hitfinder.ledger.takeover import Crash, take_over
from hitfinder.verdict import Verdict

BUSY_MS = 50
"""How long a write waits for whoever locks the file: frames wait behind it."""

PATIENT_BUSY_MS = 5000
"""The same at the start and at the end, when no frame waits: whoever tidies up or reads after a
crash locks the file for a moment, and that is no reason not to start."""

MAX_WAITING_ROWS = 1_000_000
"""Frames held for a disk that refuses writes; then the oldest are dropped, counted."""

MAX_WAITING_EVENTS = 10_000
"""Events likewise, not counted: each was logged. A receiver that flaps makes some ten a second."""

_FRAME = "INSERT INTO frames VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_EVENT = "INSERT INTO events VALUES (?, ?, ?, ?)"
_SERIES = """
INSERT INTO series (id, session, name, unique_id, started, announced, first_unix_ns, last_unix_ns)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_SERIES_NOW = """
UPDATE series SET ended = ?, last_unix_ns = ?, received = ?, lost = ?, lost_at_end = ?,
duplicates = ?, late = ?, stray = ?, announced = ?, runs = ? WHERE id = ?
"""
_OVER = ("end", "no end seen")
"""Ends after which announced frames that never came are lost."""


class Ledger:
    """Records outcomes. `wall_ns` gives Unix time in nanoseconds for a monotonic time."""

    def __init__(
        self,
        path: Path,
        *,
        model: str,
        wall_ns: Callable[[int], int],
        diffuse_model: str | None = None,
    ) -> None:
        self._path = path
        self._model = model
        self._diffuse_model = diffuse_model
        self._wall_ns = wall_ns
        self._series: dict[str, OpenSeries] = {}
        self._openings: list[tuple[object, ...]] = []
        self._events: deque[tuple[object, ...]] = deque(maxlen=MAX_WAITING_EVENTS)
        self._frames: deque[tuple[object, ...]] = deque()
        self._dirty: dict[int, OpenSeries] = {}
        self._closed_lost = self._closed_duplicates = 0
        self.rows_dropped = 0

    def open(self, now_ns: int) -> Crash | None:
        """Open or create the file; says whether the last life ended badly. Raises LedgerError."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # The pipeline opens it in one thread and writes from another, never both at once.
            self._db = sqlite3.connect(
                self._path,
                timeout=PATIENT_BUSY_MS / 1000,
                check_same_thread=False,
                isolation_level=None,
            )
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if not 0 <= version <= FORMAT:
                raise LedgerError(
                    f"ledger {self._path} has format {version}, this hitfinder writes {FORMAT}; "
                    f"name another file"
                )
            self._db.execute("PRAGMA journal_mode = WAL")
            # A killed process loses nothing; a power cut may lose the last seconds.
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(SCHEMA)
            self._series, crash = take_over(self._db, self._path, self._wall_ns(now_ns))
            migrate(self._db, version)
            unix_ns = self._wall_ns(now_ns)
            cursor = self._db.execute(
                "INSERT INTO sessions (started_unix_ns, alive_unix_ns, process, host, model, "
                "diffuse_model) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    *(unix_ns, unix_ns, os.getpid(), platform.node()),
                    *(self._model, self._diffuse_model),
                ),
            )
            self._session = int(cursor.lastrowid or 0)
            last = self._db.execute("SELECT max(id) FROM series").fetchone()[0]
            # From here on whoever locks the file must not hold up frames: the rows wait instead.
            self._db.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        except (sqlite3.Error, OSError) as error:
            raise LedgerError(
                f"ledger {self._path}: {error}; name another file, in a folder that can be written"
            ) from error
        self._next_row = (last or 0) + 1
        return crash

    def series_started(self, event: SeriesStarted, now_ns: int) -> None:
        """A series begins; one of the same name that is still open is over without its end.

        A start that is only repeated, before any frame, changes nothing.
        """
        known = self._series.get(event.series)
        if known is not None and known.touched and known.received == 0 and known.count.started:
            known.count.announced = event.announced
            return
        self._close_series(event.series, "no end seen")
        self._open_series(
            event.series, now_ns, announced=event.announced, started=True, unique_id=event.unique_id
        )

    def series_ended(self, series: str) -> SeriesCount | None:
        """The sender's end of a series; returns its count, None when no frame of it was seen."""
        if (known := self._series.get(series)) is not None:
            known.touched = True  # of one taken over it may be all that this session sees
        return self._close_series(series, "end")

    def frame(self, verdict: Verdict) -> None:
        """Record one frame's outcome. A series not yet known was joined midway."""
        known = self._series.get(verdict.series)
        if known is None or known.begins_anew(verdict.number):
            self._close_series(verdict.series, "numbers began anew")
            known = self._open_series(verdict.series, verdict.arrival_ns, started=False)
        arrival = known.count.arrive(verdict.number)
        known.received += 1
        known.touched, known.ended = True, None
        known.last_stray = verdict.number if arrival is Arrival.STRAY else None
        known.last_unix_ns = unix_ns = self._wall_ns(verdict.arrival_ns)
        self._dirty[known.row] = known
        latency_us = (verdict.settled_ns - verdict.arrival_ns) // 1000
        reason = None if verdict.reason is None else verdict.reason.value
        if len(self._frames) >= MAX_WAITING_ROWS:
            self._frames.popleft()
            self.rows_dropped += 1
        self._frames.append(
            (
                known.row,
                verdict.number,
                arrival.value,
                verdict.outcome.value,
                reason,
                verdict.score,
                unix_ns,
                latency_us,
                *_diffuse_columns(verdict),
            )
        )

    def event(self, kind: str, text: str, now_ns: int) -> None:
        """Record something that happened to the service."""
        # SQLite refuses what is not UTF-8, and a path in `text` may be so.
        text = text.encode(errors="backslashreplace").decode()
        self._events.append((self._session, self._wall_ns(now_ns), kind, text))

    def flush(self, now_ns: int) -> None:
        """Commit everything so far, in one transaction. Raises LedgerError; then all of it is
        kept for the next try, within MAX_WAITING_ROWS.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(_SERIES, self._openings)
            self._db.executemany(_EVENT, self._events)
            self._db.executemany(_FRAME, self._frames)
            for known in self._dirty.values():
                self._db.execute(_SERIES_NOW, (*known.columns(), known.row))
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
                f"{len(self._frames)} rows wait in memory, {self.rows_dropped} were dropped"
            ) from error
        self._openings.clear()
        self._events.clear()
        self._frames.clear()
        self._dirty.clear()

    def close(self, now_ns: int) -> None:
        """Close the session; what its open series still owed is not lost. Raises LedgerError."""
        for name in [name for name, known in self._series.items() if known.touched]:
            self._close_series(name, "service stopped")
        self.abandon(now_ns)

    def abandon(self, now_ns: int) -> None:
        """Close the session of a service that never ran; open series stay open, for the next.

        Raises LedgerError.
        """
        self._db.execute(f"PRAGMA busy_timeout = {PATIENT_BUSY_MS}")
        try:
            self.flush(now_ns)
            self._db.execute(
                "UPDATE sessions SET ended_unix_ns = ? WHERE id = ?",
                (self._wall_ns(now_ns), self._session),
            )
        except sqlite3.Error as error:
            raise LedgerError(f"ledger {self._path} cannot be closed: {error}") from error
        finally:
            self._db.close()

    @property
    def lost(self) -> int:
        """Frames lost upstream, over all series of this session."""
        return self._closed_lost + sum(known.lost for known in self._series.values())

    @property
    def duplicates(self) -> int:
        """Frames that came more than once, over all series of this session."""
        return self._closed_duplicates + sum(known.duplicates for known in self._series.values())

    def _open_series(
        self,
        name: str,
        now_ns: int,
        *,
        started: bool,
        announced: int | None = None,
        unique_id: str | None = None,
    ) -> OpenSeries:
        unix_ns = self._wall_ns(now_ns)
        known = OpenSeries(
            row=self._next_row,
            last_unix_ns=unix_ns,
            count=SeriesCount(started=started, announced=announced),
        )
        self._next_row += 1
        row = (known.row, self._session, name, unique_id, started, announced, unix_ns, unix_ns)
        self._openings.append(row)
        self._series[name] = self._dirty[known.row] = known
        return known

    def _close_series(self, name: str, how: str) -> SeriesCount | None:
        known = self._series.pop(name, None)
        if known is None:
            return None
        # One that an earlier life stopped watching, and that this one saw nothing of, stays so.
        if known.touched or known.ended is None:
            known.ended, known.count.ended = how, how in _OVER
            self._dirty[known.row] = known
        self._closed_lost += known.lost
        self._closed_duplicates += known.duplicates
        return known.count


def _diffuse_columns(verdict: Verdict) -> tuple[str | None, str | None, float | None]:
    found = verdict.diffuse
    if found is None:
        return None, None, None
    return found.diffuse.value, None if found.reason is None else found.reason.value, found.score
