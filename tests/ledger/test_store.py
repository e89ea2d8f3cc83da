"""The ledger on disk: complete after a kill, honest about what was lost meanwhile."""

import sqlite3
import threading
from pathlib import Path

import pytest

from hitfinder.errors import LedgerError
from hitfinder.frame import SeriesStarted
from hitfinder.ledger.report import COLUMNS, export_csv, read_frames, read_report
from hitfinder.ledger.schema import FORMAT, MIGRATIONS
from hitfinder.ledger.store import BUSY_MS, Ledger
from hitfinder.verdict import Diffuse, DiffuseFinding, Outcome, Reason, Verdict
from tests.ledger.harness import OPEN, UNIX_NS, frames_of, kept, make, unjudged


def test_every_frame_is_a_row_and_the_totals_balance(path: Path) -> None:
    ledger = make(path)
    assert ledger.open(0) is None
    ledger.series_started(SeriesStarted(series="7", announced=4), 0)
    ledger.frame(kept("7", 0))
    ledger.frame(kept("7", 1))
    ledger.frame(unjudged("7", 2, Reason.OVERLOAD))
    assert ledger.series_ended("7") is not None
    ledger.event("output stalled", "nobody takes kept frames", 5)
    ledger.close(10)

    report = read_report(path)
    (series,) = report.series
    assert (series.announced, series.received, series.kept, series.unjudged) == (4, 3, 2, 1)
    assert (series.lost, series.lost_at_end, series.ended) == (1, 1, "end")
    assert series.balances
    assert report.unjudged == {"overload": 1}
    assert [event.kind for event in report.events] == ["output stalled"]
    assert report.sessions[0].ended_unix_ns is not None
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in read_frames(path)]
    assert [row["number"] for row in rows] == [0, 1, 2]
    assert rows[0]["latency_us"] == 2000
    assert rows[0]["arrival_unix_ns"] == UNIX_NS


def test_a_series_that_does_not_balance_is_told(path: Path) -> None:
    ledger = make(path)
    ledger.open(0)
    ledger.frame(kept("7", 0))
    ledger.close(1)
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM frames")
    db.close()
    assert not read_report(path).series[0].balances


def test_a_sender_that_starts_again_opens_a_new_series(path: Path) -> None:
    ledger = make(path)
    ledger.open(0)
    for _ in range(2):
        ledger.series_started(SeriesStarted(series="7", announced=3), 0)
        ledger.frame(kept("7", 0))
    ledger.close(1)
    first, second = read_report(path).series
    assert (first.ended, first.lost, first.duplicates) == ("no end seen", 2, 0)
    assert (second.ended, second.lost) == ("service stopped", 0)


def test_numbers_that_begin_anew_are_a_new_series_where_no_start_exists(path: Path) -> None:
    ledger = make(path)
    ledger.open(0)
    for number in (5000, 5001, 4999, 0, 1, 2, 0, 1):
        ledger.frame(kept("array", number))
    ledger.close(1)
    series = read_report(path).series
    counts = [(one.received, one.duplicates, one.lost) for one in series]
    assert counts == [(3, 0, 0), (3, 0, 0), (2, 0, 0)]


def judged_twice(number: int, found: DiffuseFinding) -> Verdict:
    return Verdict(series="7", number=number, outcome=Outcome.KEPT, score=0.9, diffuse=found)


def test_what_the_second_step_says_is_recorded(path: Path) -> None:
    OPEN.append(Ledger(path, model="hit", diffuse_model="diffuse", wall_ns=lambda now: now))
    ledger = OPEN[-1]
    ledger.open(0)
    ledger.frame(judged_twice(0, DiffuseFinding(diffuse=Diffuse.YES, score=0.75)))
    ledger.frame(judged_twice(1, DiffuseFinding(diffuse=Diffuse.UNJUDGED, reason=Reason.MODEL)))
    ledger.frame(kept("7", 2))
    ledger.close(1)
    report = read_report(path)
    assert report.sessions[0].diffuse_model == "diffuse"
    assert report.diffuse == {"yes": 1, "model": 1}
    assert (report.series[0].diffuse, report.series[0].balances) == (1, True)
    rows = [row[-3:] for row in read_frames(path)]
    assert rows == [("yes", None, 0.75), ("unjudged", "model", None), (None, None, None)]


