"""Log lines that may repeat: one a minute for each key, with the count of those left out."""

import logging

INTERVAL_NS = 60_000_000_000


class Occasionally:
    """Wraps a logger. Used by one thread; keys are few and fixed."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._last_ns: dict[str, int] = {}
        self._left_out: dict[str, int] = {}

    def warning(self, key: str, text: str, now_ns: int) -> None:
        """Log `text` unless this key logged within the last minute."""
        last_ns = self._last_ns.get(key)
        if last_ns is not None and now_ns - last_ns < INTERVAL_NS:
            self._left_out[key] = self._left_out.get(key, 0) + 1
            return
        left_out = self._left_out.pop(key, 0)
        self._last_ns[key] = now_ns
        more = f" ({left_out} more like it since the last such line)" if left_out else ""
        self._logger.warning("%s%s", text, more)
