"""The diffuse threads: the cascade's second step, for hits only, a whole frame each.

They take turns at taking a hit, so that hits and series starts are taken in order of arrival and
plans have one owner; a hit goes with the reader of its series, and judging it needs no turn. Hits
come in bursts, and the second of two that come together need not wait for the first.

A hit's verdict waits for it at most `deadline_ns` from the hit model's score on; then the publish
thread sends it as a hit that was not judged for diffuse scattering. Nothing here costs a frame or
a hit: whatever fails, or comes too late, or is one too many, settles the hit with the reason why
its second score is missing.

Under overload this step gives way first. It takes no hit, and forgets those that wait, while the
hit model's own backlog is filled to YIELD_AT; that backlog refuses frames only when it is full.
What this file does not know: sockets, and which model or region it has been given.
"""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hitfinder.cascade import PolicySettings, finding_of, outcome_of_hit
from hitfinder.frame import Detector, Frame, SeriesStarted
from hitfinder.images.reader import Reader
from hitfinder.serving.backlog import Backlog
from hitfinder.serving.line import Hit, InFlight, Line, Mark, Passage, verdict_on
from hitfinder.serving.metrics import Metrics
from hitfinder.serving.reports import Reports
from hitfinder.serving.scorer import Buffers, Model, Plan, Scorer
from hitfinder.verdict import Reason

YIELD_AT = 0.25
"""How full the hit model's backlog may be. Three quarters of it, some 50 frames of 4M pixels or
0.4 s of work with the defaults, are then left for what comes while this step finishes the frame
in its hands."""

DOUBT = 0.1
"""Share by which a hit that is refused for its cost lowers the estimate. Hits are few: with the
judge's 2 % an estimate made while the machine was busy would keep them out for a minute."""

REMEMBERED = 4
"""So many hits wait with what the first step decoded of them, which is then not decoded again. Each
takes memory for all pixels of a frame, so those behind them wait without."""

REMEMBERED_BYTES = 2**25
"""Pixels of one frame: of larger ones the first step decodes so small a share that the second gains
nothing from it, and as many frames as a batch has would take gigabytes."""

