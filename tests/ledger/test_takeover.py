"""A ledger that earlier lives of the service left: what goes on, what is lost, what is refused."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from hitfinder.errors import LedgerError
from hitfinder.frame import SeriesStarted
from hitfinder.ledger.report import read_report
from tests.ledger.harness import frames_of, kept, make


def test_killed_it_opens_and_goes_on_with_the_open_series(path: Path, tmp_path: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
from tests.ledger.test_store import make, kept
from hitfinder.frame import SeriesStarted
ledger = make(Path({str(path)!r}))
ledger.open(0)
ledger.series_started(SeriesStarted(series="7", announced=100), 0)
for number in range(10):
    ledger.frame(kept("7", number))
ledger.flush(1)
ledger.frame(kept("7", 10))
os.kill(os.getpid(), signal.SIGKILL)
"""
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", program], cwd=root, check=False)
    assert read_report(path).series[0].received == 10

    ledger = make(path)
    crash = ledger.open(0)
    assert crash is not None
    assert crash.open_series == ("7",)
    # Frames 10 to 14 were sent while nobody listened.
    ledger.frame(kept("7", 15))
    assert ledger.lost == 5
    ledger.series_ended("7")
    ledger.close(3)
    report = read_report(path)
    assert [one.ended_unix_ns is None for one in report.sessions] == [True, False]
    (series,) = report.series
    assert (series.received, series.lost, series.balances) == (11, 89, True)


@pytest.mark.parametrize("damage", ["[[0, 2", "5", "[[0]]", '[["a", "b"]]'])
def test_a_series_whose_runs_are_damaged_goes_on_from_its_frames(path: Path, damage: str) -> None:
    first = make(path)
    first.open(0)
    first.series_started(SeriesStarted(series="7"), 0)
    for number in (0, 1):
        first.frame(kept("7", number))
    first.flush(1)
    first._db.execute("UPDATE series SET runs = ?", (damage,))
    second = make(path)
    second.open(2)
    second.frame(kept("7", 3))
    second.close(3)
    (series,) = read_report(path).series
    assert (series.received, series.lost, series.balances) == (3, 1, True)


def test_a_ledger_in_use_is_refused(path: Path) -> None:
    ledger = make(path)
    ledger.open(0)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE sessions SET process = 1")
    db.close()
    with pytest.raises(LedgerError, match="in use by process 1"):
        make(path).open(1)
    # Long silent, its process number says nothing.
    assert make(path, shift_ns=60_000_000_000).open(2) is not None
    ledger.close(3)


def test_two_crashes_in_a_row_forget_nothing(path: Path) -> None:
    first = make(path)
    first.open(0)
    first.series_started(SeriesStarted(series="7", announced=100), 0)
    for number in range(10):
        first.frame(kept("7", number))
    first.flush(1)
    second = make(path)
    assert second.open(2) is not None
    second.flush(3)
    third = make(path)
    crash = third.open(4)
    assert crash is not None
    assert crash.open_series == ("7",)
    for number in range(20, 30):
        third.frame(kept("7", number))
    assert third.lost == 10
    third.series_ended("7")
    third.close(5)
    assert frames_of(path) == [(20, 80, "end")]


def test_a_start_that_failed_leaves_open_series_open(path: Path) -> None:
    first = make(path)
    first.open(0)
    first.frame(kept("7", 0))
    first.flush(1)
    failed = make(path)
    assert failed.open(2) is not None
    failed.event("start failed", "the port is taken", 2)
    failed.abandon(3)
    third = make(path)
    assert third.open(4) is None
    third.frame(kept("7", 3))
    assert third.lost == 2
    third.close(5)
    assert frames_of(path) == [(2, 2, "service stopped")]


