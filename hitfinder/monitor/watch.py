"""Two threads that listen, verdicts and samples, and what they gather, for the page to ask.

Listening is all they do: the service's sockets drop for a page that is slow, and the page sees
that it missed something. What this file does not know: HTTP.
"""

import logging
import threading
from collections.abc import Callable
from typing import Protocol

import msgspec

from hitfinder.errors import BadMessageError
from hitfinder.frame import Part
from hitfinder.monitor.alerts import Alerts, Now
from hitfinder.monitor.board import Board
from hitfinder.monitor.gallery import Gallery
from hitfinder.monitor.powder import Powder
from hitfinder.monitor.raster import Raster
from hitfinder.monitor.snapshot import Source, about, snapshot
from hitfinder.monitor.viewer import Viewer
from hitfinder.wire.verdicts import decode

WAIT_MS = 200
"""How long one step waits for a message; bounds the time a stop takes."""

FRESH_NS = 400_000_000
"""A snapshot is made anew after this; all pages that are open share it."""

STOP_S = 5.0


class Inlet(Protocol):
    """A SUB socket."""

    def open(self) -> None:
        """Raises EndpointError."""
        ...

    def receive(self, timeout_ms: int) -> tuple[Part, ...] | None:
        """The next message. Raises BadMessageError."""
        ...

    def close(self) -> None:
        """Close."""
        ...


class Watch:
    """`start`, ask, `stop`. Each inlet is used by its own thread, from open to close."""

    def __init__(
        self,
        *,
        verdicts: Inlet,
        samples: Inlet | None,
        viewer: Viewer,
        gallery: Gallery,
        powder: Powder,
        source: Source,
        clock: Callable[[], int],
        wall_ns: Callable[[int], int],
        close_sockets: Callable[[], None],
    ) -> None:
        self._verdicts = verdicts
        self._samples = samples
        self._viewer = viewer
        self._gallery = gallery
        self._powder = powder
        self._source = source
        self._clock = clock
        self._wall_ns = wall_ns
        self._close_sockets = close_sockets
        self._lock = threading.Lock()
        self._board = Board(clock())
        self._alerts = Alerts()
        self._judged_ns = clock()
        self._fresh: tuple[int, bytes] | None = None
        self._logger = logging.getLogger("hitfinder.monitor")
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Open the sockets and listen. Raises EndpointError."""
        inlets = {"verdicts": (self._verdicts, self.hear)}
        if self._samples is not None:
            inlets["samples"] = (self._samples, self._see)
        for inlet, _ in inlets.values():
            inlet.open()
        for name, (inlet, take) in inlets.items():
            thread = threading.Thread(
                target=self._listen, args=(inlet, take), name=name, daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Stop listening."""
        self._stop.set()
        for thread in self._threads:
            thread.join(STOP_S)
        self._close_sockets()

    def hear(self, message: tuple[Part, ...], now_ns: int) -> None:
        """Take in a message of the verdict stream. Raises BadMessageError."""
        decoded = decode(message[0])
        with self._lock:
            self._board.add(decoded, now_ns)

    def snapshot(self) -> bytes:
        """The page's numbers as JSON, at most FRESH_NS old."""
        now_ns = self._clock()
        with self._lock:
            if self._fresh is None or now_ns - self._fresh[0] >= FRESH_NS:
                self._judge(now_ns)
                made = snapshot(
                    self._board,
                    self._alerts,
                    self._gallery,
                    self._powder,
                    source=self._source,
                    now_ns=now_ns,
                    wall=self._wall,
                )
                self._fresh = now_ns, msgspec.json.encode(made)
            return self._fresh[1]

    def tick(self) -> None:
        """Let time pass: alerts begin and end whether or not somebody looks."""
        now_ns = self._clock()
        with self._lock:
            if now_ns - self._judged_ns >= FRESH_NS:
                self._judge(now_ns)

    def frame(self, series: str, number: int) -> bytes | None:
        """Everything of a frame but its pixels, as JSON; None when it has left the buffer."""
        picture = self._gallery.get(series, number)
        return None if picture is None else msgspec.json.encode(about(picture, self._wall))

    def image(self, series: str, number: int) -> Raster | None:
        """A frame's pixels."""
        picture = self._gallery.get(series, number)
        return None if picture is None else picture.image

    def spots(self, series: str, number: int) -> Raster | None:
        """A frame's spot map."""
        picture = self._gallery.get(series, number)
        return None if picture is None or picture.spots is None else picture.spots.map

    def powder(self, kind: str) -> Raster | None:
        """The virtual powder pattern, "sum" or "max"."""
        return self._powder.pattern(kind)

    def _judge(self, now_ns: int) -> None:
        self._judged_ns = now_ns
        self._board.history.advance(now_ns)
        self._alerts.judge(
            Now(
                board=self._board,
                deadline_ms=self._source.deadline_ms,
                # Only samples tell where a series ends; without them every pause looks the same.
                series_ended=self._viewer.ended or self._samples is None,
                now_ns=now_ns,
            )
        )

    def _see(self, message: tuple[Part, ...], now_ns: int) -> None:
        self._viewer.take(message, now_ns)

    def _wall(self, now_ns: int) -> float:
        return self._wall_ns(now_ns) / 1e9

    def _listen(self, inlet: Inlet, take: Callable[[tuple[Part, ...], int], None]) -> None:
        try:
            while not self._stop.is_set():
                self._step(inlet, take)
                self.tick()
        finally:
            inlet.close()

    def _step(self, inlet: Inlet, take: Callable[[tuple[Part, ...], int], None]) -> None:
        try:
            message = inlet.receive(WAIT_MS)
            if message is not None:
                take(message, self._clock())
        except BadMessageError as error:
            with self._lock:
                self._board.complain(str(error))
        except Exception:
            # One frame that trips over a defect must not blind the page for the rest of a shift.
            self._logger.exception("a message was left out because of a defect; please report it")
