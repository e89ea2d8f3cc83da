"""The service's log: which lines, in which shape, and that no frame ever waits for one.

One event is one line: JSON for a collector, text for a terminal. What repeats is held back and
counted. A line is handed to a thread of its own, because a pipe that nobody reads and a terminal
that somebody halted take no bytes, and whoever logs may be about to pass on a frame.
What this file does not know: what is worth a line. `told` names what a line is about.
"""

import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Literal

import msgspec

INTERVAL_NS = 60_000_000_000

MOST_A_MINUTE = 20
"""Lines about one kind of event; a run's starts and ends pass, a connection that flaps does not."""

MOST_WAITING = 1000
"""Lines held for a log that takes none; then lines are left out, counted."""

CLOSE_S = 1.0
"""How long a stop waits for a log that takes no lines."""

Value = str | int | float | bool | None
"""What stands beside a line's text: plain enough for any collector."""


def told(event: str, **fields: Value) -> dict[str, object]:
    """The `extra` of a log call: what happened, and what a program may ask of it."""
    return {"event": event, "fields": fields}


class Occasionally:
    """One line a minute for each key, with the count of those left out.

    Wraps a logger. Used by one thread; keys are few and fixed.
    """

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
        self._logger.warning("%s%s", text, more, extra=told(key, left_out=left_out))


class Limit(logging.Filter):
    """At most MOST_A_MINUTE lines of one event; the first after that says how many were left out.

    Lines without an event count by their text before its values are filled in.
    """

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        super().__init__()
        self._clock = clock
        # The handler's own lock is taken only after its filters.
        self._counting = threading.Lock()
        self._since_ns: dict[str, int] = {}
        self._lines: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written. Any thread that logs calls it."""
        with self._counting:
            return self._counted(record)

    def _counted(self, record: logging.LogRecord) -> bool:
        key = f"{record.name} {_event(record) or record.msg}"
        now_ns = self._clock()
        if now_ns - self._since_ns.get(key, now_ns - INTERVAL_NS) >= INTERVAL_NS:
            left_out = self._lines.get(key, 0) - MOST_A_MINUTE
            self._since_ns[key], self._lines[key] = now_ns, 0
            if left_out > 0:
                record.msg = f"{record.getMessage()} ({left_out} more like it were left out)"
                record.args = ()
                record.fields = {**_fields(record), "left_out": left_out}
        self._lines[key] += 1
        return self._lines[key] <= MOST_A_MINUTE


class JsonLines(logging.Formatter):
    """One JSON object: `time` (UTC), `level`, `logger`, `event`, `text`, and an event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, object] = {
            "time": _utc(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        if (event := _event(record)) is not None:
            line["event"] = event
        # A path that is not UTF-8 holds what no JSON can.
        line["text"] = record.getMessage().encode(errors="backslashreplace").decode()
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        # A field never hides what every line has.
        line |= {name: value for name, value in _fields(record).items() if name not in line}
        return msgspec.json.encode(line).decode()


class Lines(logging.Handler):
    """Gives lines to a thread that writes them to a file descriptor, and never waits for it."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._waiting: queue.Queue[str | None] = queue.Queue(MOST_WAITING)
        self._left_out = 0
        self._ends = False
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Format here, where the record's values still are what they were; write there."""
        try:
            self._waiting.put_nowait(self.format(record))
        except queue.Full:
            self._left_out += 1
        except Exception:  # noqa: BLE001  as every handler does: logging must not raise
            self.handleError(record)

    def close(self) -> None:
        """Write what waits, for CLOSE_S at most."""
        super().close()
        if self._ends:
            return
        self._ends = True
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
        self._thread.join(CLOSE_S)

    def _write(self) -> None:
        while not (self._ends and self._waiting.empty()):
            line = self._waiting.get()
            if line is not None:
                self._put(line)
            if self._left_out and (line is None or self._waiting.empty()):
                left_out, self._left_out = self._left_out, 0
                self._put(self.format(_record_of_left_out(left_out)))
            if line is None:
                return

    def _put(self, line: str) -> None:
        # Not through sys.stderr: its lock, held by a write that hangs, would hang the exit, too.
        data = f"{line}\n".encode(errors="backslashreplace")
        with contextlib.suppress(OSError):  # a log that is gone; there is nowhere to say so
            while data:
                data = data[os.write(self._descriptor, data) :]


def text_lines() -> logging.Formatter:
    """A line for a person, in UTC as the ledger and the lines for programs are."""
    formatter = logging.Formatter(
        "%(asctime)s %(levelname)-7s %(message)s", datefmt="%Y-%m-%d %H:%M:%SZ"
    )
    formatter.converter = time.gmtime
    return formatter


def set_up(
    level: str,
    format: Literal["auto", "json", "text"],  # noqa: A002  as its setting is called
    descriptor: int,
) -> Lines:
    """Log to a file descriptor from here on. "auto" is text for a terminal, else JSON."""
    as_text = format == "text" or (format == "auto" and os.isatty(descriptor))
    lines = Lines(descriptor)
    lines.setFormatter(text_lines() if as_text else JsonLines())
    lines.addFilter(Limit())
    root = logging.getLogger()
    root.addHandler(lines)
    root.setLevel(level.upper())
    return lines


def _event(record: logging.LogRecord) -> str | None:
    return getattr(record, "event", None)


def _fields(record: logging.LogRecord) -> dict[str, Value]:
    fields: dict[str, Value] = getattr(record, "fields", {})
    return fields


def _record_of_left_out(left_out: int) -> logging.LogRecord:
    return logging.makeLogRecord(
        {
            "name": "hitfinder",
            "levelname": "WARNING",
            "msg": f"{left_out} lines left out: the log took none",
            **told("log blocked", left_out=left_out),
        }
    )


def _utc(unix_s: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(unix_s))
    return f"{whole}.{int(unix_s % 1 * 1000):03d}Z"
