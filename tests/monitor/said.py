"""What a service would say, for tests of what listens to it."""

from typing import Any

from hitfinder.verdict import Outcome, Reason
from hitfinder.wire.verdicts import Heartbeat, Totals, VerdictMessage

SECOND_NS = 1_000_000_000


def verdict(
    sequence: int = 1,
    outcome: Outcome = Outcome.KEPT,
    *,
    frame: int | None = None,
    latency_ms: float = 5.0,
    series: str = "1",
) -> VerdictMessage:
    judged = outcome is not Outcome.UNJUDGED
    return VerdictMessage(
        sequence=sequence,
        series=series,
        frame=sequence if frame is None else frame,
        outcome=outcome,
        reason=None if judged else Reason.OVERLOAD,
        score={Outcome.KEPT: 0.9, Outcome.VETOED: 0.1}.get(outcome),
        threshold=0.5,
        model="hit",
        latency_ms=latency_ms,
    )


def totals(received: int = 0, **others: Any) -> Totals:
    values: dict[str, Any] = {
        "kept": 0,
        "vetoed": received,
        "unjudged": {},
        "in_flight": 0,
        "lost": 0,
        "duplicates": 0,
        "forwarded": 0,
        "dropped": 0,
        "spilled": 0,
        "bad_messages": 0,
    }
    return Totals(received=received, **{**values, **others})


def beat(sequence: int = 0, received: int = 0, **others: Any) -> Heartbeat:
    return Heartbeat(sequence=sequence, time_unix=0.0, totals=totals(received, **others))
