"""Stand-ins for the roles around the pipeline: time, messages, a model, receivers."""

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import BadMessageError, HitfinderError
from hitfinder.frame import Detector, Part, Payload
from hitfinder.transport.outlet import Offered


class FakeClock:
    """Monotonic nanoseconds that pass only when told to."""

    def __init__(self, now_ns: int = 1_000_000_000) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        """The time."""
        return self.now_ns

    def pass_ms(self, milliseconds: float) -> None:
        """Let time pass."""
        self.now_ns += int(milliseconds * 1e6)


class FakeSource:
    """A socket that holds what it is given; an exception in the queue is raised in its place."""

    def __init__(self, messages: Sequence[tuple[Part, ...] | BadMessageError] = ()) -> None:
        self.messages = deque(messages)
        self.changes: list[str] = []
        self.closed = False

    def open(self) -> None:
        """It is open."""

    def receive(self, timeout_ms: int) -> tuple[Part, ...] | None:
        """The next message, at once."""
        if not self.messages:
            return None
        message = self.messages.popleft()
        if isinstance(message, BadMessageError):
            raise message
        return message

    def close(self) -> None:
        """Remember it."""
        self.closed = True

    def connection_changes(self) -> list[str]:
        """What was put into `changes`, once."""
        seen, self.changes = self.changes, []
        return seen


class FakeStream:
    """An output that answers as told and remembers what it took."""

    def __init__(self, answer: Offered = Offered.SENT) -> None:
        self.answer = answer
        self.taken: list[tuple[Part, ...]] = []
        self.waiting_bytes = 0
        self.damaged = 0
        self.waiting = 0

    def offer(self, parts: Sequence[Part]) -> Offered:
        """`answer`."""
        if self.answer is not Offered.STALLED:
            self.taken.append(tuple(parts))
        return self.answer

    def catch_up(self) -> int:
        """Send one of `waiting`."""
        sent = min(1, self.waiting)
        self.waiting -= sent
        return sent

    def connection_changes(self) -> list[str]:
        """Nobody comes or goes."""
        return []


class FakeVerdicts:
    """Remembers every verdict message."""

    def __init__(self) -> None:
        self.taken: list[Part] = []

    def offer(self, parts: Sequence[Part]) -> bool:
        """Always takes it."""
        self.taken.append(parts[0])
        return True


class FakeModel:
    """Scores a frame by a pixel of its first row, so that a test chooses; `broken` makes it
    fail.
    """

    def __init__(self, pixel: int = 0) -> None:
        self._pixel = pixel
        self.broken = False
        self.pads = True
        self.batches: list[tuple[int, ...]] = []
        self.warmed: list[tuple[int, int, int]] = []
        self.moves = 0

    def score(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, H, W) → (N,), the pixel over 100."""
        if self.broken:
            raise HitfinderError("the fake model is broken")
        self.batches.append(batch.shape)
        return batch[:, 0, self._pixel] / np.float32(100)

    def warm(self, shapes: list[tuple[int, int, int]]) -> None:
        """Remember the shapes."""
        self.warmed.extend(shapes)

    def buffer(self, shape: tuple[int, int, int]) -> NDArray[np.float32]:
        """Ordinary memory."""
        return np.empty(shape, np.float32)


class FakeReader:
    """Reads the whole frame."""

    measured = 1.0

    def __init__(self, shape: tuple[int, int], beam_px: tuple[float, float] | None = None) -> None:
        self.shape = shape
        self.beam_px = beam_px

    def read(self, payload: Payload, out: NDArray[np.float32]) -> None:
        """(H, W) float32."""
        out[:] = payload.whole()

    def places(self) -> NDArray[np.int32]:
        """(H, W): each pixel is where it is."""
        return np.arange(self.shape[0] * self.shape[1], dtype=np.int32).reshape(self.shape)


def whole_frame(payload_shape: tuple[int, ...], detector: Detector) -> FakeReader:
    """A `Plan` for two-dimensional frames."""
    return FakeReader((payload_shape[0], payload_shape[1]))
