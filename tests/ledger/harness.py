"""A ledger for tests, at a time of their own, and verdicts for it."""

from pathlib import Path

from hitfinder.ledger.report import read_report
from hitfinder.ledger.store import Ledger
from hitfinder.verdict import Outcome, Reason, Verdict

OPEN: list[Ledger] = []

UNIX_NS = 1_700_000_000_000_000_000


def make(path: Path, shift_ns: int = 0) -> Ledger:
    OPEN.append(Ledger(path, model="spotcount", wall_ns=lambda now: UNIX_NS + shift_ns + now))
    return OPEN[-1]


def kept(series: str, number: int, score: float = 0.9) -> Verdict:
    return Verdict(
        series=series,
        number=number,
        outcome=Outcome.KEPT,
        score=score,
        arrival_ns=1000 * number,
        settled_ns=1000 * number + 2_000_000,
    )


def unjudged(series: str, number: int, reason: Reason) -> Verdict:
    return Verdict(series=series, number=number, outcome=Outcome.UNJUDGED, reason=reason)


def frames_of(path: Path) -> list[tuple[int, int, str | None]]:
    return [(one.received, one.lost, one.ended) for one in read_report(path).series]
