"""A few frames a second for whoever wants to see some: verbatim, and never waited for.

Used by the publish thread alone. How many frames go out is bounded in time, what waits for a slow
subscriber is bounded by the socket, and beyond that samples are dropped for it, unseen.
What this file does not know: pixels.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from hitfinder.frame import Part, Passed, SeriesEnded, SeriesStarted
from hitfinder.verdict import Outcome
from hitfinder.wire.samples import MARK

AGAIN_NS = 10_000_000_000
"""How often the running series' opening is repeated, or the end of the last one."""

JOINED_NS = 500_000_000
"""How long after a connection: its subscription comes a moment later than the connection."""


class Sink(Protocol):
    """A PUB socket: never blocks, may drop."""

    def open(self) -> None:
        """Raises EndpointError."""
        ...

    def offer(self, parts: Sequence[Part]) -> bool:
        """Hand over a message, or drop it."""
        ...

    def connection_changes(self) -> list[str]:
        """Each "connected" or "disconnected" since the last call."""
        ...

    def close(self, linger_ms: int) -> None:
        """Close."""
        ...


class Samples:
    """`per_s` is how many frames of an outcome go out in a second, on average."""

    def __init__(self, sink: Sink, per_s: Mapping[Outcome, float]) -> None:
        self._sink = sink
        self._every_ns = {outcome: 1e9 / rate for outcome, rate in per_s.items() if rate > 0}
        self._due_ns = dict.fromkeys(self._every_ns, 0.0)
        self._header: tuple[Part, ...] | None = None
        self._opening: list[tuple[Part, ...]] = []
        self._is_over = False
        """Whether what is repeated is an end: it may have been dropped for a slow subscriber."""
        self._again_ns: int | None = None

    def open(self) -> None:
        """Bind. Raises EndpointError."""
        self._sink.open()

    def close(self, linger_ms: int) -> None:
        """Close at once, whatever `linger_ms`: no stop waits for someone who only looks on."""
        del linger_ms
        self._sink.close(0)

    def mark(self, event: SeriesStarted | SeriesEnded | Passed, now_ns: int) -> None:
        """Take in what is no frame: a start, half a header that comes before it, or an end."""
        header, self._header = self._header, None
        if isinstance(event, Passed):
            self._header = event.parts if event.kind == "header" else None
        else:
            self._is_over = isinstance(event, SeriesEnded)
            half = () if header is None or self._is_over else (header,)
            self._opening = [*half, event.parts]
            self._send_opening(now_ns)

    def frame(
        self, outcome: Outcome, chance: float, verdict: bytes, parts: tuple[Part, ...], now_ns: int
    ) -> None:
        """Send a frame on if one of its outcome is due.

        `chance` in [0, 1) is the frame's own: it spreads the samples, which would else beat with
        a sender whose frames repeat.
        """
        if self._is_over:  # a stream without starts goes on
            self._opening, self._is_over = [], False
        every_ns = self._every_ns.get(outcome)
        if every_ns is None or now_ns < self._due_ns[outcome]:
            return
        self._due_ns[outcome] = now_ns + every_ns * (0.5 + chance)
        self._sink.offer((verdict, *parts))

    def watch(self, now_ns: int) -> None:
        """Every now and then: who came, and is the opening due again?"""
        if "connected" in self._sink.connection_changes():
            self._again_ns = now_ns + JOINED_NS
        if self._again_ns is not None and now_ns >= self._again_ns:
            self._send_opening(now_ns)

    def _send_opening(self, now_ns: int) -> None:
        self._again_ns = now_ns + AGAIN_NS
        for parts in self._opening:
            self._sink.offer((MARK, *parts))
