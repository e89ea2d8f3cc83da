"""Sends a series' frames through an encoder, on a schedule, to whoever takes them.

Time is an argument: `Replayer.step` sends at most one message and says how long to wait; `run`
is the one place that reads a clock and sleeps. A frame is never skipped: while the receiver does
not take a message it is offered again, and what is behind schedule is sent as soon as possible.
What this file does not know: sockets, protocols, file formats.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Protocol

from hitfinder.dataset.frames import Series
from hitfinder.frame import Frame, Part, Payload, SeriesEnded, SeriesStarted
from hitfinder.replay.settings import ReplaySettings
from hitfinder.wire.compression import recoded
from hitfinder.wire.protocol import Encoder

RETRY_NS = 200_000
"""Pause after an offer that was not taken."""
GIVE_UP_NS = 2_000_000_000
"""How long a stopped replay goes on offering its last messages to a receiver that stalls."""
_LONGEST_WAIT_NS = 100_000_000  # so that `run` notices a stop soon

Message = tuple[Part, ...]


class Sender(Protocol):
    """Where messages go."""

    def offer(self, parts: Sequence[Part]) -> bool:
        """Take a message without blocking; False when it cannot now."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaySummary:
    """What a replay did. `late` counts frames sent more than one period after their time,
    `stalled` the offers not taken; seconds and rate_hz (None below two frames) lie between the
    first frame and the last. `complete`: all messages, the end's too, were taken.
    """

    series: str
    sent: int
    sent_bytes: int
    seconds: float
    rate_hz: float | None
    late: int
    stalled: int
    complete: bool


class Replayer:
    """One series on its way out. Call `prepare`, then `step` until it returns None."""

    def __init__(
        self,
        series: Series,
        encoder: Encoder,
        sender: Sender,
        settings: ReplaySettings,
        *,
        series_id: str = "1",
    ) -> None:
        self._series = series
        self._encoder = encoder
        self._sender = sender
        self._settings = settings
        self._series_id = series_id
        self._held: list[Payload] = []
        self._plan = self._messages()
        self._pending: deque[Message] = deque()
        self._number: int | None = None  # of the pending frame
        self._begun = False  # a part of the pending frame is out already
        self._epoch_ns: int | None = None  # when frame 0 is due
        self._stopped = False
        self._give_up_ns: int | None = None
        self._finished = False
        self._complete = False
        self._first_ns = self._last_ns = 0
        self._sent = self._sent_bytes = self._late = self._stalled = 0

    def prepare(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Load and encode frames within the memory limit, or until `stop` says so. Raises
        DataFileError, PayloadError.
        """
        room = self._settings.memory_limit_bytes
        for ref in self._series.frames[: self.total]:
            if stop():
                break
            payload = self._encoded(ref.load())
            room -= len(payload.data)
            if room < 0:
                break
            self._held.append(payload)

    @property
    def total(self) -> int | None:
        """Frames that will be sent unless stopped; None for ever."""
        if self._settings.loop:
            return self._settings.count
        return min(len(self._series.frames), self._settings.count or len(self._series.frames))

    def step(self, now_ns: int) -> int | None:
        """Offer at most one message. Returns the ns to wait until the next call (0: none), None
        when all is over. Raises DataFileError and PayloadError from frames that are not held.
        """
        if self._finished:
            return None
        if not self._refill():
            self._finished = self._complete = True
            return None
        behind_ns = 0 if self._number is None else now_ns - self._due_ns(self._number, now_ns)
        if behind_ns < 0:
            return -behind_ns
        if not self._sender.offer(self._pending[0]):
            return self._after_stall(now_ns)
        self._sent_bytes += sum(len(part) for part in self._pending.popleft())
        self._begun = True
        if not self._pending and self._number is not None:
            self._count_frame(now_ns, behind_ns)
        return 0

    def stop(self) -> None:
        """End the series after what is being sent; a frame not begun is not sent."""
        self._stopped = True
        if self._number is not None and not self._begun:
            self._pending.clear()

    def summary(self) -> ReplaySummary:
        """What was done so far."""
        seconds = (self._last_ns - self._first_ns) / 1e9
        return ReplaySummary(
            series=self._series.name,
            sent=self._sent,
            sent_bytes=self._sent_bytes,
            seconds=seconds,
            rate_hz=(self._sent - 1) / seconds if seconds > 0 else None,
            late=self._late,
            stalled=self._stalled,
            complete=self._complete,
        )

    def _messages(self) -> Iterator[tuple[int | None, Sequence[Message]]]:
        """Everything to send, in order, with the frame's number where it is a frame."""
        announced = self.total if self._settings.announce is None else self._settings.announce
        started = SeriesStarted(
            series=self._series_id,
            announced=announced,
            detector=self._series.detector,
        )
        yield None, self._encoder.start(started)
        for number in islice(count(), self.total):
            if self._stopped:
                break
            payload = self._payload(number % len(self._series.frames))
            frame = Frame(series=self._series_id, number=number, payload=payload)
            yield number, self._encoder.frame(frame)
        yield None, self._encoder.end(SeriesEnded(series=self._series_id))

    def _payload(self, index: int) -> Payload:
        if index < len(self._held):
            return self._held[index]
        return self._encoded(self._series.frames[index].load())

    def _encoded(self, payload: Payload) -> Payload:
        encoding = self._settings.encoding
        if encoding is None:
            return payload
        return recoded(payload, carried=(encoding,), encoding=encoding)

    def _refill(self) -> bool:
        """Whether a message is pending; takes the next from the plan where none is."""
        while not self._pending:
            planned = next(self._plan, None)
            if planned is None:
                return False
            self._number, messages = planned
            self._pending.extend(messages)
            self._begun = False
        return True

    def _due_ns(self, number: int, now_ns: int) -> int:
        if self._settings.rate_hz is None:
            return now_ns
        if self._epoch_ns is None:
            self._epoch_ns = now_ns
        return self._epoch_ns + round(number * 1e9 / self._settings.rate_hz)

    def _count_frame(self, now_ns: int, behind_ns: int) -> None:
        self._first_ns = now_ns if self._sent == 0 else self._first_ns
        self._last_ns = now_ns
        self._sent += 1
        if self._settings.rate_hz is None or self._epoch_ns is None:
            return
        period_ns = 1e9 / self._settings.rate_hz
        self._late += behind_ns > period_ns
        self._epoch_ns += max(0, round(behind_ns - self._settings.burst * period_ns))

    def _after_stall(self, now_ns: int) -> int | None:
        self._stalled += 1
        if self._stopped:
            if self._give_up_ns is None:
                self._give_up_ns = now_ns + GIVE_UP_NS
            self._finished = now_ns >= self._give_up_ns
        return None if self._finished else RETRY_NS


def run(
    replayer: Replayer,
    *,
    stop: Callable[[], bool] = lambda: False,
    clock_ns: Callable[[], int] = time.monotonic_ns,
    wait_s: Callable[[float], None] = time.sleep,
) -> ReplaySummary:
    """Prepare and send a replay to its end, or until `stop` says so. Raises DataFileError and
    PayloadError.
    """
    replayer.prepare(stop)
    while (pause_ns := replayer.step(clock_ns())) is not None:
        if stop():
            replayer.stop()
        if pause_ns:
            wait_s(min(pause_ns, _LONGEST_WAIT_NS) / 1e9)
    return replayer.summary()
