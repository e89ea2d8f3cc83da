"""The publish thread: verdicts, kept and vetoed frames, the ledger, in order of arrival.

For each frame at the front of the line, in this order: its verdict goes out, its ledger row is
noted, its message goes on. Under "backpressure" a message that no receiver takes stays at the
front and holds up the line. A frame that the model did not judge in time is settled here, and so
is a hit that the second step did not.
What this file does not know: pixels and scores.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

from hitfinder.errors import LedgerError
from hitfinder.frame import Part, SeriesEnded, SeriesStarted
from hitfinder.ledger.store import Ledger
from hitfinder.serving.line import InFlight, Line, Mark, Passage
from hitfinder.serving.log import Occasionally, told
from hitfinder.serving.metrics import Metrics
from hitfinder.serving.reports import Reports
from hitfinder.serving.samples import Samples
from hitfinder.serving.streams import Streams
from hitfinder.transport.outlet import Offered
from hitfinder.verdict import Diffuse, Outcome, Reason, Verdict
from hitfinder.wire.verdicts import Heartbeat, Totals, VerdictMessage, encode

WAIT_S = 0.02
"""How long one step may wait for the front; bounds how late an overdue frame is settled."""

BEAT_NS = 1_000_000_000
FLUSH_NS = 400_000_000
UNRECORDED_NS = 10_000_000_000
"""A ledger that refuses writes for this long is told on /healthz."""

RATE_OVER = 1000
"""Frames that the hit rate is taken over."""


class VerdictSink(Protocol):
    """Where verdicts go; never blocks, may drop."""

    def offer(self, parts: tuple[Part, ...]) -> bool:
        """False when it was dropped."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedBy:
    """What stands in every verdict."""

    model: str
    threshold: float
    diffuse_model: str | None = None
    """None where there is no second step."""
    diffuse_threshold: float | None = None


