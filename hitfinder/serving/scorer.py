"""From a frame to a score: one region of pixels, one model, and all that can fail on the way.

One thread at a time plans; `read` and `score` are for any number of threads at once, with the
reader that was planned for the frame. What fails is logged, counted and told, and comes back as
False or NaN: what that means for the frame is its owner's to say.
What this file does not know: queues, deadlines and verdicts.
"""

import logging
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter

from hitfinder.errors import HitfinderError, PayloadError
from hitfinder.frame import Detector, Frame
from hitfinder.images.reader import Reader, check_measured
from hitfinder.serving.log import Occasionally
from hitfinder.serving.reports import Reports

AGAIN_NS = 60_000_000_000
"""After this long, frames of a shape that could not be planned for are tried again: a GPU whose
memory was full for a moment must not cost the judgements of all a sender's frames, and a sender
without series starts gives no other occasion."""


UNCOUNTED = 2
"""Runs of a new shape before one is timed."""


class Model(Protocol):
    """Scores frames."""

    def score(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, H, W) float32 with NaN = no measurement → (N,) in [0, 1]. Raises HitfinderError.

        Several threads may call it at once.
        """
        ...

    def warm(self, shapes: list[tuple[int, int, int]]) -> None:
        """Run each (N, H, W) once, so that no live batch pays for a first time."""
        ...

    def buffer(self, shape: tuple[int, int, int]) -> NDArray[np.float32]:
        """Memory (N, H, W) to put batches into."""
        ...

    @property
    def pads(self) -> bool:
        """Whether a new size of batch costs it time, so that few sizes should occur."""
        ...

    @property
    def moves(self) -> int:
        """How often it went on on another device: what was measured before holds no more."""
        ...


ReaderT = TypeVar("ReaderT", bound=Reader)

Plan = Callable[[tuple[int, ...], Detector], ReaderT]
"""Makes a reader for payloads of a shape from a detector; the same for one that says the same.
Raises ConfigError."""

Planned = Callable[[ReaderT, tuple[int, ...]], None]
"""Gets ready for a new reader, of payloads of a shape. Raises HitfinderError."""


class Buffers:
    """Memory (N, H, W) to read regions into, one for each of `workers` threads. `make` gives it."""

    def __init__(self, make: Callable[[int, int, int], NDArray[np.float32]], workers: int) -> None:
        self._make = make
        self._workers = workers
        self._now: tuple[tuple[int, int, int], list[NDArray[np.float32]]] = (0, 0, 0), []
        """Their shape and those that are free, replaced as one."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, H, W) of those that are given out now."""
        return self._now[0]

    def prepare(self, size: int, rows: int, cols: int) -> None:
        """Have new ones of this shape, or on another device. Raises MemoryError; those there were
        are given out then as before.
        """
        self._now = (size, rows, cols), [self._make(size, rows, cols) for _ in range(self._workers)]

    def take(self) -> NDArray[np.float32]:
        """One that nobody else has. None is left where a thread that hangs has kept its own; then
        a new one.
        """
        shape, free = self._now
        return free.pop() if free else self._make(*shape)

    def give_back(self, buffer: NDArray[np.float32]) -> None:
        """For the next; one of another shape is dropped. Another thread may `prepare` meanwhile."""
        shape, free = self._now
        if buffer.shape == shape:
            free.append(buffer)


