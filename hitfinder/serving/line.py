"""Everything between arrival and publication, in order of arrival, bounded in bytes.

The ingest thread enters messages at the back; the judge settles frames in any order, or finds a
hit and leaves it to the cascade's second step; the publish thread takes messages from the front,
and settles a frame that was not judged in time itself. Whoever settles first wins. So nothing
ever waits for a model longer than it may, messages leave in the order they came, and the counts
here balance at every moment:

    received = kept + vetoed + unjudged + in_flight
    offered to the second step = yes + no + unjudged by it + waiting

What this file does not know: sockets, models, the ledger.
"""

import threading
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

from hitfinder.cascade import NOT_JUDGED
from hitfinder.frame import Detector, Event, Frame, Part, Passed, SeriesEnded, SeriesStarted, nbytes
from hitfinder.verdict import Diffuse, DiffuseFinding, Outcome, Reason, Verdict

MOST_MESSAGES = 100_000
"""In flight, however small they are: what stands around an empty one takes memory, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A hit whose verdict waits for the second step until `until_ns`: the frame as the hit model
    read it, its score, and its series' detector.
    """

    frame: Frame
    score: float
    until_ns: int
    detector: Detector


@dataclass(slots=True, eq=False)
class InFlight:
    """A frame on its way through the service. `verdict` is set once, by `Line.settle`; until then
    `hit`, by `Line.found_hit`, is there where a second step follows.
    """

    frame: Frame
    verdict: Verdict | None = None
    hit: Hit | None = None

    @property
    def parts(self) -> tuple[Part, ...]:
        """The message."""
        return self.frame.parts


@dataclass(slots=True, eq=False)
class Mark:
    """Any other message on its way: it is not judged, but keeps its place."""

    event: SeriesStarted | SeriesEnded | Passed

    @property
    def parts(self) -> tuple[Part, ...]:
        """The message."""
        return self.event.parts


Passage = InFlight | Mark


def passage_of(event: Event) -> Passage:
    """Wrap an event for its way."""
    return InFlight(event) if isinstance(event, Frame) else Mark(event)


