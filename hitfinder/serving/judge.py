"""The judge: batch, read the region's pixels, score, decide. In one thread or in several.

Threads take turns at gathering a batch, so that frames and series starts are taken in order of
arrival by whoever's turn it is, and plans have one owner. A batch goes with the reader of its
series; judging it needs no turn. So batches may be settled in any order, which the line allows.

Whatever goes wrong with a frame or a batch settles those frames as unjudged, with the reason;
nothing stops the thread but its stop flag. A frame that is past its deadline is not scored. A hit
is handed to the cascade's second step, if there is one, and never waited for.
Hot pixels are learned after a batch has its verdicts, if at all.
What this file does not know: sockets, and which model or region it has been given.
"""

import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hitfinder.cascade import outcome_of
from hitfinder.frame import Detector, Frame, SeriesStarted
from hitfinder.images.reader import RegionReader
from hitfinder.inference.batcher import BATCH_SIZES, Batcher, padded_size
from hitfinder.serving.backlog import Backlog
from hitfinder.serving.diffuse import DiffuseStage
from hitfinder.serving.hot_pixels import HotPixelMask
from hitfinder.serving.line import InFlight, Line, Passage, verdict_on
from hitfinder.serving.metrics import Metrics
from hitfinder.serving.reports import Reports
from hitfinder.serving.scorer import Buffers, Model, Plan, Scorer
from hitfinder.verdict import Outcome, Reason, Verdict

MAX_BATCH_PIXELS = 2**24
"""A batch of whole frames must not outgrow memory: 64 MiB of float32."""

BATCH_SHARE = 4
"""A batch may take the deadline over this; larger ones would make their own frames late."""

HALF = 0.5
"""Share of a region below which it is told how little of it is measured."""

