"""Log lines: one JSON object an event, few of a kind, and nobody waits for who reads them."""

import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hitfinder.serving.log import (
    INTERVAL_NS,
    MOST_A_MINUTE,
    MOST_WAITING,
    JsonLines,
    Limit,
    Lines,
    Occasionally,
    set_up,
    text_lines,
    told,
)
from hitfinder.serving.reports import Reports


class Taken(logging.Handler):
    """Keeps what passes the filter, formatted."""

    def __init__(self, clock_ns: list[int]) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []
        self.setFormatter(JsonLines())
        self.addFilter(Limit(lambda: clock_ns[0]))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))


@pytest.fixture
def clock_ns() -> list[int]:
    return [0]


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """The service's, with nobody else listening."""
    logger = logging.getLogger("hitfinder")
    before = logger.handlers, logger.level, logger.propagate
    logger.handlers, logger.propagate = [], False
    logger.setLevel("DEBUG")
    yield logger
    logger.handlers, logger.level, logger.propagate = before


@pytest.fixture
def taken(logger: logging.Logger, clock_ns: list[int]) -> Taken:
    handler = Taken(clock_ns)
    logger.addHandler(handler)
    return handler


def test_an_event_is_one_json_object_with_its_fields(taken: Taken) -> None:
    extra = told("series starts", series='7"\n', announced=None, level="no level")
    logging.getLogger("hitfinder.publish").info("series %s starts", '7"\n', extra=extra)
    (line,) = taken.lines
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "hitfinder.publish",
        "event": "series starts",
        "text": 'series 7"\n starts',
        "series": '7"\n',
        "announced": None,
    }


def test_times_are_utc_to_the_millisecond() -> None:
    record = logging.makeLogRecord({"created": 1700000000.0625, "msg": "x", "levelname": "INFO"})
    assert json.loads(JsonLines().format(record))["time"] == "2023-11-14T22:13:20.062Z"


def test_an_exception_stays_on_its_line(taken: Taken, logger: logging.Logger) -> None:
    try:
        raise ValueError("a defect")
    except ValueError:
        logger.exception("the drain failed")
    assert "ValueError: a defect" in taken.lines[0]["traceback"]


def test_a_report_is_an_event_of_its_kind(taken: Taken) -> None:
    Reports(lambda: 0).add("output stalled", "nobody takes kept frames")
    assert taken.lines[0]["event"] == "output stalled"
    assert taken.lines[0]["text"] == "output stalled: nobody takes kept frames"


def test_what_repeats_is_held_back_and_counted(taken: Taken, clock_ns: list[int]) -> None:
    reports = Reports(lambda: 0)
    for number in range(100):
        reports.add("kept connected", f"receivers now: {number}")
    reports.add("output stalled", "another event has its own count")
    assert [line["event"] for line in taken.lines] == [
        *["kept connected"] * MOST_A_MINUTE,
        "output stalled",
    ]
    clock_ns[0] += INTERVAL_NS
    reports.add("kept connected", "receivers now: 1")
    assert taken.lines[-1]["left_out"] == 100 - MOST_A_MINUTE
    assert taken.lines[-1]["text"].endswith(f"({100 - MOST_A_MINUTE} more like it were left out)")
    reports.add("kept connected", "receivers now: 2")
    assert taken.lines[-1]["text"] == "kept connected: receivers now: 2"


def test_what_may_come_with_every_frame_is_told_once_a_minute(
    taken: Taken, logger: logging.Logger
) -> None:
    log = Occasionally(logger)
    for number in range(1000):
        log.warning("decode", f"frame {number}", number)
    log.warning("decode", "frame 1000", INTERVAL_NS)
    assert [line["text"] for line in taken.lines] == [
        "frame 0",
        "frame 1000 (999 more like it since the last such line)",
    ]
    assert [line["left_out"] for line in taken.lines] == [0, 999]