def verdict_on(
    frame: Frame,
    outcome: Outcome,
    now_ns: int,
    *,
    reason: Reason | None = None,
    score: float | None = None,
    diffuse: DiffuseFinding | None = None,
) -> Verdict:
    """A frame's verdict, reached now."""
    return Verdict(
        series=frame.series,
        number=frame.number,
        outcome=outcome,
        reason=reason,
        score=score,
        diffuse=diffuse,
        arrival_ns=frame.arrival_ns,
        settled_ns=now_ns,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffuseCounts:
    """Hits that were the second step's to judge: offered = yes + no + sum(unjudged) + waiting."""

    offered: int
    yes: int
    no: int
    unjudged: dict[Reason, int]

    @property
    def waiting(self) -> int:
        """Hits whose verdict waits for it."""
        return self.offered - self.yes - self.no - sum(self.unjudged.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class LineCounts:
    """A consistent view: received = kept + vetoed + sum(unjudged) + in_flight."""

    received: int
    kept: int
    vetoed: int
    unjudged: dict[Reason, int]
    in_flight: int
    bytes: int
    bad_messages: int
    diffuse: DiffuseCounts


class Line:
    """See the module. Safe to use from several threads."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._passages: deque[Passage] = deque()
        self._lock = threading.RLock()
        # Each wakes one thread, and only when it can go on: a thread woken for nothing costs more
        # than all else that a frame needs here.
        self._due = threading.Condition(self._lock)
        self._room = threading.Condition(self._lock)
        self._bytes = 0
        self._received = 0
        self._bad_messages = 0
        self._outcomes: Counter[Outcome] = Counter()
        self._reasons: Counter[Reason] = Counter()
        self._hits_offered = 0
        self._diffuse: Counter[Diffuse] = Counter()
        self._diffuse_reasons: Counter[Reason] = Counter()

    def wait_for_room(self, timeout_s: float) -> bool:
        """Whether one more message may enter; waits up to `timeout_s` until it may."""
        with self._lock:
            return self._room.wait_for(self._has_room, timeout_s)

    def _has_room(self) -> bool:
        return self._bytes < self._max_bytes and len(self._passages) < MOST_MESSAGES

    def enter(self, passage: Passage) -> None:
        """Join at the back. The last message that found room may reach beyond the bound."""
        with self._lock:
            self._passages.append(passage)
            self._bytes += nbytes(passage.parts)
            self._received += isinstance(passage, InFlight)
            if self._front_is_due():
                self._due.notify()

    def count_bad(self) -> None:
        """Count a message that broke its protocol."""
        with self._lock:
            self._bad_messages += 1

    def settle(self, passage: InFlight, verdict: Verdict) -> bool:
        """Give a frame its verdict; False when it has one already."""
        return self.settle_all([(passage, verdict)]) == 1

    def settle_all(self, verdicts: Sequence[tuple[InFlight, Verdict]]) -> int:
        """Give frames their verdicts at once, so that publishing them begins when all are there;
        returns how many had none yet.
        """
        with self._lock:
            settled = sum(self._settle(passage, verdict) for passage, verdict in verdicts)
            if self._front_is_due():
                self._due.notify()
            return settled

    def _settle(self, passage: InFlight, verdict: Verdict) -> bool:
        if passage.verdict is not None:
            return False
        passage.verdict = verdict
        passage.hit = None  # and the memory that it keeps
        self._outcomes[verdict.outcome] += 1
        if verdict.reason is not None:
            self._reasons[verdict.reason] += 1
        if verdict.diffuse is not None:
            self._diffuse[verdict.diffuse.diffuse] += 1
            if verdict.diffuse.reason is not None:
                self._diffuse_reasons[verdict.diffuse.reason] += 1
        return True

    def found_hit(self, passage: InFlight, hit: Hit) -> bool:
        """Let a hit wait for the second step; False when it has a verdict already."""
        with self._lock:
            if passage.verdict is not None:
                return False
            passage.hit = hit
            self._hits_offered += 1
            return True

    def let_go(self, passage: InFlight, reason: Reason, now_ns: int) -> None:
        """Settle a frame with what is known of it, unless it has a verdict already: a hit stays a
        hit that the second step did not judge, any other frame goes on unjudged.
        """
        with self._lock:  # or the judge could find a hit in between
            hit = passage.hit
            if hit is None:
                verdict = verdict_on(passage.frame, Outcome.UNJUDGED, now_ns, reason=reason)
            else:
                finding = DiffuseFinding(diffuse=Diffuse.UNJUDGED, reason=reason)
                verdict = verdict_on(
                    passage.frame, NOT_JUDGED, now_ns, score=hit.score, diffuse=finding
                )
            self.settle(passage, verdict)

    def front(self, timeout_s: float = 0.0) -> Passage | None:
        """The front message: as soon as it is settled, or as it is after `timeout_s` or when
        the line is crowded. None when the line is empty.
        """
        with self._lock:
            self._due.wait_for(self._front_is_due, timeout_s)
            return self._passages[0] if self._passages else None

    def leave(self) -> None:
        """Take away the front message."""
        with self._lock:
            passage = self._passages.popleft()
            self._bytes -= nbytes(passage.parts)
            self._room.notify()

    @property
    def fill(self) -> float:
        """How full it is: 0, empty, to 1; the last message in may reach beyond."""
        return min(1.0, self._bytes / self._max_bytes)

    @property
    def crowded(self) -> bool:
        """Nearly full: the front must not wait for the model any longer."""
        return self._bytes * 10 >= self._max_bytes * 9

    @property
    def half_full(self) -> bool:
        """The front must not wait for the second step any longer: it is given up long before any
        frame goes on without the first.
        """
        return self._bytes * 2 >= self._max_bytes

    def __len__(self) -> int:
        return len(self._passages)

    def counts(self) -> LineCounts:
        """A consistent view of all counts."""
        with self._lock:
            settled = self._outcomes.total()
            return LineCounts(
                received=self._received,
                kept=self._outcomes[Outcome.KEPT],
                vetoed=self._outcomes[Outcome.VETOED],
                unjudged=dict(self._reasons),
                in_flight=self._received - settled,
                bytes=self._bytes,
                bad_messages=self._bad_messages,
                diffuse=DiffuseCounts(
                    offered=self._hits_offered,
                    yes=self._diffuse[Diffuse.YES],
                    no=self._diffuse[Diffuse.NO],
                    unjudged=dict(self._diffuse_reasons),
                ),
            )

    def _front_is_due(self) -> bool:
        if not self._passages:
            return False
        front = self._passages[0]
        if isinstance(front, Mark) or front.verdict is not None:
            return True
        return self.crowded if front.hit is None else self.half_full