class Publish:
    """`step` publishes at most one message."""

    def __init__(
        self,
        *,
        line: Line,
        verdicts: VerdictSink | None,
        streams: Streams,
        vetoed_share: float,
        ledger: Ledger,
        judged_by: JudgedBy,
        deadline_ns: int,
        metrics: Metrics,
        clock: Callable[[], int],
        reports: Reports,
        samples: Samples | None = None,
    ) -> None:
        self._line = line
        self._verdicts = verdicts
        self._samples = samples
        self._streams = streams
        self._vetoed_share = vetoed_share
        self._ledger = ledger
        self._judged_by = judged_by
        self._deadline_ns = deadline_ns
        self._metrics = metrics
        self._clock = clock
        self._reports = reports
        self._logger = logging.getLogger("hitfinder.publish")
        self._log = Occasionally(self._logger)
        self._front: Passage | None = None
        self._recent: deque[bool] = deque(maxlen=RATE_OVER)
        self._sequence = 0
        self._next_beat_ns = self._next_flush_ns = 0
        self._unrecorded_since_ns: int | None = None
        self._publish_seconds = metrics.stage_seconds.labels("publish")
        self._under_way = False
        self._written_ns = clock()
        metrics.ledger_age_seconds.set_function(self._ledger_age_s)

    def step(self) -> bool:
        """Publish the front message, or try again to send it; False when nothing moved."""
        self._keep_time()
        if self._front is None:
            passage = self._line.front(self._patience_s())
            if passage is None:
                return self._streams.catch_up()
            if not self._account(passage):
                return False
            self._front = passage
        if not self._streams.send(self._front):
            return False
        self._front = None
        self._line.leave()
        return True

    def _patience_s(self) -> float:
        """How long to wait for the front's verdict: no longer than it may take."""
        front = self._line.front()
        if not isinstance(front, InFlight):
            return WAIT_S
        return min(WAIT_S, max(0.0, (self._until_ns(front) - self._clock()) / 1e9))

    def _until_ns(self, passage: InFlight) -> int:
        """When its verdict is overdue. A hit has its score; it waits for the second step's."""
        hit = passage.hit  # which goes when it is settled
        return passage.frame.arrival_ns + self._deadline_ns if hit is None else hit.until_ns

    def drop_front(self) -> None:
        """Give up sending the front message; the service stops and its receivers do not take it."""
        if self._front is not None:
            self._streams.give_up(self._front)

    def finish(self) -> None:
        """Last heartbeat, last rows. The line is empty."""
        self._next_beat_ns = self._next_flush_ns = 0
        self._keep_time()

    def problems(self) -> list[str]:
        """What is wrong with the record; empty while all is well."""
        since_ns = self._unrecorded_since_ns
        if since_ns is None or self._clock() - since_ns < UNRECORDED_NS:
            return []
        return [f"the ledger has taken no writes for {(self._clock() - since_ns) / 1e9:.0f} s"]

    def totals(self) -> Totals:
        """Everything counted so far; balances at every moment."""
        counts = self._line.counts()
        return Totals(
            received=counts.received,
            kept=counts.kept,
            vetoed=counts.vetoed,
            unjudged={reason.value: counts.unjudged.get(reason, 0) for reason in Reason},
            in_flight=counts.in_flight,
            lost=self._ledger.lost,
            duplicates=self._ledger.duplicates,
            forwarded=self._streams.counts[Offered.SENT],
            dropped=self._streams.counts[Offered.DROPPED],
            spilled=self._streams.counts[Offered.SPILLED],
            bad_messages=counts.bad_messages,
            diffuse=counts.diffuse.yes,
            not_diffuse=counts.diffuse.no,
            diffuse_unjudged={r.value: counts.diffuse.unjudged.get(r, 0) for r in Reason},
        )

    def _account(self, passage: Passage) -> bool:
        """Note the front in verdicts and ledger; False when it has no outcome yet."""
        if isinstance(passage, Mark):
            self._mark(passage)
            return True
        verdict = passage.verdict or self._overdue(passage)
        if verdict is None:
            return False
        self._announce(verdict, passage.parts)
        self._ledger.frame(verdict)
        if not self._under_way:
            self._tell_under_way(True)
        self._streams.owe(self._owed(verdict))
        return True

    def _overdue(self, passage: InFlight) -> Verdict | None:
        """Let go a frame that was not judged in time, or that there is no room for. A hit waits
        for its second score only while there is plenty.
        """
        now_ns = self._clock()
        full = self._line.crowded if passage.hit is None else self._line.half_full
        if now_ns > self._until_ns(passage):
            self._line.let_go(passage, Reason.DEADLINE, now_ns)
        elif full:
            self._line.let_go(passage, Reason.OVERLOAD, now_ns)
        # The judge may have settled it meanwhile; its verdict then stands.
        return passage.verdict

    def _mark(self, mark: Mark) -> None:
        event = mark.event
        if isinstance(event, SeriesStarted):
            self._ledger.series_started(event, self._clock())
            announced = "an unknown number of" if event.announced is None else event.announced
            self._logger.info(
                "series %s starts, %s frames announced",
                event.series,
                announced,
                extra=told("series starts", series=event.series, announced=event.announced),
            )
        elif isinstance(event, SeriesEnded):
            self._end_series(event.series)
        if self._samples is not None:
            self._samples.mark(event, self._clock())
        # Marks and unknown messages complete every stream.
        self._streams.owe(self._streams.names)

    def _tell_under_way(self, under_way: bool) -> None:
        self._under_way = under_way
        self._metrics.series_under_way.set(under_way)

    def _ledger_age_s(self) -> float:
        """Asked for by a scrape, so that it grows even while a write hangs."""
        return (self._clock() - self._written_ns) / 1e9

    def _end_series(self, series: str) -> None:
        self._tell_under_way(False)
        count = self._ledger.series_ended(series)
        if count is None:
            return
        received = count.numbers.count
        self._logger.info(
            "series %s ends, %d distinct frames received",
            series,
            received,
            extra=told("series ends", series=series, received=received, lost=count.lost),
        )
        if count.lost:
            self._reports.add(
                "frames lost",
                f"series {series}: {count.lost} of {count.announced or received + count.lost} "
                f"frames never came, {count.lost_at_end} of them after the last that did",
            )

    def _announce(self, verdict: Verdict, parts: tuple[Part, ...]) -> None:
        now_ns = self._clock()
        self._metrics.latency_seconds.observe((now_ns - verdict.arrival_ns) / 1e9)
        if verdict.outcome is not Outcome.UNJUDGED:
            self._recent.append(verdict.outcome is Outcome.KEPT)
        if self._verdicts is None and self._samples is None:
            return
        self._sequence += 1
        diffuse = verdict.diffuse
        message = VerdictMessage(
            sequence=self._sequence,
            series=verdict.series,
            frame=verdict.number,
            outcome=verdict.outcome,
            reason=verdict.reason,
            score=verdict.score,
            threshold=self._judged_by.threshold,
            model=self._judged_by.model,
            diffuse=None if diffuse is None else diffuse.diffuse,
            diffuse_reason=None if diffuse is None else diffuse.reason,
            diffuse_score=None if diffuse is None else diffuse.score,
            diffuse_threshold=self._judged_by.diffuse_threshold,
            diffuse_model=self._judged_by.diffuse_model,
            latency_ms=(now_ns - verdict.arrival_ns) / 1e6,
        )
        encoded = encode(message)
        if self._verdicts is not None:
            self._verdicts.offer((encoded,))
        if self._samples is not None:
            chance = share_of(verdict.series, verdict.number)
            self._samples.frame(verdict.outcome, chance, encoded, parts, now_ns)
        self._publish_seconds.observe((self._clock() - now_ns) / 1e9)

    def _owed(self, verdict: Verdict) -> list[str]:
        finding = verdict.diffuse
        also = ["diffuse"] if finding is not None and finding.diffuse is Diffuse.YES else []
        if verdict.outcome is not Outcome.VETOED:
            return ["kept", *also]
        chosen = share_of(verdict.series, verdict.number) < self._vetoed_share
        return ["vetoed", *also] if chosen else also

    def _keep_time(self) -> None:
        now_ns = self._clock()
        if now_ns >= self._next_beat_ns:
            self._next_beat_ns = now_ns + BEAT_NS
            self._beat()
        if now_ns >= self._next_flush_ns:
            self._next_flush_ns = now_ns + FLUSH_NS
            self._flush(now_ns)
            self._streams.watch()
            if self._samples is not None:
                self._samples.watch(now_ns)

    def _beat(self) -> None:
        totals = self.totals()
        self._metrics.lost.set(totals.lost)
        self._metrics.duplicates.set(totals.duplicates)
        if self._recent:
            self._metrics.hit_rate.set(sum(self._recent) / len(self._recent))
        if self._verdicts is not None:
            beat = Heartbeat(sequence=self._sequence, time_unix=time.time(), totals=totals)
            self._verdicts.offer((encode(beat),))

    def _flush(self, now_ns: int) -> None:
        for report in self._reports.collect():
            self._ledger.event(*report)
        try:
            self._ledger.flush(now_ns)
            self._unrecorded_since_ns = None
            self._written_ns = now_ns
        except LedgerError as error:
            self._metrics.ledger_errors.inc()
            self._unrecorded_since_ns = self._unrecorded_since_ns or now_ns
            self._metrics.ledger_rows_dropped.set(self._ledger.rows_dropped)
            self._log.warning("ledger", str(error), now_ns)


def share_of(series: str, number: int) -> float:
    """A number in [0, 1) that is the same for a frame each time, and as good as random."""
    digest = blake2b(f"{series}/{number}".encode(), digest_size=7).digest()
    return int.from_bytes(digest) / 2**56
