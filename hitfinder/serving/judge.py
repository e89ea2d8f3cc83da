"""The judge thread: batch, read the region's pixels, score, decide.

Whatever goes wrong with a frame or a batch settles those frames as unjudged, with the reason;
nothing stops the thread but its stop flag. A frame that is past its deadline is not scored.
Hot pixels are learned after a batch has its verdicts, if at all.
What this file does not know: sockets, and which model or region it has been given.
"""

import logging
import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hitfinder.cascade import outcome_of
from hitfinder.errors import ConfigError, HitfinderError, PayloadError
from hitfinder.frame import Detector, SeriesStarted
from hitfinder.images.region import RegionReader
from hitfinder.inference.batcher import BATCH_SIZES, Batcher, padded_size
from hitfinder.serving.backlog import Backlog
from hitfinder.serving.hot_pixels import HotPixelMask
from hitfinder.serving.line import InFlight, Line, Passage
from hitfinder.serving.log import Occasionally
from hitfinder.serving.metrics import Metrics
from hitfinder.serving.reports import Reports
from hitfinder.verdict import Reason, Verdict

MAX_REGION_PIXELS = 2**26
"""Four times the largest detectors' 16M: a header that claims more must not cost its memory."""

MAX_BATCH_PIXELS = 2**24
"""A batch of whole frames must not outgrow memory: 64 MiB of float32."""

BATCH_SHARE = 4
"""A batch may take the deadline over this; larger ones would make their own frames late."""

IDLE_S = 0.05
"""How long one step may wait for a frame; bounds the time a stop takes."""


