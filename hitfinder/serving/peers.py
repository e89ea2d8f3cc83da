"""Who is connected to each socket: counted, told, and shown as a metric.

Used by the thread that owns the socket, one object a thread.
"""

import logging
from collections import Counter

from hitfinder.serving.metrics import Metrics
from hitfinder.serving.reports import Reports

_REFUSED = (
    "the connection was dropped for what came on it, most likely a message above "
    "max_message_bytes; raise that. Connecting again"
)


class Peers:
    """`whom` is what the other side is called, "senders" or "receivers"."""

    def __init__(self, whom: str, *, metrics: Metrics, reports: Reports) -> None:
        self._whom = whom
        self._metrics = metrics
        self._reports = reports
        self._counts: Counter[str] = Counter()

    def note(self, stream: str, changes: list[str]) -> None:
        """Take in what a socket's `connection_changes` gave."""
        for change in changes:
            if change == "refused":
                self._reports.add(f"{stream} refused", _REFUSED)
                continue
            self._counts[stream] += 1 if change == "connected" else -1
            level = logging.INFO if change == "connected" else logging.WARNING
            text = f"{self._whom} now: {self._counts[stream]}"
            self._reports.add(f"{stream} {change}", text, level)
        self._metrics.peers.labels(stream).set(self._counts[stream])
