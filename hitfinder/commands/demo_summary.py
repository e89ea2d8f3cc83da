"""What a demo comes to: totals, truth, latency, and whether every number agrees."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from hitfinder.ledger.report import COLUMNS, read_frames
from hitfinder.verdict import Reason
from hitfinder.wire.verdicts import Totals


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSummary:
    """Frames, unless the name says otherwise. `kept_received` arrived at the kept stream's
    receiver; sensitivity and specificity are over judged frames, None where there are none. The
    three about `diffuse` are hits.
    """

    sent: int
    received: int
    judged: int
    kept: int
    vetoed: int
    unjudged: int
    unjudged_by_reason: dict[str, int]
    lost: int
    duplicates: int
    forwarded: int
    dropped: int
    bad_messages: int
    diffuse: int
    not_diffuse: int
    diffuse_unjudged: int
    ledger_rows: int
    kept_received: int
    sensitivity: float | None
    specificity: float | None
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    latency_p99_ms: float | None
    frames_per_s: float | None

    def as_json(self) -> dict[str, int | float | None]:
        """Flat: `unjudged_by_reason` becomes one key a reason."""
        table = asdict(self)
        reasons = table.pop("unjudged_by_reason")
        return {**table, **{f"unjudged_{reason}": count for reason, count in reasons.items()}}


def summarise(
    *,
    sent: int,
    totals: Totals,
    ledger: Path,
    truth: Sequence[str | None],
    kept_received: int,
) -> DemoSummary:
    """`truth` is repeated over the frame numbers. Raises LedgerError."""
    rows = list(read_frames(ledger))
    column = {name: [row[at] for row in rows] for at, name in enumerate(COLUMNS)}
    outcome = np.array(column["outcome"])
    hits = np.array([truth[number % len(truth)] == "hit" for number in column["number"]])
    judged = outcome != "unjudged"
    latency_ms = np.array(column["latency_us"]) / 1000
    arrival_s = np.array(column["arrival_unix_ns"]) / 1e9
    quantiles = np.percentile(latency_ms, (50, 95, 99)) if rows else (None, None, None)
    spread_s = float(np.ptp(arrival_s)) if len(rows) > 1 else 0.0
    unjudged = {reason.value: totals.unjudged.get(reason.value, 0) for reason in Reason}
    return DemoSummary(
        sent=sent,
        received=totals.received,
        judged=totals.kept + totals.vetoed,
        kept=totals.kept,
        vetoed=totals.vetoed,
        unjudged=sum(unjudged.values()),
        unjudged_by_reason=unjudged,
        lost=totals.lost,
        duplicates=totals.duplicates,
        forwarded=totals.forwarded,
        dropped=totals.dropped,
        bad_messages=totals.bad_messages,
        diffuse=totals.diffuse,
        not_diffuse=totals.not_diffuse,
        diffuse_unjudged=sum(totals.diffuse_unjudged.values()),
        ledger_rows=len(rows),
        kept_received=kept_received,
        sensitivity=_share(outcome[hits & judged] == "kept"),
        specificity=_share(outcome[~hits & judged] == "vetoed"),
        latency_p50_ms=_rounded(quantiles[0]),
        latency_p95_ms=_rounded(quantiles[1]),
        latency_p99_ms=_rounded(quantiles[2]),
        frames_per_s=round((len(rows) - 1) / spread_s, 2) if spread_s > 0 else None,
    )


def problems(summary: DemoSummary) -> list[str]:
    """What does not agree; empty when nothing was lost and every total balances."""
    rules = {
        "frames were lost": summary.lost > 0,
        "frames arrived twice": summary.duplicates > 0,
        "received is not what was sent": summary.received != summary.sent,
        "received is not kept + vetoed + unjudged": summary.received
        != summary.kept + summary.vetoed + summary.unjudged,
        "the ledger does not hold one row a frame": summary.ledger_rows != summary.received,
        "forwarded is not kept + unjudged": summary.forwarded != summary.kept + summary.unjudged,
        "the second step says nothing of some hits": summary.kept
        != summary.diffuse + summary.not_diffuse + summary.diffuse_unjudged,
        "the receiver did not get every forwarded frame": summary.kept_received
        != summary.forwarded,
    }
    return [text for text, broken in rules.items() if broken]


def as_text(summary: DemoSummary) -> str:
    """For a person."""
    unjudged = ", ".join(f"{r} {n}" for r, n in summary.unjudged_by_reason.items() if n)
    rows = {
        "sent": summary.sent,
        "received": summary.received,
        "judged": summary.judged,
        "kept": summary.kept,
        "vetoed": summary.vetoed,
        "unjudged": unjudged or 0,
        "lost": summary.lost,
        "duplicates": summary.duplicates,
        "forwarded": f"{summary.forwarded} ({summary.kept_received} arrived downstream)",
        "sensitivity": _percent(summary.sensitivity),
        "specificity": _percent(summary.specificity),
        "latency": f"p50 {summary.latency_p50_ms} ms, p95 {summary.latency_p95_ms} ms, "
        f"p99 {summary.latency_p99_ms} ms, arrival to verdict",
        "rate": f"{summary.frames_per_s} frames/s",
        "diffuse": f"{summary.diffuse} hits yes, {summary.not_diffuse} no, "
        f"{summary.diffuse_unjudged} not judged",
    }
    return "\n".join(f"{name:<13}{value}" for name, value in rows.items())


def _share(right: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> float | None:
    return round(float(right.mean()), 6) if right.size else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 3)


def _percent(share: float | None) -> str:
    return "no judged frames" if share is None else f"{share:.2%}"