def test_a_series_goes_on_after_a_stop_and_what_was_sent_meanwhile_is_lost(path: Path) -> None:
    first = make(path)
    first.open(0)
    first.series_started(SeriesStarted(series="7", announced=20), 0)
    first.frame(kept("7", 0))
    first.close(1)
    second = make(path)
    assert second.open(2) is None
    assert second.lost == 0
    second.frame(kept("7", 10))
    assert second.lost == 9
    second.series_ended("7")
    second.close(3)
    assert frames_of(path) == [(2, 18, "end")]


@pytest.mark.parametrize("crashes", [False, True])
def test_an_end_that_comes_after_a_restart_ends_the_series_and_counts_what_is_missing(
    path: Path, crashes: bool
) -> None:
    first = make(path)
    first.open(0)
    first.series_started(SeriesStarted(series="7", announced=20), 0)
    for number in range(10):
        first.frame(kept("7", number))
    if crashes:
        first.flush(1)
        first._db.close()
    else:
        first.close(1)
    second = make(path)
    second.open(2)
    count = second.series_ended("7")
    assert count is not None
    assert (count.lost, second.lost) == (10, 10)
    second.close(3)
    assert frames_of(path) == [(10, 10, "end")]


def test_a_stopped_series_that_begins_anew_is_not_charged_to_the_next_life(path: Path) -> None:
    first = make(path)
    first.open(0)
    first.series_started(SeriesStarted(series="7", announced=20), 0)
    first.frame(kept("7", 0))
    first.close(1)
    second = make(path)
    second.open(2)
    second.series_started(SeriesStarted(series="7", announced=1), 3)
    second.frame(kept("7", 0))
    second.series_ended("7")
    assert (second.lost, second.duplicates) == (0, 0)
    second.close(4)
    assert frames_of(path) == [(1, 0, "service stopped"), (1, 0, "end")]


def test_an_old_series_does_not_go_on(path: Path) -> None:
    first = make(path)
    first.open(0)
    first.frame(kept("7", 0))
    first.close(1)
    second = make(path, shift_ns=2 * 24 * 3600 * 10**9)
    second.open(2)
    second.frame(kept("7", 50))
    second.close(3)
    assert [received for received, _, _ in frames_of(path)] == [1, 1]


@pytest.mark.parametrize("most_runs", [0, 1000])
def test_a_series_goes_on_with_its_gaps_however_many(
    path: Path, monkeypatch: pytest.MonkeyPatch, most_runs: int
) -> None:
    monkeypatch.setattr("hitfinder.ledger.open_series.MOST_RUNS", most_runs)
    first = make(path)
    first.open(0)
    first.series_started(SeriesStarted(series="7"), 0)
    for number in (0, 2, 4, 2):
        first.frame(kept("7", number))
    first.flush(1)
    second = make(path)
    second.open(2)
    for number in (3, 4, 6):
        second.frame(kept("7", number))
    second.close(3)
    (series,) = read_report(path).series
    assert (series.received, series.lost, series.duplicates, series.late) == (7, 2, 2, 1)


@pytest.mark.parametrize("next_number", [1, 300, 500_000, 3_600_000])
def test_a_stream_without_starts_begins_anew_after_a_stop(path: Path, next_number: int) -> None:
    first = make(path)
    first.open(0)
    for number in range(250, 400):
        first.frame(kept("array", number))
    first.close(1)
    second = make(path)
    second.open(2)
    for number in range(next_number, next_number + 5):
        second.frame(kept("array", number))
    assert (second.lost, second.duplicates) == (0, 0)
    second.close(3)
    assert [received for received, _, _ in frames_of(path)] == [150, 5]


def test_late_frames_of_an_earlier_life_make_no_negative_loss(path: Path) -> None:
    first = make(path)
    first.open(0)
    first.series_started(SeriesStarted(series="7"), 0)
    for number in (0, 3):
        first.frame(kept("7", number))
    first.flush(1)
    second = make(path)
    second.open(2)
    for number in (1, 2):
        second.frame(kept("7", number))
    assert second.lost == 0