FORMAT_1 = """
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY, started_unix_ns INTEGER NOT NULL, alive_unix_ns INTEGER NOT NULL,
    ended_unix_ns INTEGER, process INTEGER NOT NULL, host TEXT NOT NULL, model TEXT NOT NULL);
CREATE TABLE series (
    id INTEGER PRIMARY KEY, session INTEGER NOT NULL REFERENCES sessions, name TEXT NOT NULL,
    unique_id TEXT, started INTEGER NOT NULL, announced INTEGER, ended TEXT,
    first_unix_ns INTEGER NOT NULL, last_unix_ns INTEGER NOT NULL,
    received INTEGER NOT NULL DEFAULT 0, lost INTEGER NOT NULL DEFAULT 0,
    lost_at_end INTEGER NOT NULL DEFAULT 0, duplicates INTEGER NOT NULL DEFAULT 0,
    late INTEGER NOT NULL DEFAULT 0, stray INTEGER NOT NULL DEFAULT 0, runs TEXT);
CREATE TABLE frames (
    series INTEGER NOT NULL REFERENCES series, number INTEGER NOT NULL, arrival TEXT NOT NULL,
    outcome TEXT NOT NULL, reason TEXT, score REAL, arrival_unix_ns INTEGER NOT NULL,
    latency_us INTEGER NOT NULL);
CREATE TABLE events (
    session INTEGER NOT NULL REFERENCES sessions, unix_ns INTEGER NOT NULL, kind TEXT NOT NULL,
    text TEXT NOT NULL);
INSERT INTO sessions VALUES (1, 5, 6, NULL, 1, 'elsewhere', 'spotcount');
INSERT INTO series VALUES
    (1, 1, '7', NULL, 1, 10, NULL, {now}, {now}, 2, 0, 0, 0, 0, 0, '[[0, 2]]');
INSERT INTO frames VALUES (1, 0, 'next', 'kept', NULL, 0.9, 5, 6);
INSERT INTO frames VALUES (1, 1, 'next', 'unjudged', 'overload', NULL, 5, 6);
PRAGMA user_version = 1;
"""


def format_1(path: Path) -> None:
    """A file as the release before the second step left it, in mid-series."""
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as db:
        db.executescript(FORMAT_1.format(now=UNIX_NS))
    db.close()


def test_a_ledger_of_the_format_before_is_read_as_it_is(path: Path, tmp_path: Path) -> None:
    format_1(path)
    before = path.read_bytes()
    report = read_report(path)
    assert (report.series[0].received, report.series[0].balances) == (2, True)
    assert (report.diffuse, report.sessions[0].diffuse_model) == ({}, None)
    assert export_csv(path, tmp_path / "frames.csv") == 2
    assert path.read_bytes() == before


def test_a_ledger_of_the_format_before_is_migrated_and_goes_on(path: Path) -> None:
    format_1(path)
    ledger = make(path)
    crash = ledger.open(0)
    assert crash is not None
    assert crash.open_series == ("7",)
    ledger.frame(judged_twice(2, DiffuseFinding(diffuse=Diffuse.NO, score=0.25)))
    ledger.close(1)
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] == FORMAT
    db.close()
    (series,) = read_report(path).series
    assert (series.received, series.kept, series.unjudged, series.balances) == (3, 2, 1, True)
    rows = [(row[3], *row[-3:]) for row in read_frames(path)]
    assert rows == [(0, None, None, None), (1, None, None, None), (2, "no", None, 0.25)]
    # And once more, as any file of today.
    again = make(path)
    assert again.open(2) is None
    again.close(3)


def test_a_migration_that_fails_leaves_the_file_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    format_1(path)
    statements = (*MIGRATIONS[1], "ALTER TABLE gone ADD COLUMN x TEXT")
    monkeypatch.setitem(MIGRATIONS, 1, statements)
    with pytest.raises(LedgerError, match="gone"):
        make(path).open(0)
    OPEN[-1]._db.close()
    monkeypatch.undo()
    assert read_report(path).series[0].received == 2
    ledger = make(path)
    assert ledger.open(0) is not None
    ledger.close(1)


def test_a_ledger_of_a_format_to_come_is_refused(path: Path) -> None:
    format_1(path)
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {FORMAT + 1}")
    db.close()
    with pytest.raises(LedgerError, match="name another file"):
        make(path).open(0)