def test_two_threads_may_tell_one_event_at_once() -> None:
    """The second must not find the event's count half made: it would die of that."""
    passed: list[bool] = []
    others: list[threading.Thread] = []

    def tell() -> None:
        record = logging.makeLogRecord({"name": "hitfinder", **told("output stalled")})
        passed.append(limit.filter(record))

    class Yielding(dict[str, int]):
        def __setitem__(self, key: str, value: int) -> None:
            super().__setitem__(key, value)
            if not others:
                others.append(threading.Thread(target=tell))
                others[0].start()
                # Whoever waits for a lock has not died, and comes after us.
                others[0].join(0.2)

    limit = Limit(lambda: 0)
    limit._since_ns = Yielding()
    tell()
    others[0].join()
    assert passed == [True, True]
    assert list(limit._lines.values()) == [2]


def test_a_path_that_is_not_utf8_is_told(taken: Taken, logger: logging.Logger) -> None:
    logger.warning("cannot write %s", "/data/m\udce4tning")
    assert taken.lines[0]["text"] == "cannot write /data/m\\udce4tning"


def test_a_stop_tells_what_was_left_out() -> None:
    reader, writer = os.pipe()
    lines = Lines(writer)
    lines.emit(logging.makeLogRecord({"msg": "told"}))
    until_taken = os.read(reader, 100)
    assert until_taken == b"told\n"
    # As after a burst that ended before the log took lines again.
    lines._left_out = 3
    lines.close()
    os.close(writer)
    with os.fdopen(reader) as told_lines:
        assert told_lines.read() == "3 lines left out: the log took none\n"


def test_nobody_waits_for_a_log_that_takes_nothing() -> None:
    reader, writer = os.pipe()
    lines = Lines(writer)
    # Far more than the pipe and the queue hold: whoever waited here would wait for ever.
    for number in range(3 * MOST_WAITING):
        lines.emit(logging.makeLogRecord({"msg": f"{number} " + 1000 * "x"}))
    data = b""
    while b"the log took none\n" not in data:
        data += os.read(reader, 65536)
    lines.close()
    os.close(writer)
    os.close(reader)
    *written, left_out = (int(line.split()[0]) for line in data.decode().splitlines())
    assert written == sorted(set(written))
    assert len(written) >= MOST_WAITING
    assert left_out == 3 * MOST_WAITING - len(written)


def test_a_stop_does_not_wait_for_a_log_that_takes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hitfinder.serving.log.CLOSE_S", 0.01)
    reader, writer = os.pipe()
    lines = Lines(writer)
    for _ in range(2 * MOST_WAITING):
        lines.emit(logging.makeLogRecord({"msg": 1000 * "x"}))
    lines.close()
    os.close(reader)  # the write that hangs ends with an error, which has nowhere to go
    lines._thread.join()
    os.close(writer)


@pytest.mark.parametrize(("chosen", "is_json"), [("auto", True), ("json", True), ("text", False)])
def test_a_file_gets_json_unless_text_is_asked_for(
    tmp_path: Path, chosen: Any, is_json: bool
) -> None:
    path = tmp_path / "log"
    root = logging.getLogger()
    level = root.level
    with path.open("wb") as file:
        lines = set_up("info", chosen, file.fileno())
        try:
            logging.getLogger("hitfinder").info("ready", extra=told("ready"))
            logging.getLogger("hitfinder").debug("too much")
        finally:
            root.removeHandler(lines)
            root.setLevel(level)
            lines.close()
    (line,) = path.read_text().splitlines()
    assert line.startswith("{") == is_json
    assert "ready" in line


def test_a_terminal_gets_text() -> None:
    main, terminal = os.openpty()
    root = logging.getLogger()
    level = root.level
    lines = set_up("warning", "auto", terminal)
    try:
        logging.getLogger("hitfinder").warning("output stalled")
    finally:
        root.removeHandler(lines)
        root.setLevel(level)
        lines.close()
    assert os.read(main, 1000).decode().rstrip().endswith("WARNING output stalled")
    os.close(main)
    os.close(terminal)


def test_a_line_for_a_person_tells_utc_as_the_ledger_does(monkeypatch: pytest.MonkeyPatch) -> None:
    record = logging.makeLogRecord({"levelname": "INFO", "msg": "ready", "created": 0.0})
    with monkeypatch.context() as now:
        now.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        line = text_lines().format(record)
    time.tzset()
    assert line == "1970-01-01 00:00:00Z INFO    ready"
