"""What the verdict stream has said so far: totals, history, scores, models.

Time is an argument, in monotonic nanoseconds. What this file does not know: sockets, frames.
"""

from collections import Counter, deque

from hitfinder.monitor.history import History
from hitfinder.verdict import Outcome
from hitfinder.wire.verdicts import Heartbeat, Message, Totals, VerdictMessage

SCORE_BINS = 50
"""Bins of the score histogram, over 0 to 1."""

SCORES = 20_000
"""Judged frames in the score histogram: some minutes."""

TOTALS_NS = 60_000_000_000
"""How far back `growth` looks."""


class Board:
    """`add` every message of the stream, in order."""

    def __init__(self, now_ns: int) -> None:
        self.history = History()
        self.history.advance(now_ns)
        self.totals: Totals | None = None
        self.heard_ns = now_ns
        """When the service was last heard; the beginning, if never."""
        self.arrived_ns = now_ns
        """When frames last arrived at the service, as far as its totals tell."""
        self.missed = 0
        self.model: str | None = None
        self.threshold: float | None = None
        self.complaint: str | None = None
        self._sequence: int | None = None
        self._scores: deque[tuple[int, Outcome]] = deque()
        self._counts: Counter[tuple[int, Outcome]] = Counter()
        self._past: deque[tuple[int, Totals]] = deque()

    def add(self, message: Message, now_ns: int) -> None:
        """Take one message in."""
        self.heard_ns = now_ns
        if isinstance(message, Heartbeat):
            self._follow(message.sequence, 0)
            self._beat(message.totals, now_ns)
        else:
            self._follow(message.sequence, 1)
            self._verdict(message, now_ns)

    def complain(self, text: str) -> None:
        """Remember that something else than a verdict came."""
        self.complaint = text

    def growth(self, name: str, now_ns: int) -> int:
        """How much a total grew within the last minute, of one life of the service."""
        # A service that fell silent says no more, and what it said grows old all the same.
        self._forget(now_ns)
        if self.totals is None or not self._past:
            return 0
        return int(getattr(self.totals, name)) - int(getattr(self._past[0][1], name))

    def histogram(self) -> dict[Outcome, list[int]]:
        """Frames by score, kept and vetoed, in SCORE_BINS bins each."""
        return {
            outcome: [self._counts[place, outcome] for place in range(SCORE_BINS)]
            for outcome in (Outcome.KEPT, Outcome.VETOED)
        }

    def _verdict(self, verdict: VerdictMessage, now_ns: int) -> None:
        self.arrived_ns = now_ns
        self.history.add(verdict, now_ns)
        if verdict.model != self.model:
            # Scores of two models are no one distribution.
            self._scores.clear()
            self._counts.clear()
        self.model, self.threshold = verdict.model, verdict.threshold
        if verdict.score is None:
            return
        place = min(SCORE_BINS - 1, int(min(1.0, max(0.0, verdict.score)) * SCORE_BINS))
        self._scores.append((place, verdict.outcome))
        self._counts[place, verdict.outcome] += 1
        if len(self._scores) > SCORES:
            self._counts[self._scores.popleft()] -= 1

    def _beat(self, totals: Totals, now_ns: int) -> None:
        before = self.totals
        if before is not None and totals.received < before.received:
            self._past.clear()  # the service began anew
        elif before is not None and totals.received > before.received:
            self.arrived_ns = now_ns
        self.totals = totals
        self._past.append((now_ns, totals))
        self._forget(now_ns)

    def _forget(self, now_ns: int) -> None:
        while self._past and now_ns - self._past[0][0] > TOTALS_NS:
            self._past.popleft()

    def _follow(self, sequence: int, step: int) -> None:
        """Count verdicts missed here. A lower number is a service that began anew."""
        if self._sequence is not None and sequence > self._sequence:
            self.missed += sequence - self._sequence - step
        self._sequence = sequence
