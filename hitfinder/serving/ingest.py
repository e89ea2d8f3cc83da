"""The ingest thread: drain the socket, decode headers, never wait for the model.

A frame that the judge's queue has no room for goes on unjudged, and so does one whose header says
nothing that pixels could be read by: its shape is made up, and no judge must get ready for it.
Only a full line (receivers that hold up the service under "backpressure") makes this thread wait,
and then the sender feels it. A message that breaks its protocol is counted and goes on as it came:
whoever is downstream sees what it would have seen without us.
"""

import logging
from collections.abc import Callable
from typing import Protocol

from hitfinder.errors import BadMessageError, PayloadError
from hitfinder.frame import BROKEN, Event, Part, Passed, SeriesStarted, nbytes
from hitfinder.serving.backlog import Backlog
from hitfinder.serving.line import InFlight, Line, Passage, passage_of
from hitfinder.serving.log import Occasionally
from hitfinder.serving.metrics import Metrics
from hitfinder.serving.peers import Peers
from hitfinder.serving.reports import Reports
from hitfinder.verdict import Reason
from hitfinder.wire.protocol import Decoder

WAIT_MS = 50
"""How long one step may wait for a message or for room; bounds the time a stop takes."""

LOOK_EACH_NS = 50_000_000
"""Between looks at who is connected."""


class Source(Protocol):
    """Where messages come from."""

    def receive(self, timeout_ms: int) -> tuple[Part, ...] | None:
        """The next message, or None after `timeout_ms`. Raises BadMessageError."""
        ...

    def connection_changes(self) -> list[str]:
        """Each "connected", "disconnected" or "refused" since the last call."""
        ...

    def close(self) -> None:
        """Hang up; a second time it does nothing."""
        ...


class Ingest:
    """`step` takes one message through."""

    def __init__(
        self,
        *,
        source: Source,
        decoder: Decoder,
        line: Line,
        backlog: Backlog,
        metrics: Metrics,
        clock: Callable[[], int],
        reports: Reports,
    ) -> None:
        self._source = source
        self._decoder = decoder
        self._line = line
        self._backlog = backlog
        self._metrics = metrics
        self._clock = clock
        self._log = Occasionally(logging.getLogger("hitfinder.ingest"))
        self._decode_seconds = metrics.stage_seconds.labels("decode_header")
        self._peers = Peers("senders", metrics=metrics, reports=reports)
        self._next_look_ns = 0

    def step(self, wait_ms: int = WAIT_MS) -> bool:
        """Take in one message, good or bad; False when there was none, or no room for one."""
        now_ns = self._clock()
        if now_ns >= self._next_look_ns:
            self._next_look_ns = now_ns + LOOK_EACH_NS
            self._peers.note("input", self._source.connection_changes())
        if not self._line.wait_for_room(wait_ms / 1000):
            return False
        try:
            parts = self._source.receive(wait_ms)
        except BadMessageError as error:
            self._count_bad(error, "refused")
            return True
        if parts is None:
            return False
        self._enter(passage_of(self._decoded(parts)))
        return True

    def hang_up(self) -> None:
        """Take nothing more: what the sender still has, it keeps for whoever comes next."""
        self._source.close()

    def _decoded(self, parts: tuple[Part, ...]) -> Event:
        arrival_ns = self._clock()
        self._metrics.received_bytes.inc(nbytes(parts))
        try:
            event = self._decoder.decode(parts, arrival_ns)
        except BadMessageError as error:
            self._count_bad(error, "passed on unread")
            event = Passed(kind="bad message", parts=parts)
        self._decode_seconds.observe((self._clock() - arrival_ns) / 1e9)
        return event

    def _enter(self, passage: Passage) -> None:
        self._line.enter(passage)
        if isinstance(passage, InFlight):
            if passage.frame.payload.encoding == BROKEN:
                self._let_go_broken(passage)
            elif not self._backlog.put(passage):
                self._line.let_go(passage, Reason.OVERLOAD, self._clock())
        elif isinstance(passage.event, SeriesStarted):
            self._backlog.put(passage, always=True)

    def _let_go_broken(self, passage: InFlight) -> None:
        frame, now_ns = passage.frame, self._clock()
        try:
            frame.payload.whole()
        except PayloadError as error:
            text = f"series {frame.series} frame {frame.number} goes on unjudged: {error}"
            self._log.warning("decode", text, now_ns)
        self._line.let_go(passage, Reason.DECODE, now_ns)

    def _count_bad(self, error: BadMessageError, what: str) -> None:
        self._line.count_bad()
        self._metrics.bad_messages.labels(error.kind).inc()
        self._log.warning(f"bad {error.kind}", f"bad message, {what}: {error}", self._clock())