IDLE_S = 0.05
"""How long one step may wait for a frame; bounds the time a stop takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """Frames of one series and one shape, how to read them, and memory (N, H, W) to read into."""

    passages: list[InFlight]
    detector: Detector
    reader: RegionReader
    buffer: NDArray[np.float32]


class Judge:
    """`step` judges at most one batch; as many threads as `workers` may step."""

    def __init__(
        self,
        *,
        line: Line,
        backlog: Backlog,
        model: Model,
        threshold: float,
        plan: Plan[RegionReader],
        batch_size: int,
        wait_ns: int,
        deadline_ns: int,
        metrics: Metrics,
        clock: Callable[[], int],
        reports: Reports,
        hot_pixels: HotPixelMask | None = None,
        diffuse: DiffuseStage | None = None,
        workers: int = 1,
        detector: Detector | None = None,
    ) -> None:
        """`detector` is what frames are read by before a series' start was seen."""
        self._line = line
        self._backlog = backlog
        self._threshold = threshold
        self._batch_size = batch_size
        self._wait_ns = wait_ns
        self._size = batch_size
        self._batcher = Batcher[InFlight](size=batch_size, wait_ns=wait_ns)
        self._deadline_ns = deadline_ns
        self._metrics = metrics
        self._clock = clock
        self._hot_pixels = hot_pixels
        self._reports = reports
        self._told: RegionReader | None = None
        self._stage_seconds = {
            stage: metrics.stage_seconds.labels(stage)
            for stage in ("queue", "read_region", "score")
        }
        self._diffuse = diffuse
        self._turn = threading.Lock()
        self._taken: deque[Passage] = deque()
        self._scorer = Scorer(
            model=model,
            plan=plan,
            planned=self._planned,
            name="model",
            fate="unjudged",
            errors=metrics.model_errors,
            clock=clock,
            reports=reports,
            detector=detector,
        )
        self._buffers = Buffers(self._scorer.buffer, workers)

    def prepare(self, payload_shape: tuple[int, ...]) -> None:
        """Plan and warm for frames of this shape. Raises ConfigError, HitfinderError."""
        self._scorer.prepare(payload_shape)

    def warm(self, rows: int, cols: int) -> None:
        """Run every size of batch that will occur, and none that takes too long to be useful.
        Raises HitfinderError and MemoryError.
        """
        self._backlog.cost_ns = self._scorer.cost_ns(rows, cols)
        in_time = int(self._deadline_ns / BATCH_SHARE / max(1, self._backlog.cost_ns))
        limit = max(1, min(self._batch_size, MAX_BATCH_PIXELS // (rows * cols), in_time))
        sizes = [size for size in BATCH_SIZES if size <= limit]
        self._scorer.warm(rows, cols, sizes[1:])
        # Before anything else changes: where there is no memory, all stays as it was.
        self._buffers.prepare(sizes[-1], rows, cols)
        self._size = sizes[-1]
        # A batch may be filling: another thread's may just have found the model on a new device.
        held = self._batcher.flush()
        self._batcher = Batcher[InFlight](size=self._size, wait_ns=self._wait_ns)
        for passage in held:
            self._batcher.add(passage, self._clock())

    def step(self) -> bool:
        """Take what waits, and judge a batch if one is ready; False when nothing was done."""
        if not self._turn.acquire(timeout=IDLE_S):
            return False
        try:
            batch = self._gather()
        finally:
            self._turn.release()
        if batch is None:
            return False
        self._judge(batch)
        self._buffers.give_back(batch.buffer)
        return True

    @property
    def idle(self) -> bool:
        """Whether it holds no frame, but for those that are being judged."""
        return not self._taken and not len(self._batcher)

    def _gather(self) -> _Batch | None:
        """The next batch, if one is ready."""
        if not self._taken:
            missing = max(1, self._size - len(self._batcher))
            enough = missing if len(self._batcher) else 1
            self._taken.extend(self._backlog.take(missing, self._patience_s(), enough))
        while self._taken:
            if len(self._batcher) and self._breaks(self._taken[0]):
                return self._batch(self._batcher.flush())
            self._take(self._taken.popleft())
        passages = self._batcher.take(self._clock())
        return self._batch(passages) if passages else None

    def _batch(self, passages: list[InFlight]) -> _Batch:
        return _Batch(
            passages=passages,
            detector=self._scorer.detector,
            reader=self._scorer.reader,
            buffer=self._buffers.take(),
        )

    def _breaks(self, passage: Passage) -> bool:
        """Whether the batch that fills must be closed before this is taken."""
        if isinstance(passage, InFlight):
            new_shape = passage.frame.payload.shape != self._scorer.payload_shape
            return new_shape or self._scorer.is_cold
        return isinstance(passage.event, SeriesStarted)

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
            # Every frame waits for the first step to get ready, hits alone for the second.
            self._scorer.begin(passage.event.detector)
            if self._diffuse is not None:
                self._diffuse.begin(passage)

    def _planned(self, reader: RegionReader, payload_shape: tuple[int, ...]) -> None:
        if self._buffers.shape[1:] != reader.shape or self._scorer.is_cold:
            self.warm(*reader.shape)
        if reader.measured < HALF and reader is not self._told:
            self._told = reader
            text = f"only {reader.measured:.1%} of the region's pixels are measured; are mask, "
            self._reports.add("little measured", f"{text}geometry and region right?")
        if self._hot_pixels is not None:
            self._hot_pixels.begin(reader, payload_shape)

    def _add(self, passage: InFlight) -> None:
        if not self._scorer.is_ready_for(passage.frame.payload.shape):
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

    def _judge(self, batch: _Batch) -> None:
        started_ns = self._clock()
        buffer = batch.buffer
        ready: list[tuple[InFlight, Frame]] = []
        for passage in batch.passages:
            frame = passage.frame
            if self._diffuse is not None:
                frame = self._diffuse.remembering(frame)
            if self._read(batch.reader, passage, frame, buffer[len(ready)]):
                ready.append((passage, frame))
        if not ready:
            return
        read_ns = self._clock()
        size = padded_size(len(ready)) if self._scorer.pads else len(ready)
        buffer[len(ready) : size] = 0
        scores = self._scorer.score(buffer[:size])
        scored_ns = self._clock()
        self._stage_seconds["read_region"].observe((read_ns - started_ns) / 1e9)
        self._stage_seconds["score"].observe((scored_ns - read_ns) / 1e9)
        self._metrics.batch_size.observe(len(ready))
        self._backlog.told_cost((scored_ns - started_ns) / len(batch.passages))
        verdicts: list[tuple[InFlight, Verdict]] = []
        for (passage, frame), score in zip(ready, scores[: len(ready)].tolist(), strict=True):
            verdict = self._decide(passage, frame, score, batch.detector, scored_ns)
            if verdict is not None:
                verdicts.append((passage, verdict))
        self._line.settle_all(verdicts)
        if self._hot_pixels is not None:
            self._hot_pixels.learn()

    def _read(
        self, reader: RegionReader, passage: InFlight, frame: Frame, out: NDArray[np.float32]
    ) -> bool:
        if not self._scorer.read(reader, frame, out):
            self._let_go(passage, Reason.DECODE)
            return False
        if self._hot_pixels is not None:
            self._hot_pixels.see(out)
        return True

    def _decide(
        self, passage: InFlight, frame: Frame, score: float, detector: Detector, now_ns: int
    ) -> Verdict | None:
        """None where somebody else has the last word."""
        if math.isnan(score):
            self._let_go(passage, Reason.MODEL)
            return None
        self._metrics.score.observe(score)
        outcome = outcome_of(score, self._threshold)
        if outcome is Outcome.KEPT and self._diffuse is not None:
            self._diffuse.offer(passage, frame, score, detector)
            return None
        return verdict_on(passage.frame, outcome, now_ns, score=score)

    def _let_go(self, passage: InFlight, reason: Reason) -> None:
        self._line.let_go(passage, reason, self._clock())