IDLE_S = 0.05
"""How long one step may wait for a hit; bounds the time a stop takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """A hit, how to read it, and memory (1, H, W) to read it into."""

    passage: InFlight
    hit: Hit
    reader: Reader
    buffer: NDArray[np.float32]
    started_ns: int


class DiffuseStage:
    """`begin` and `offer` belong to the judge's threads; `step` judges at most one hit, and as many
    threads as `workers` may step.
    """

    def __init__(
        self,
        *,
        line: Line,
        first: Backlog,
        backlog: Backlog,
        model: Model,
        threshold: float,
        policy: PolicySettings,
        plan: Plan[Reader],
        deadline_ns: int,
        metrics: Metrics,
        clock: Callable[[], int],
        reports: Reports,
        workers: int = 1,
    ) -> None:
        self._line = line
        self._first = first
        self._backlog = backlog
        self._threshold = threshold
        self._policy = policy
        self._deadline_ns = deadline_ns
        self._metrics = metrics
        self._clock = clock
        self._scorer = Scorer(
            model=model,
            plan=plan,
            planned=self._planned,
            name="diffuse model",
            fate="without a diffuse score",
            errors=metrics.diffuse_model_errors,
            clock=clock,
            reports=reports,
        )
        self.workers = workers
        self._turn = threading.Lock()
        self._buffers = Buffers(self._scorer.buffer, workers)
        self._busy_since_ns: dict[int, int] = {}
        """Of the threads that have a hit in hand."""

    def begin(self, mark: Mark) -> None:
        """A series starts: time to get ready for its hits. Those of the one before may follow."""
        self._backlog.put(mark, always=True)

    def remembering(self, frame: Frame) -> Frame:
        """The frame as the first step should read it: what it decodes is not decoded again here."""
        payload = frame.payload
        if payload.size * payload.dtype.itemsize > REMEMBERED_BYTES:
            return frame
        return replace(frame, payload=payload.remembering())

    def offer(self, passage: InFlight, frame: Frame, score: float, detector: Detector) -> None:
        """A hit: the frame as the hit model read it, its score, and its series' detector. Settled
        at once when it cannot be judged in time; never waits.
        """
        now_ns = self._clock()
        hit = Hit(
            frame=frame if len(self._backlog) < REMEMBERED else passage.frame,
            score=score,
            until_ns=now_ns + self._deadline_ns,
            detector=detector,
        )
        if not self._line.found_hit(passage, hit):
            return
        if self._hangs(now_ns):
            self._line.let_go(passage, Reason.DEADLINE, now_ns)
        elif self._must_yield() or not self._backlog.put(passage):
            self._line.let_go(passage, Reason.OVERLOAD, now_ns)
        self._metrics.diffuse_queue_bytes.set(self._backlog.bytes)

    def warm(self, rows: int, cols: int) -> None:
        """Get ready for regions of this shape. Raises HitfinderError."""
        # The quicker of two: what a machine has to do while it starts is not the model's cost.
        self._backlog.cost_ns = self._scorer.cost_ns(rows, cols, times=2)
        self._buffers.prepare(1, rows, cols)

    def step(self) -> bool:
        """Judge the hit that waits longest; False when there was none."""
        if not self._turn.acquire(timeout=IDLE_S):
            return False
        thread = threading.get_ident()
        try:
            taken = self._backlog.take(1, IDLE_S)
            if not taken:
                return False
            self._busy_since_ns[thread] = self._clock()
            job = self._job(taken[0])
        finally:
            self._turn.release()
        if job is not None:
            self._judge(job)
            self._buffers.give_back(job.buffer)
        del self._busy_since_ns[thread]
        self._metrics.diffuse_queue_bytes.set(self._backlog.bytes)
        return True

    def _must_yield(self) -> bool:
        return self._first.load >= YIELD_AT

    def _hangs(self, now_ns: int) -> bool:
        """Whether all threads have had their frame for longer than any may wait: the next would
        only hold up the line in vain. A thread that died in mid-frame looks the same.
        """
        since_ns = list(self._busy_since_ns.values())
        return len(since_ns) == self.workers and now_ns - max(since_ns) > self._deadline_ns

    def _planned(self, reader: Reader, payload_shape: tuple[int, ...]) -> None:
        if self._buffers.shape[1:] != reader.shape or self._scorer.is_cold:
            self.warm(*reader.shape)

    def _job(self, passage: Passage) -> _Job | None:
        """What there is to do with it, if anything."""
        if isinstance(passage, InFlight):
            # One that has its verdict went on without us.
            if (hit := passage.hit) is not None:
                return self._planned_job(passage, hit)
        elif isinstance(passage.event, SeriesStarted):
            self._scorer.begin(passage.event.detector)
        return None

    def _planned_job(self, passage: InFlight, hit: Hit) -> _Job | None:
        if self._must_yield():
            self._let_go(passage, Reason.OVERLOAD)
            return None
        if hit.detector is not self._scorer.detector:
            self._scorer.begin(hit.detector)
        if not self._scorer.is_ready_for(passage.frame.payload.shape):
            self._let_go(passage, Reason.DECODE)
            return None
        started_ns = self._clock()
        if started_ns + self._backlog.cost_ns > hit.until_ns:
            self._backlog.doubt_cost(DOUBT)
            self._let_go(passage, Reason.DEADLINE)
            return None
        return _Job(
            passage=passage,
            hit=hit,
            reader=self._scorer.reader,
            buffer=self._buffers.take(),
            started_ns=started_ns,
        )

    def _judge(self, job: _Job) -> None:
        waited_ns = job.started_ns - (job.hit.until_ns - self._deadline_ns)
        self._metrics.stage_seconds.labels("diffuse_queue").observe(waited_ns / 1e9)
        if not self._scorer.read(job.reader, job.hit.frame, job.buffer[0]):
            self._let_go(job.passage, Reason.DECODE)
            return
        read_ns = self._clock()
        score = float(self._scorer.score(job.buffer)[0])
        scored_ns = self._clock()
        seconds = self._metrics.stage_seconds
        seconds.labels("diffuse_read").observe((read_ns - job.started_ns) / 1e9)
        seconds.labels("diffuse_score").observe((scored_ns - read_ns) / 1e9)
        self._backlog.told_cost(scored_ns - job.started_ns)
        if math.isnan(score):
            self._let_go(job.passage, Reason.MODEL)
        else:
            self._settle(job.passage, job.hit, score)

    def _settle(self, passage: InFlight, hit: Hit, score: float) -> None:
        finding = finding_of(score, self._threshold)
        outcome = outcome_of_hit(finding.diffuse, self._policy)
        verdict = verdict_on(
            passage.frame, outcome, self._clock(), score=hit.score, diffuse=finding
        )
        if self._line.settle(passage, verdict):
            self._metrics.diffuse_scores.observe(score)

    def _let_go(self, passage: InFlight, reason: Reason) -> None:
        self._line.let_go(passage, reason, self._clock())
