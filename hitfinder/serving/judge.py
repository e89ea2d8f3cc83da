"""The judge thread: batch, read the region's pixels, score, decide.

Whatever goes wrong with a frame or a batch settles those frames as unjudged, with the reason;
nothing stops the thread but its stop flag. A frame that is past its deadline is not scored. A hit
is handed to the cascade's second step, if there is one, and never waited for.
Hot pixels are learned after a batch has its verdicts, if at all.
What this file does not know: sockets, and which model or region it has been given.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hitfinder.cascade import outcome_of
from hitfinder.frame import SeriesStarted
from hitfinder.images.region import RegionReader
from hitfinder.inference.batcher import BATCH_SIZES, Batcher, padded_size
from hitfinder.serving.backlog import Backlog
from hitfinder.serving.diffuse import DiffuseStage
from hitfinder.serving.hot_pixels import HotPixelMask
from hitfinder.serving.line import InFlight, Line, Passage, verdict_on
from hitfinder.serving.metrics import Metrics
from hitfinder.serving.reports import Reports
from hitfinder.serving.scorer import Model, Plan, Scorer
from hitfinder.verdict import Outcome, Reason

MAX_BATCH_PIXELS = 2**24
"""A batch of whole frames must not outgrow memory: 64 MiB of float32."""

BATCH_SHARE = 4
"""A batch may take the deadline over this; larger ones would make their own frames late."""

IDLE_S = 0.05
"""How long one step may wait for a frame; bounds the time a stop takes."""


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
        diffuse: DiffuseStage | None = None,
    ) -> None:
        self._line = line
        self._backlog = backlog
        self._threshold = threshold
        self._batch_size = batch_size
        self._wait_ns = wait_ns
        self._batcher = Batcher[InFlight](size=batch_size, wait_ns=wait_ns)
        self._deadline_ns = deadline_ns
        self._metrics = metrics
        self._clock = clock
        self._hot_pixels = hot_pixels
        self._stage_seconds = {
            stage: metrics.stage_seconds.labels(stage)
            for stage in ("queue", "read_region", "score")
        }
        self._diffuse = diffuse
        self._scorer = Scorer(
            model=model,
            plan=plan,
            planned=self._planned,
            name="model",
            fate="unjudged",
            errors=metrics.model_errors,
            clock=clock,
            reports=reports,
        )
        self._buffer = np.empty((0, 0, 0), np.float32)

    def prepare(self, payload_shape: tuple[int, ...]) -> None:
        """Plan and warm for frames of this shape. Raises ConfigError, HitfinderError."""
        self._scorer.prepare(payload_shape)

    def warm(self, rows: int, cols: int) -> None:
        """Run every size of batch that will occur, and none that takes too long to be useful."""
        self._backlog.cost_ns = self._scorer.cost_ns(rows, cols)
        in_time = int(self._deadline_ns / BATCH_SHARE / max(1, self._backlog.cost_ns))
        limit = max(1, min(self._batch_size, MAX_BATCH_PIXELS // (rows * cols), in_time))
        sizes = [size for size in BATCH_SIZES if size <= limit]
        self._scorer.warm(rows, cols, sizes[1:])
        self._buffer = self._scorer.buffer(sizes[-1], rows, cols)
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
            if self._diffuse is not None:
                self._diffuse.begin(passage)
            self._scorer.begin(passage.event.detector)

    def _planned(self, reader: RegionReader, payload_shape: tuple[int, ...]) -> None:
        if self._buffer.shape[1:] != reader.shape or self._scorer.is_cold:
            self.warm(*reader.shape)
        if self._hot_pixels is not None:
            self._hot_pixels.begin(reader, payload_shape)

    def _add(self, passage: InFlight) -> None:
        payload_shape = passage.frame.payload.shape
        if payload_shape != self._scorer.payload_shape or self._scorer.is_cold:
            self._judge(self._batcher.flush())
        if not self._scorer.is_ready_for(payload_shape):
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
        scores = self._scorer.score(self._buffer[:size])
        scored_ns = self._clock()
        self._stage_seconds["read_region"].observe((read_ns - started_ns) / 1e9)
        self._stage_seconds["score"].observe((scored_ns - read_ns) / 1e9)
        self._metrics.batch_size.observe(len(ready))
        self._backlog.told_cost((scored_ns - started_ns) / len(batch))
        for passage, score in zip(ready, scores[: len(ready)].tolist(), strict=True):
            self._decide(passage, score)
        if self._hot_pixels is not None:
            self._hot_pixels.learn()

    def _read(self, passage: InFlight, out: NDArray[np.float32]) -> bool:
        if not self._scorer.read(passage.frame, out):
            self._let_go(passage, Reason.DECODE)
            return False
        if self._hot_pixels is not None:
            self._hot_pixels.see(out)
        return True

    def _decide(self, passage: InFlight, score: float) -> None:
        if np.isnan(score):
            self._let_go(passage, Reason.MODEL)
            return
        self._metrics.score.observe(score)
        outcome = outcome_of(score, self._threshold)
        if outcome is Outcome.KEPT and self._diffuse is not None:
            self._diffuse.offer(passage, score)
        else:
            verdict = verdict_on(passage.frame, outcome, self._clock(), score=score)
            self._line.settle(passage, verdict)

    def _let_go(self, passage: InFlight, reason: Reason) -> None:
        self._line.let_go(passage, reason, self._clock())