class Model(Protocol):
    """Scores frames."""

    def score(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, H, W) float32 with NaN = no measurement → (N,) in [0, 1]. Raises HitfinderError."""
        ...

    def warm(self, shapes: list[tuple[int, int, int]]) -> None:
        """Run each (N, H, W) once, so that no live batch pays for a first time."""
        ...


Plan = Callable[[tuple[int, ...], Detector], RegionReader]
"""Makes a reader for payloads of a shape from a detector. Raises ConfigError."""


class Judge:
    """`step` judges at most one batch."""

    def __init__(
        self,
        *,
        line: Line,
        backlog: Backlog,
        model: Model,
        threshold: float,
        plan: Plan,
        batch_size: int,
        wait_ns: int,
        deadline_ns: int,
        metrics: Metrics,
        clock: Callable[[], int],
        reports: Reports,
        hot_pixels: HotPixelMask | None = None,
    ) -> None:
        self._line = line
        self._backlog = backlog
        self._model = model
        self._threshold = threshold
        self._plan = plan
        self._batch_size = batch_size
        self._wait_ns = wait_ns
        self._batcher = Batcher[InFlight](size=batch_size, wait_ns=wait_ns)
        self._deadline_ns = deadline_ns
        self._metrics = metrics
        self._clock = clock
        self._reports = reports
        self._hot_pixels = hot_pixels
        self._stage_seconds = {
            stage: metrics.stage_seconds.labels(stage)
            for stage in ("queue", "read_region", "score")
        }
        self._log = Occasionally(logging.getLogger("hitfinder.judge"))
        self._detector = Detector()
        self._reader: RegionReader
        self._payload_shape: tuple[int, ...] | None = None
        self._hopeless_shape: tuple[int, ...] | None = None
        self._buffer = np.empty((0, 0, 0), np.float32)
        self._broken = False

    def prepare(self, payload_shape: tuple[int, ...]) -> None:
        """Plan and warm for frames of this shape. Raises ConfigError, HitfinderError."""
        reader = self._plan(payload_shape, self._detector)
        if math.prod(reader.shape) > MAX_REGION_PIXELS:
            raise ConfigError(
                f"a region of {reader.shape} pixels is larger than any detector; does the sender "
                f"say the right shape? Else set region.kind to center or box"
            )
        if self._buffer.shape[1:] != reader.shape:
            self.warm(*reader.shape)
        self._reader, self._payload_shape = reader, payload_shape
        if self._hot_pixels is not None:
            self._hot_pixels.begin(reader, payload_shape)

    def warm(self, rows: int, cols: int) -> None:
        """Run every size of batch that will occur, and none that takes too long to be useful."""
        self._model.warm([(1, rows, cols)])
        # The second run tells what a frame costs; the first of anything is slower.
        started_ns = self._clock()
        self._model.warm([(1, rows, cols)])
        self._backlog.cost_ns = self._clock() - started_ns
        in_time = int(self._deadline_ns / BATCH_SHARE / max(1, self._backlog.cost_ns))
        limit = max(1, min(self._batch_size, MAX_BATCH_PIXELS // (rows * cols), in_time))
        sizes = [size for size in BATCH_SIZES if size <= limit]
        self._model.warm([(size, rows, cols) for size in sizes[1:]])
        self._buffer = np.empty((sizes[-1], rows, cols), np.float32)
        self._batcher = Batcher[InFlight](size=sizes[-1], wait_ns=self._wait_ns)

    def step(self) -> bool:
        """Take what waits, and judge a batch if one is ready; False when nothing was done."""
        for passage in self._backlog.take(1, self._patience_s()):
            self._take(passage)
        batch = self._batcher.take(self._clock())
        if batch:
            self._judge(batch)
        return bool(batch)

    @property
    def idle(self) -> bool:
        """Whether it holds no frame."""
        return self._batcher.closes_at_ns() is None

    def _patience_s(self) -> float:
        closes_at_ns = self._batcher.closes_at_ns()
        if closes_at_ns is None:
            return IDLE_S
        return max(0.0, (closes_at_ns - self._clock()) / 1e9)

    def _take(self, passage: Passage) -> None:
        if isinstance(passage, InFlight):
            if passage.verdict is None:
                self._add(passage)
        elif isinstance(passage.event, SeriesStarted):
            self._judge(self._batcher.flush())
            self._begin(passage.event)

    def _begin(self, event: SeriesStarted) -> None:
        self._detector = event.detector
        self._payload_shape = self._hopeless_shape = None
        if event.detector.shape is not None:
            self._is_ready_for(event.detector.shape)

    def _add(self, passage: InFlight) -> None:
        payload_shape = passage.frame.payload.shape
        if payload_shape != self._payload_shape:
            self._judge(self._batcher.flush())
        if not self._is_ready_for(payload_shape):
            self._let_go(passage, Reason.DECODE)
            return
        now_ns = self._clock()
        waited_ns = now_ns - passage.frame.arrival_ns
        if waited_ns + self._backlog.cost_ns > self._deadline_ns:
            self._backlog.doubt_cost()
            self._let_go(passage, Reason.DEADLINE)
            return
        self._stage_seconds["queue"].observe(waited_ns / 1e9)
        self._batcher.add(passage, now_ns)

    def _is_ready_for(self, payload_shape: tuple[int, ...]) -> bool:
        """Whether frames of this shape can be judged; plans for it if it is new."""
        if payload_shape == self._payload_shape:
            return True
        if payload_shape == self._hopeless_shape:
            return False
        try:
            self.prepare(payload_shape)
        except (HitfinderError, MemoryError) as error:
            self._hopeless_shape = payload_shape
            text = f"frames of shape {payload_shape} go on unjudged: {error!s:.500}"
            self._log.warning("plan", text, self._clock())
            return False
        return True

    def _judge(self, batch: list[InFlight]) -> None:
        started_ns = self._clock()
        ready: list[InFlight] = []
        for passage in batch:
            if self._read(passage, self._buffer[len(ready)]):
                ready.append(passage)
        if not ready:
            return
        read_ns = self._clock()
        size = padded_size(len(ready))
        self._buffer[len(ready) : size] = 0
        scores = self._score(self._buffer[:size])
        scored_ns = self._clock()
        self._stage_seconds["read_region"].observe((read_ns - started_ns) / 1e9)
        self._stage_seconds["score"].observe((scored_ns - read_ns) / 1e9)
        self._metrics.batch_size.observe(len(ready))
        self._backlog.told_cost((scored_ns - started_ns) / len(batch))
        for passage, score in zip(ready, scores[: len(ready)].tolist(), strict=True):
            if math.isfinite(score):
                self._settle(passage, score)
                self._metrics.score.observe(score)
            else:
                self._log.warning("score", "the model gave a score that is no number", scored_ns)
                self._let_go(passage, Reason.MODEL)
        if self._hot_pixels is not None:
            self._hot_pixels.learn()

    def _read(self, passage: InFlight, out: NDArray[np.float32]) -> bool:
        frame = passage.frame
        try:
            self._reader.read(frame.payload, out)
            if _is_blank(out):
                raise PayloadError("no pixel of the region was measured; is the mask right?")
        except (PayloadError, MemoryError) as error:
            self._log.warning(
                "decode",
                f"series {frame.series} frame {frame.number} goes on unjudged: {error}",
                self._clock(),
            )
            self._let_go(passage, Reason.DECODE)
            return False
        if self._hot_pixels is not None:
            self._hot_pixels.see(out)
        return True

    def _score(self, batch: NDArray[np.float32]) -> NDArray[Any]:
        try:
            scores = self._model.score(batch)
        except (HitfinderError, MemoryError) as error:
            self._metrics.model_errors.inc()
            if not self._broken:
                self._reports.add("model failed", f"{error}; frames go on unjudged")
            self._broken = True
            return np.full(len(batch), np.nan, np.float32)
        if self._broken:
            self._reports.add("model recovered", "the model scores again")
        self._broken = False
        return scores

    def _let_go(self, passage: InFlight, reason: Reason) -> None:
        self._line.let_go(passage, reason, self._clock())

    def _settle(self, passage: InFlight, score: float) -> None:
        frame = passage.frame
        verdict = Verdict(
            series=frame.series,
            number=frame.number,
            outcome=outcome_of(score, self._threshold),
            score=score,
            arrival_ns=frame.arrival_ns,
            settled_ns=self._clock(),
        )
        self._line.settle(passage, verdict)


def _is_blank(region: NDArray[np.float32]) -> bool:
    """Whether nothing in (H, W) was measured: not a miss, but not known.

    A sample tells almost always, and the whole is looked at only when it does not.
    """
    return bool(np.isnan(region[::16, ::16]).all() and np.isnan(region).all())
