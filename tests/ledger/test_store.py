"""The ledger on disk: complete after a kill, honest about what was lost meanwhile."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from hitfinder.errors import LedgerError
from hitfinder.frame import SeriesStarted
from hitfinder.ledger.report import COLUMNS, export_csv, read_frames, read_report
from hitfinder.ledger.store import Ledger
from hitfinder.verdict import Outcome, Reason, Verdict

UNIX_NS = 1_700_000_000_000_000_000


def make(path: Path, shift_ns: int = 0) -> Ledger:
    return Ledger(path, model="spotcount", wall_ns=lambda now_ns: UNIX_NS + shift_ns + now_ns)


def kept(series: str, number: int, score: float = 0.9) -> Verdict:
    return Verdict(series=series, number=number, outcome=Outcome.KEPT, score=score,
                   arrival_ns=1000 * number, settled_ns=1000 * number + 2_000_000)  # fmt: skip


def unjudged(series: str, number: int, reason: Reason) -> Verdict:
    return Verdict(series=series, number=number, outcome=Outcome.UNJUDGED, reason=reason)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "ledger.sqlite"


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
    assert [(one.received, one.duplicates, one.lost) for one in series] == [
        (3, 0, 0), (3, 0, 0), (2, 0, 0),
    ]  # fmt: skip


def test_a_disk_that_refuses_writes_loses_nothing(path: Path) -> None:
    ledger = make(path)
    ledger.open(0)
    ledger.frame(kept("7", 0))
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerError, match="2 rows wait in memory"):
        ledger.flush(1)
    ledger.frame(kept("7", 1))
    blocker.execute("ROLLBACK")
    blocker.close()
    ledger.flush(2)
    ledger.close(3)
    assert len(list(read_frames(path))) == 2


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


@pytest.mark.parametrize(
    "content", [b"not a database, not at all, but long enough to look like one" * 30]
)
def test_a_file_that_is_no_ledger_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(content)
    with pytest.raises(LedgerError, match=r"ledger\.sqlite"):
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
