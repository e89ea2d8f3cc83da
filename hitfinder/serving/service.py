"""The service from start to summary: open everything, warm the model, run, drain, account.

Whatever is broken before frames flow is one clear line and a non-zero exit (BrokenWorldError);
whatever breaks afterwards is told and survived.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hitfinder.errors import HitfinderError, LedgerError
from hitfinder.ledger.store import Ledger
from hitfinder.ledger.takeover import Crash
from hitfinder.serving.hot_pixels import HotPixelMask
from hitfinder.serving.http import HttpServer
from hitfinder.serving.log import told
from hitfinder.serving.metrics import Metrics
from hitfinder.serving.pipeline import Pipeline
from hitfinder.serving.publish import Publish
from hitfinder.serving.reports import Reports
from hitfinder.wire.verdicts import Totals

LINGER_MS = 1000
"""How long closing output sockets may take at least to hand over what libzmq accepted."""


class Socket(Protocol):
    """Something to open before frames flow."""

    def open(self) -> None:
        """Raises EndpointError."""
        ...


class Output(Socket, Protocol):
    """An output socket."""

    def close(self, linger_ms: int) -> None:
        """Close after handing over what was accepted."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What `assemble` wires together."""

    pipeline: Pipeline
    warm: Callable[[], None]
    publish: Publish
    reports: Reports
    ledger: Ledger
    metrics: Metrics
    hot_pixels: HotPixelMask | None
    source: Socket
    outputs: Sequence[Output]
    drain_timeout_s: float
    clock: Callable[[], int]
    http: Callable[["Service"], HttpServer | None]
    close_sockets: Callable[[], None]


class Service:
    """`start`, then `wait` until it is told to stop or cannot go on, then `stop`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._logger = logging.getLogger("hitfinder")
        # A plain flag: an Event's lock, set in a signal handler, can be held by the very thread
        # that the signal interrupts.
        self._stop_asked = False
        self._ready = False
        self._warming: threading.Thread | None = None
        self.is_recorded = True
        """False when the drain or the ledger's closing failed: the ledger may lack rows."""

    def start(self) -> bool:
        """Open sockets and ledger, warm the model, let frames in. Raises BrokenWorldError.

        False when a stop was asked for before any frame was let in: everything is closed then.
        """
        parts = self._parts
        crash = parts.ledger.open(parts.clock())
        try:
            is_running = self._open(crash)
        except HitfinderError as error:
            # A start that failed is no crash.
            self._abandon("start failed", str(error))
            raise
        if not is_running:
            self._abandon("start stopped", "told to stop before it was ready")
            for output in parts.outputs:
                output.close(0)
            parts.close_sockets()
            if self._http is not None:
                self._http.close()
        return is_running

    def _abandon(self, kind: str, text: str) -> None:
        parts = self._parts
        for report in parts.reports.collect():
            parts.ledger.event(*report)
        parts.ledger.event(kind, text, parts.clock())
        parts.ledger.abandon(parts.clock())

    def _open(self, crash: Crash | None) -> bool:
        parts = self._parts
        if crash is not None:
            open_series = ", ".join(crash.open_series) or "none"
            parts.reports.add(
                "earlier crash",
                f"session {crash.session} ended without closing; series left open: {open_series}; "
                f"frames that it had not yet recorded, half a second's at most, and those sent "
                f"meanwhile count as lost",
            )
        self._http = parts.http(self)
        if self._http is not None:
            self._http.open()
            port = self._http.port
            self._logger.info("metrics on port %d", port, extra=told("metrics", port=port))
        for output in parts.outputs:
            output.open()
        if parts.hot_pixels is not None:
            parts.hot_pixels.load()
        if not self._warm():
            return False
        parts.source.open()
        parts.pipeline.start()
        self._ready = True
        parts.metrics.ready.set(1)
        self._logger.info("ready", extra=told("ready"))
        return True

    def _warm(self) -> bool:
        """In a thread of its own: first runs may take minutes, or hang, and this thread hears of
        no stop while it is in C. False when one was asked for meanwhile.
        """
        failures: list[Exception] = []

        def warm() -> None:
            try:
                self._parts.warm()
            except Exception as error:  # noqa: BLE001  raised again below
                failures.append(error)

        self._warming = threading.Thread(target=warm, name="warm", daemon=True)
        self._warming.start()
        while self._warming.is_alive() and not self._stop_asked:
            self._warming.join(0.1)
        if failures:
            raise failures[0]
        return not self._stop_asked

    def request_stop(self) -> None:
        """Ask for the end; safe in a signal handler."""
        self._stop_asked = True

    def wait(self) -> bool:
        """Until a stop is asked for: True; or until frames cannot pass any more: False.

        Meanwhile this thread has time for a file that no frame should wait for.
        """
        hot_pixels = self._parts.hot_pixels
        pause = threading.Event()
        while not self._stop_asked:
            if self._parts.pipeline.is_lost:
                return False
            if hot_pixels is not None:
                hot_pixels.save()
            pause.wait(0.1)
        return True

    def stop(self) -> Totals:
        """Drain, close, and return the final totals."""
        parts = self._parts
        self._ready = False
        parts.metrics.ready.set(0)
        try:
            parts.pipeline.drain(parts.drain_timeout_s)
        except Exception:
            # Whatever a defect leaves undone, the ledger closes with what it has.
            self._logger.exception("the drain failed of a defect; please report it")
            self.is_recorded = False
        totals = self.totals()
        if parts.hot_pixels is not None:
            parts.hot_pixels.save(now=True)
        if parts.pipeline.publish_hangs:
            # What it has cannot be closed under it; the next start takes up what is on disk.
            self.is_recorded = False
        else:
            self._close_outputs()
        if self._http is not None:
            self._http.close()
        return totals

    def _close_outputs(self) -> None:
        parts = self._parts
        try:
            parts.ledger.close(parts.clock())
        except LedgerError as error:
            self._logger.error("%s", error)
            self.is_recorded = False
        for output in parts.outputs:
            # Returns as soon as everything is handed over.
            output.close(max(LINGER_MS, int(parts.drain_timeout_s * 1000)))
        parts.close_sockets()

    def totals(self) -> Totals:
        """Everything counted so far."""
        return self._parts.publish.totals()

    @property
    def hangs(self) -> bool:
        """Whether a thread did not come back from its model, after a stop."""
        is_warming = self._warming is not None and self._warming.is_alive()
        return is_warming or self._parts.pipeline.hangs

    def unhealthy(self) -> list[str]:
        """For /healthz."""
        return self._parts.pipeline.problems() + self._parts.publish.problems()

    def unready(self) -> list[str]:
        """For /readyz."""
        waiting = [] if self._ready else ["starting or stopping"]
        return waiting + self._parts.pipeline.problems()
