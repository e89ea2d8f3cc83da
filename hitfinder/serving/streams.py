"""Messages on to their receivers: kept and vetoed frames, each stream under its stall rule.

Owes the front message to some streams and offers it until each has sent, spilled or dropped it;
counts what became of frames, and tells when a receiver has not taken any for a while.
What this file does not know: why a message goes where.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from hitfinder.frame import Part, nbytes
from hitfinder.serving.line import InFlight, Passage
from hitfinder.serving.log import Occasionally
from hitfinder.serving.metrics import Metrics
from hitfinder.serving.peers import Peers
from hitfinder.serving.reports import Reports
from hitfinder.transport.outlet import Offered

STALL_NS = 1_000_000_000
"""An output that takes nothing for this long is told as stalled; less is a socket's daily life."""

_RULES = {
    Offered.STALLED: "the service waits, its sender will feel it",
    Offered.DROPPED: "they are dropped and counted",
    Offered.SPILLED: "they are written to disk",
}


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

    @property
    def damaged(self) -> int:
        """Messages that came back from disk damaged."""
        ...

    def connection_changes(self) -> list[str]:
        """Each "connected" or "disconnected" since the last call."""
        ...


class Streams:
    """Used by the publish thread alone. `counts` has the frames by what became of them."""

    def __init__(
        self,
        streams: Mapping[str, Stream],
        *,
        metrics: Metrics,
        clock: Callable[[], int],
        reports: Reports,
    ) -> None:
        self._streams = streams
        self._metrics = metrics
        self._clock = clock
        self._reports = reports
        self._log = Occasionally(logging.getLogger("hitfinder.streams"))
        self._owed: deque[str] = deque()
        self._stalled_since_ns: dict[str, int] = {}
        self._told_stalled: set[str] = set()
        # Made now, not at the first frame: see metrics.
        self._frames = {
            (name, offered): counter.labels(name)
            for name in streams
            for offered, counter in metrics.frames_offered.items()
        }
        self._sent_bytes = {name: metrics.forwarded_bytes.labels(name) for name in streams}
        for name in streams:
            metrics.stalled.labels(name).set(0)
            metrics.spill_damaged.labels(name)
        self._peers = Peers("receivers", metrics=metrics, reports=reports)
        self._damaged = dict.fromkeys(streams, 0)
        self.counts: Counter[Offered] = Counter()

    @property
    def names(self) -> Iterable[str]:
        """The streams there are."""
        return self._streams

    def owe(self, names: Iterable[str]) -> None:
        """The next message goes to these streams."""
        self._owed.extend(name for name in names if name in self._streams)

    def send(self, passage: Passage) -> bool:
        """Offer the message to the streams that it is still owed to; False when one is stalled."""
        while self._owed:
            name = self._owed[0]
            offered = self._streams[name].offer(passage.parts)
            self._watch_stall(name, offered)
            if offered is Offered.STALLED:
                return False
            self._count(name, offered, passage)
            self._owed.popleft()
        return True

    def give_up(self, passage: Passage) -> None:
        """Offer the message a last time where it is still owed, and drop it where nobody takes it:
        the service stops.
        """
        while self._owed:
            name = self._owed.popleft()
            offered = self._streams[name].offer(passage.parts)
            self._count(name, Offered.DROPPED if offered is Offered.STALLED else offered, passage)

    def catch_up(self) -> bool:
        """Send some of what waits on disk; False when nothing moved."""
        moved = False
        for name, stream in self._streams.items():
            if stream.catch_up():
                moved = True
                if not stream.waiting_bytes:
                    self._flows(name)
        return moved

    def watch(self) -> None:
        """Note what waits on disk, and who comes and goes."""
        self.catch_up()
        for name, stream in self._streams.items():
            self._metrics.spill_bytes.labels(name).set(stream.waiting_bytes)
            self._tell_damaged(name, stream.damaged)
            self._peers.note(name, stream.connection_changes())

    def _count(self, name: str, offered: Offered, passage: Passage) -> None:
        if offered is Offered.SENT:
            self._sent_bytes[name].inc(nbytes(passage.parts))
        if offered is Offered.DROPPED:
            text = f"{name} messages dropped: their receiver is too slow or gone"
            self._log.warning(f"dropped {name}", text, self._clock())
        if isinstance(passage, InFlight):
            self.counts[offered] += 1
            self._frames[name, offered].inc()

    def _tell_damaged(self, name: str, damaged: int) -> None:
        new, self._damaged[name] = damaged - self._damaged[name], damaged
        if new:
            self._metrics.spill_damaged.labels(name).inc(new)
            text = f"{new} {name} messages on disk are damaged; set aside beside them, not sent"
            self._reports.add("spill damaged", text)

    def _watch_stall(self, name: str, offered: Offered) -> None:
        if offered is Offered.SENT:
            self._flows(name)
            return
        now_ns = self._clock()
        since_ns = self._stalled_since_ns.setdefault(name, now_ns)
        if now_ns - since_ns > STALL_NS and name not in self._told_stalled:
            self._told_stalled.add(name)
            self._metrics.stalled.labels(name).set(1)
            self._reports.add("output stalled", f"nobody takes {name} frames: {_RULES[offered]}")

    def _flows(self, name: str) -> None:
        self._stalled_since_ns.pop(name, None)
        if name in self._told_stalled:
            self._told_stalled.discard(name)
            self._metrics.stalled.labels(name).set(0)
            self._reports.add("output flows", f"{name} frames are taken again")
