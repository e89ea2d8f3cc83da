"""An hour of verdicts by the second: outcomes and latency.

Time is an argument, in monotonic nanoseconds; a second without verdicts is a second with zeros.
What this file does not know: whose verdicts they are.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hitfinder.verdict import Outcome
from hitfinder.wire.verdicts import VerdictMessage

SECOND_NS = 1_000_000_000
SECONDS = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Verdicts of one second or more. Latencies are None where no frame was."""

    at_s: int
    kept: int = 0
    vetoed: int = 0
    unjudged: int = 0
    p50_ms: float | None = None
    p99_ms: float | None = None

    @property
    def judged(self) -> int:
        """Frames with a score."""
        return self.kept + self.vetoed

    @property
    def frames(self) -> int:
        """All frames."""
        return self.judged + self.unjudged

    @property
    def hit_rate(self) -> float | None:
        """Share of kept among the judged; None where none was."""
        return self.kept / self.judged if self.judged else None


class History:
    """The last hour. `advance` before reading, so that silence counts."""

    def __init__(self) -> None:
        self._closed: deque[Bin] = deque(maxlen=SECONDS)
        self._at_s: int | None = None
        self._outcomes = dict.fromkeys(Outcome, 0)
        self._latency_ms: list[float] = []

    def add(self, verdict: VerdictMessage, now_ns: int) -> None:
        """Take a verdict in."""
        self.advance(now_ns)
        self._outcomes[verdict.outcome] += 1
        self._latency_ms.append(verdict.latency_ms)

    def advance(self, now_ns: int) -> None:
        """Close the seconds that are over."""
        now_s = now_ns // SECOND_NS
        if self._at_s is None:
            self._at_s = now_s
        if now_s <= self._at_s:
            return
        self._closed.append(self._current())
        # After a long sleep of the machine only the last hour is of interest.
        for at_s in range(max(self._at_s + 1, now_s - SECONDS), now_s):
            self._closed.append(Bin(at_s=at_s))
        self._at_s = now_s
        self._outcomes = dict.fromkeys(Outcome, 0)
        self._latency_ms = []

    def last(self, seconds: int) -> Bin:
        """Everything of the last `seconds` that are over, and of the one that runs."""
        return merged(self._tail(seconds))

    def per_second(self, seconds: int) -> float:
        """Frames a second over the last `seconds` that are over."""
        closed = list(self._closed)[-seconds:]
        return sum(one.frames for one in closed) / len(closed) if closed else 0.0

    def before(self, seconds: int) -> Bin:
        """Everything older than `last(seconds)`."""
        bins = list(self._closed)
        return merged(bins[: max(0, len(bins) - seconds)])

    def bins(self, seconds: int, width: int) -> list[Bin]:
        """The last `seconds` in bins of `width` seconds, oldest first, aligned to multiples of
        `width`, so that a bin keeps its place while it grows.
        """
        groups: dict[int, list[Bin]] = {}
        for one in self._tail(seconds):
            groups.setdefault(one.at_s // width * width, []).append(one)
        return [merged(group, at_s) for at_s, group in groups.items()]

    def _tail(self, seconds: int) -> list[Bin]:
        closed = list(self._closed)
        return [*closed[max(0, len(closed) - seconds) :], self._current()]

    def _current(self) -> Bin:
        p50_ms = p99_ms = None
        if self._latency_ms:
            p50_ms, p99_ms = np.percentile(self._latency_ms, (50, 99)).tolist()
        return Bin(
            at_s=self._at_s or 0,
            kept=self._outcomes[Outcome.KEPT],
            vetoed=self._outcomes[Outcome.VETOED],
            unjudged=self._outcomes[Outcome.UNJUDGED],
            p50_ms=p50_ms,
            p99_ms=p99_ms,
        )


def merged(bins: Sequence[Bin], at_s: int | None = None) -> Bin:
    """One bin of many. Its latencies are the median of medians and the worst second's p99: what
    a percentile over all would be is lost with the seconds' own values.
    """
    first_s = bins[0].at_s if bins else 0
    medians = _known(one.p50_ms for one in bins)
    worst = _known(one.p99_ms for one in bins)
    return Bin(
        at_s=first_s if at_s is None else at_s,
        kept=sum(one.kept for one in bins),
        vetoed=sum(one.vetoed for one in bins),
        unjudged=sum(one.unjudged for one in bins),
        p50_ms=float(np.median(medians)) if medians else None,
        p99_ms=max(worst, default=None),
    )


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
