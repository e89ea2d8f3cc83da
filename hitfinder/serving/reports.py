"""What happened to the service, told once: a log line now, a ledger row at the next flush.

Any thread reports; the publish thread, which owns the ledger, collects.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator

from hitfinder.serving.log import told


class Reports:
    """Safe to use from several threads."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._logger = logging.getLogger("hitfinder")
        self._waiting: deque[tuple[str, str, int]] = deque(maxlen=1000)

    def add(self, kind: str, text: str, level: int = logging.WARNING) -> None:
        """`kind` is one of a few fixed phrases, `text` a line for a person."""
        self._logger.log(level, "%s: %s", kind, text, extra=told(kind))
        self._waiting.append((kind, text, self._clock()))

    def collect(self) -> Iterator[tuple[str, str, int]]:
        """Each report's kind, text and time, once."""
        while self._waiting:
            yield self._waiting.popleft()
