"""The publish thread: verdicts, kept and vetoed frames, the ledger, in order of arrival.

For each frame at the front of the line, in this order: its verdict goes out, its ledger row is
noted, its message goes on. Under "backpressure" a message that no receiver takes stays at the
front and holds up the line. A frame that the model did not judge in time is settled here.
What this file does not know: pixels and scores.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

from hitfinder.errors import LedgerError
from hitfinder.frame import Part, SeriesEnded, SeriesStarted, nbytes
from hitfinder.ledger.store import Ledger
from hitfinder.serving.line import InFlight, Line, Mark, Passage
from hitfinder.serving.log import Occasionally
from hitfinder.serving.metrics import Metrics
from hitfinder.serving.reports import Reports
from hitfinder.transport.outlet import Offered
from hitfinder.verdict import Outcome, Reason, Verdict
from hitfinder.wire.verdicts import Heartbeat, Totals, VerdictMessage, encode

WAIT_S = 0.02
"""How long one step may wait for the front; bounds how late an overdue frame is settled."""

BEAT_NS = 1_000_000_000
FLUSH_NS = 400_000_000
STALL_NS = 1_000_000_000
"""An output that takes nothing for this long is told as stalled."""

RATE_OVER = 1000
"""Frames that the hit rate is taken over."""


class Stream(Protocol):
    """An output under its stall rule."""

    def offer(self, parts: tuple[Part, ...]) -> Offered:
        """Send, drop, spill, or say that it is stalled."""
        ...

    def catch_up(self) -> int:
        """Send some of what waits on disk."""
        ...

    @property
    def waiting_bytes(self) -> int:
        """Bytes on disk."""
        ...

    def connection_changes(self) -> list[str]:
        """Each "connected" or "disconnected" since the last call."""
        ...


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


class Publish:
    """`step` publishes at most one message. `streams` has "kept", "vetoed", both or none."""

    def __init__(
        self,
        *,
        line: Line,
        verdicts: VerdictSink | None,
        streams: Mapping[str, Stream],
        vetoed_share: float,
        ledger: Ledger,
        judged_by: JudgedBy,
        deadline_ns: int,
        metrics: Metrics,
        clock: Callable[[], int],
        reports: Reports,
    ) -> None:
        self._line = line
        self._verdicts = verdicts
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
        self._to_send: deque[str] = deque()
        self._stalled_since_ns: dict[str, int] = {}
        self._told_stalled: set[str] = set()
        self._peers = dict.fromkeys(streams, 0)
        self._recent: deque[bool] = deque(maxlen=RATE_OVER)
        self._sequence = 0
        self._next_beat_ns = self._next_flush_ns = 0
        self.forwarded = dict.fromkeys(("kept", "vetoed"), 0)
        self.dropped = dict.fromkeys(("kept", "vetoed"), 0)
        self.spilled = dict.fromkeys(("kept", "vetoed"), 0)

    def step(self) -> bool:
        """Publish the front message, or try again to send it; False when nothing moved."""
        self._keep_time()
        if self._front is None:
            passage = self._line.front(WAIT_S)
            if passage is None or not self._account(passage):
                return False
            self._front = passage
        if not self._send(self._front):
            return False
        self._front = None
        self._line.leave()
        return True

    def drop_front(self) -> None:
        """Give up sending the front message; the service stops and its receivers do not take it."""
        if self._front is not None:
            for stream in self._to_send:
                self._count(stream, Offered.DROPPED, self._front)
            self._to_send.clear()

    def finish(self) -> None:
        """Last heartbeat, last rows. The line is empty."""
        self._next_beat_ns = self._next_flush_ns = 0
        self._keep_time()

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
            forwarded=sum(self.forwarded.values()),
            dropped=sum(self.dropped.values()),
            spilled=sum(self.spilled.values()),
            bad_messages=counts.bad_messages,
        )

    def _account(self, passage: Passage) -> bool:
        """Note the front in verdicts and ledger; False when it has no outcome yet."""
        if isinstance(passage, Mark):
            self._mark(passage)
            return True
        verdict = passage.verdict or self._overdue(passage)
        if verdict is None:
            return False
        self._announce(verdict)
        self._ledger.frame(verdict)
        self._to_send.extend(self._streams_for(verdict))
        return True

    def _overdue(self, passage: InFlight) -> Verdict | None:
        """Settle a frame that the model did not judge in time, or that there is no room for."""
        frame = passage.frame
        now_ns = self._clock()
        overdue = now_ns - frame.arrival_ns > self._deadline_ns
        if overdue or self._line.crowded:
            verdict = Verdict(
                series=frame.series,
                number=frame.number,
                outcome=Outcome.UNJUDGED,
                reason=Reason.DEADLINE if overdue else Reason.OVERLOAD,
                arrival_ns=frame.arrival_ns,
                settled_ns=now_ns,
            )
            self._line.settle(passage, verdict)
        # The judge may have settled it meanwhile; its verdict then stands.
        return passage.verdict

    def _mark(self, mark: Mark) -> None:
        event = mark.event
        if isinstance(event, SeriesStarted):
            self._ledger.series_started(event, self._clock())
            announced = "an unknown number of" if event.announced is None else event.announced
            self._logger.info("series %s starts, %s frames announced", event.series, announced)
        elif isinstance(event, SeriesEnded):
            self._end_series(event.series)
        # Marks and unknown messages complete every stream.
        self._to_send.extend(self._streams)

    def _end_series(self, series: str) -> None:
        count = self._ledger.series_ended(series)
        if count is None:
            return
        received = count.numbers.count
        self._logger.info("series %s ends, %d distinct frames received", series, received)
        if count.lost:
            self._reports.add(
                "frames lost",
                f"series {series}: {count.lost} of {count.announced or received + count.lost} "
                f"frames never came, {count.lost_at_end} of them after the last that did",
            )

    def _announce(self, verdict: Verdict) -> None:
        now_ns = self._clock()
        self._metrics.latency_seconds.observe((now_ns - verdict.arrival_ns) / 1e9)
        if verdict.outcome is not Outcome.UNJUDGED:
            self._recent.append(verdict.outcome is Outcome.KEPT)
        if self._verdicts is None:
            return
        self._sequence += 1
        message = VerdictMessage(
            sequence=self._sequence,
            series=verdict.series,
            frame=verdict.number,
            outcome=verdict.outcome,
            reason=verdict.reason,
            score=verdict.score,
            threshold=self._judged_by.threshold,
            model=self._judged_by.model,
            latency_ms=(now_ns - verdict.arrival_ns) / 1e6,
        )
        self._verdicts.offer((encode(message),))
        self._metrics.stage_seconds.labels("publish").observe((self._clock() - now_ns) / 1e9)

    def _streams_for(self, verdict: Verdict) -> list[str]:
        if verdict.outcome is not Outcome.VETOED:
            return [name for name in self._streams if name == "kept"]
        chosen = share_of(verdict.series, verdict.number) < self._vetoed_share
        return [name for name in self._streams if name == "vetoed" and chosen]

    def _send(self, passage: Passage) -> bool:
        """Offer the front to the streams that it still owes; False when one is stalled."""
        while self._to_send:
            stream = self._to_send[0]
            offered = self._streams[stream].offer(passage.parts)
            self._watch_stall(stream, offered)
            if offered is Offered.STALLED:
                return False
            self._count(stream, offered, passage)
            self._to_send.popleft()
        return True

    def _count(self, stream: str, offered: Offered, passage: Passage) -> None:
        if offered is Offered.SENT:
            self._metrics.forwarded_bytes.labels(stream).inc(nbytes(passage.parts))
        if isinstance(passage, Mark):
            return
        counter = {
            Offered.SENT: self._metrics.forwarded,
            Offered.SPILLED: self._metrics.spilled,
            Offered.DROPPED: self._metrics.dropped,
        }[offered]
        counter.labels(stream).inc()
        if offered is Offered.DROPPED:
            text = f"{stream} frames dropped: their receiver is too slow or gone"
            self._log.warning(f"dropped {stream}", text, self._clock())
        self.forwarded[stream] += offered is Offered.SENT
        self.dropped[stream] += offered is Offered.DROPPED
        self.spilled[stream] += offered is Offered.SPILLED

    def _watch_stall(self, stream: str, offered: Offered) -> None:
        """Tell when a receiver has not taken messages for a while, and when it takes them again.

        Shorter stalls are the sockets' daily life.
        """
        since_ns = self._stalled_since_ns.get(stream)
        now_ns = self._clock()
        if offered is Offered.SENT:
            if since_ns is not None:
                del self._stalled_since_ns[stream]
                self._metrics.stalled.labels(stream).set(0)
            if stream in self._told_stalled:
                self._told_stalled.discard(stream)
                self._reports.add("output flows", f"{stream} frames are taken again")
        elif since_ns is None:
            self._stalled_since_ns[stream] = now_ns
        elif now_ns - since_ns > STALL_NS and stream not in self._told_stalled:
            self._told_stalled.add(stream)
            self._metrics.stalled.labels(stream).set(1)
            self._reports.add("output stalled", f"nobody takes {stream} frames: {_RULES[offered]}")

    def _keep_time(self) -> None:
        now_ns = self._clock()
        if now_ns >= self._next_beat_ns:
            self._next_beat_ns = now_ns + BEAT_NS
            self._beat()
        if now_ns >= self._next_flush_ns:
            self._next_flush_ns = now_ns + FLUSH_NS
            self._flush(now_ns)
            self._watch_streams()

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
        except LedgerError as error:
            self._metrics.ledger_errors.inc()
            self._log.warning("ledger", str(error), now_ns)

    def _watch_streams(self) -> None:
        for name, stream in self._streams.items():
            stream.catch_up()
            self._metrics.spill_bytes.labels(name).set(stream.waiting_bytes)
            for change in stream.connection_changes():
                self._peers[name] += 1 if change == "connected" else -1
                level = logging.INFO if change == "connected" else logging.WARNING
                self._reports.add(f"{name} {change}", f"receivers now: {self._peers[name]}", level)
            self._metrics.peers.labels(name).set(self._peers[name])


_RULES = {
    Offered.STALLED: "the service waits, its sender will feel it",
    Offered.DROPPED: "they are dropped and counted",
    Offered.SPILLED: "they are written to disk",
}


def share_of(series: str, number: int) -> float:
    """A number in [0, 1) that is the same for a frame each time, and as good as random."""
    digest = blake2b(f"{series}/{number}".encode(), digest_size=7).digest()
    return int.from_bytes(digest) / 2**56