def test_a_disk_that_refuses_writes_loses_nothing(path: Path) -> None:
    ledger = make(path)
    ledger.open(0)
    ledger.frame(kept("7", 0))
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerError, match="1 rows wait in memory"):
        ledger.flush(1)
    ledger.frame(kept("7", 1))
    blocker.execute("ROLLBACK")
    blocker.close()
    ledger.flush(2)
    ledger.close(3)
    assert len(list(read_frames(path))) == 2


def test_a_file_that_is_locked_for_a_moment_is_opened_and_migrated(path: Path) -> None:
    format_1(path)
    blocker = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    blocker.execute("PRAGMA journal_mode = WAL")  # as every service sets it
    blocker.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.3, blocker.execute, ("ROLLBACK",))
    release.start()
    ledger = make(path)
    assert ledger.open(0) is not None
    release.join()
    # Once frames flow, they wait for nobody's lock.
    assert ledger._db.execute("PRAGMA busy_timeout").fetchone()[0] == BUSY_MS
    blocker.close()
    ledger.close(1)


def test_events_that_a_locked_file_does_not_take_are_bounded(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hitfinder.ledger.store.MAX_WAITING_EVENTS", 3)
    ledger = make(path)
    ledger.open(0)
    ledger.series_started(SeriesStarted(series="7"), 0)
    for number in range(5):
        ledger.event("kept disconnected", f"receivers now: {number}", number)
    ledger.frame(kept("7", 0))
    ledger.close(1)
    report = read_report(path)
    assert [event.text[-1] for event in report.events] == ["2", "3", "4"]
    assert report.series[0].balances


def test_an_event_with_a_path_that_is_not_utf8_costs_no_row(path: Path) -> None:
    ledger = make(path)
    ledger.open(0)
    ledger.event("hot pixels not saved", "cannot write /data/m\udce4tning", 0)
    ledger.frame(kept("7", 0))
    ledger.close(1)
    assert read_report(path).events[0].text == "cannot write /data/m\\udce4tning"
    assert len(list(read_frames(path))) == 1


def test_a_file_that_is_no_ledger_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"not a database, not at all, but long enough to look like one" * 30)
    with pytest.raises(LedgerError, match=r"ledger\.sqlite: .* not a database; name another file"):
        make(path).open(0)


def test_csv_export_has_one_line_a_frame(path: Path, tmp_path: Path) -> None:
    ledger = make(path)
    ledger.open(0)
    ledger.frame(kept("7", 0))
    ledger.close(1)
    target = tmp_path / "frames.csv"
    assert export_csv(path, target) == 1
    head, row = target.read_text().splitlines()
    assert head.split(",") == list(COLUMNS)
    assert row.startswith("1,7,,0,next,kept,,0.9,")


def test_a_start_that_is_repeated_is_one_series(path: Path) -> None:
    ledger = make(path)
    ledger.open(0)
    for announced in (None, 2):
        ledger.series_started(SeriesStarted(series="7", announced=announced), 0)
    ledger.frame(kept("7", 0))
    ledger.frame(kept("7", 1))
    ledger.series_ended("7")
    ledger.close(1)
    assert frames_of(path) == [(2, 0, "end")]


def test_rows_beyond_the_bound_are_dropped_and_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hitfinder.ledger.store.MAX_WAITING_ROWS", 5)
    ledger = make(path)
    ledger.open(0)
    for number in range(8):
        ledger.frame(kept("7", number))
    assert ledger.rows_dropped == 3
    ledger.close(1)
    assert len(list(read_frames(path))) == 5
    (series,) = read_report(path).series
    assert (series.received, series.kept, series.balances) == (8, 5, False)


def test_an_export_that_fails_leaves_the_target_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "precious.csv"
    target.write_text("precious")
    with pytest.raises(LedgerError):
        export_csv(tmp_path / "gone.sqlite", target)
    assert target.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [target]


def test_numbers_that_leap_are_a_new_series_where_no_start_exists(path: Path) -> None:
    ledger = make(path)
    ledger.open(0)
    for number in (1, 2, 5_000_000, 5_000_001, 5_000_002):
        ledger.frame(kept("array", number))
    ledger.close(1)
    # The first of them could have been a damaged header.
    assert frames_of(path) == [(3, 0, "numbers began anew"), (2, 0, "service stopped")]