class Scorer(Generic[ReaderT]):
    """`name` is the model's in logs and reports; `fate` says how a frame goes on without it.
    `detector` is what frames are read by before a series begins.
    """

    def __init__(
        self,
        *,
        model: Model,
        plan: Plan[ReaderT],
        planned: Planned[ReaderT],
        name: str,
        fate: str,
        errors: Counter,
        clock: Callable[[], int],
        reports: Reports,
        detector: Detector | None = None,
    ) -> None:
        self._model = model
        self._plan = plan
        self._planned = planned
        self._name = name
        self._fate = fate
        self._errors = errors
        self._clock = clock
        self._reports = reports
        self._log = Occasionally(logging.getLogger("hitfinder.judge"))
        self.detector = detector or Detector()
        self._reader_of: tuple[tuple[int, ...], Detector] | None = None
        self.reader: ReaderT
        """Of `payload_shape`; not there before the first."""
        self.payload_shape: tuple[int, ...] | None = None
        """Of the frames that can be read now; None before the first."""
        self._hopeless_shape: tuple[int, ...] | None = None
        self._hopeless_until_ns = 0
        self._broken = False
        self._moves_at_warming = 0

    def begin(self, detector: Detector) -> None:
        """A series begins: its frames are this detector's."""
        self.detector = detector
        self.payload_shape = self._hopeless_shape = None
        if detector.shape is not None:
            self.is_ready_for(detector.shape)

    def prepare(self, payload_shape: tuple[int, ...]) -> None:
        """Plan for frames of this shape. Raises ConfigError, HitfinderError."""
        reader = self._reader(payload_shape)
        self._planned(reader, payload_shape)
        self.reader, self.payload_shape = reader, payload_shape
        self._reader_of = payload_shape, self.detector

    def _reader(self, payload_shape: tuple[int, ...]) -> ReaderT:
        """The one at hand if the detector is as it was: a series often differs from the one before
        in nothing, and frames wait while a region is planned.
        """
        if self._reader_of is not None:
            shape, detector = self._reader_of
            if payload_shape == shape and self.detector.same_as(detector):
                return self.reader
        return self._plan(payload_shape, self.detector)

    def is_ready_for(self, payload_shape: tuple[int, ...]) -> bool:
        """Whether frames of this shape can be read and scored; gets ready for it if it is new."""
        if payload_shape == self.payload_shape and not self.is_cold:
            return True
        if payload_shape == self._hopeless_shape and self._clock() < self._hopeless_until_ns:
            return False
        try:
            self.prepare(payload_shape)
        except (HitfinderError, MemoryError) as error:
            now_ns = self._clock()
            self._hopeless_shape, self._hopeless_until_ns = payload_shape, now_ns + AGAIN_NS
            text = f"frames of shape {payload_shape} go on {self._fate}: {error!s:.500}"
            self._log.warning("plan", text, now_ns)
            return False
        return True

    @property
    def is_cold(self) -> bool:
        """Whether the model has moved to another device since its cost was measured."""
        return self._model.moves != self._moves_at_warming

    @property
    def pads(self) -> bool:
        """As the model's."""
        return self._model.pads

    def buffer(self, size: int, rows: int, cols: int) -> NDArray[np.float32]:
        """Memory (size, rows, cols) to read regions into."""
        return self._model.buffer((size, rows, cols))

    def warm(self, rows: int, cols: int, sizes: list[int]) -> None:
        """Run each size of batch once."""
        self._model.warm([(size, rows, cols) for size in sizes])

    def cost_ns(self, rows: int, cols: int, times: int = 1) -> int:
        """What one frame takes, measured: the quickest of so many runs. Two before do not count: a
        shape's first is slower, and on a CPU its second, for which memory is laid out.
        """
        for _ in range(UNCOUNTED):
            self.warm(rows, cols, [1])
        self._moves_at_warming = self._model.moves
        return min(self._timed_run(rows, cols) for _ in range(times))

    def _timed_run(self, rows: int, cols: int) -> int:
        started_ns = self._clock()
        self.warm(rows, cols, [1])
        return self._clock() - started_ns

    def read(self, reader: ReaderT, frame: Frame, out: NDArray[np.float32]) -> bool:
        """Write the region's pixels into `out` (H, W); False, and told, when that fails."""
        try:
            reader.read(frame.payload, out)
            check_measured(out)
        except (PayloadError, MemoryError) as error:
            text = f"series {frame.series} frame {frame.number} goes on {self._fate}: {error}"
            self._log.warning("decode", text, self._clock())
            return False
        return True

    def score(self, batch: NDArray[np.float32]) -> NDArray[Any]:
        """(N, H, W) → (N,) floats, NaN where the model failed or gave no number."""
        try:
            scores = self._model.score(batch)
        except (HitfinderError, MemoryError) as error:
            self._errors.inc()
            if not self._broken:
                self._reports.add(f"{self._name} failed", f"{error}; frames go on {self._fate}")
            self._broken = True
            return np.full(len(batch), np.nan, np.float32)
        if self._broken:
            self._reports.add(f"{self._name} recovered", f"the {self._name} scores again")
        self._broken = False
        if not np.isfinite(scores).all():
            text = f"the {self._name} gave a score that is no number"
            self._log.warning("score", text, self._clock())
            return np.where(np.isfinite(scores), scores, np.nan)
        return scores
