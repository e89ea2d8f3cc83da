"""Three threads: ingest, judge, publish; more where there are several workers to judge, and those
of the cascade's second step, where there is one. Starting, stopping, and noticing a death.

    start → running → drain: ingest takes what the socket still holds and stops,
                             judge judges what is in flight, publish sends it,
                             what is left at the timeout goes on unjudged (draining)

A thread that dies of a defect is logged and told to /healthz; the others go on, so that frames
go on unjudged rather than nowhere. Only without ingest or publish does the service end itself.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from hitfinder.serving.diffuse import DiffuseStage
from hitfinder.serving.ingest import Ingest
from hitfinder.serving.judge import Judge
from hitfinder.serving.line import InFlight, Line
from hitfinder.serving.publish import Publish
from hitfinder.verdict import Reason

STALLED_WAIT_S = 0.002
"""Pause before a message that no receiver took is offered again."""

RECEIVE_NS = 500_000_000
"""How long a stopping service empties its input socket: a sender may never leave it empty."""

LAST_TRY_NS = 500_000_000
"""How long a stopping service offers one message to receivers that take nothing."""

PAUSE_S = 0.005
"""How often a stopping service looks whether the line is empty."""

STOP_S = 1.0
"""How long a stopping service waits for a thread's current step."""

HUNG_NS = 10_000_000_000
"""A thread that has not stepped for this long counts as hung."""


class Stepper(Protocol):
    """Work in small steps."""

    def step(self) -> bool:
        """Do one step; False when there was nothing to do."""
        ...


class Worker:
    """A thread that steps until it is told to stop."""

    def __init__(
        self,
        name: str,
        stepper: Stepper,
        clock: Callable[[], int],
        pause_s: float = 0.0,
        *,
        computes: bool = False,
    ) -> None:
        """With `computes`, a step takes several ms; see `_let_others_first`."""
        self._stepper = stepper
        self._clock = clock
        self._pause_s = pause_s
        self._computes = computes
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.name = name
        self.failure: BaseException | None = None
        self.stepped_ns = clock()

    def start(self) -> None:
        """Begin stepping."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Stop after the current step; False when that took longer than `timeout_s`."""
        self._stop.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def is_alive(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._thread.is_alive()

    def problem(self) -> str | None:
        """Why this thread does not do its work, if so."""
        if self.failure is not None:
            return f"{self.name} thread died: {self.failure!r}"
        if self._thread.is_alive() and self._clock() - self.stepped_ns > HUNG_NS:
            return f"{self.name} thread hangs in one step"
        return None

    def _run(self) -> None:
        try:
            if self._computes:
                _let_others_first()
            while not self._stop.is_set():
                moved = self._stepper.step()
                self.stepped_ns = self._clock()
                if not moved and self._pause_s:
                    self._stop.wait(self._pause_s)
        except BaseException as error:
            self.failure = error
            logging.getLogger("hitfinder").critical(
                "%s thread died of a defect; please report it", self.name, exc_info=error
            )


class Pipeline:
    """The workers around one line."""

    def __init__(
        self,
        *,
        ingest: Ingest,
        judge: Judge,
        publish: Publish,
        line: Line,
        clock: Callable[[], int],
        diffuse: DiffuseStage | None = None,
        workers: int = 1,
    ) -> None:
        self._ingest = ingest
        self._judge = judge
        self._publish = publish
        self._line = line
        self._clock = clock
        self._logger = logging.getLogger("hitfinder")
        self._ingest_worker = Worker("ingest", ingest, clock)
        self._judge_workers = [Worker(each, judge, clock) for each in _names("judge", workers)]
        if diffuse is not None:
            names = _names("diffuse", diffuse.workers)
            self._judge_workers += [Worker(each, diffuse, clock, computes=True) for each in names]
        self._publish_worker = Worker("publish", publish, clock, STALLED_WAIT_S)

    def start(self) -> None:
        """Start all of them."""
        for worker in self._workers:
            worker.start()

    def problems(self) -> list[str]:
        """What is wrong with the threads; empty while all is well."""
        return [problem for worker in self._workers if (problem := worker.problem()) is not None]

    @property
    def hangs(self) -> bool:
        """Whether a thread is still in a step, after a drain that waited for it."""
        return any(worker.is_alive for worker in self._workers)

    @property
    def publish_hangs(self) -> bool:
        """Likewise the thread that has the ledger and the outputs: nobody else may touch them."""
        return self._publish_worker.is_alive

    @property
    def is_lost(self) -> bool:
        """Whether frames cannot pass any more: the service must end."""
        return self._ingest_worker.failure is not None or self._publish_worker.failure is not None

    def drain(self, timeout_s: float) -> None:
        """Stop taking messages, finish what is in flight within `timeout_s`, settle the rest."""
        end_ns = self._clock() + int(timeout_s * 1e9)
        self._ingest_worker.stop(max(STOP_S, timeout_s))
        # What the socket took from the sender before the stop is ours to account for.
        self._finish(end_ns)
        self._ingest.hang_up()
        self._stop_judging()
        if self._publish_worker.stop(max(STOP_S, timeout_s)):
            self._give_up()
        else:
            self._logger.error(
                "publish thread hangs in one step, a disk or an output that does not answer; "
                "%d messages are neither sent nor recorded",
                len(self._line),
            )

    def _stop_judging(self) -> None:
        """All at once: several that hang cost no more time than one."""
        for worker in self._judge_workers:
            worker.stop(0)
        end_ns = self._clock() + int(STOP_S * 1e9)
        for worker in self._judge_workers:
            worker.stop(max(0.0, (end_ns - self._clock()) / 1e9))

    def _finish(self, end_ns: int) -> None:
        """Until the socket has nothing more, or is never empty, and the line is."""
        pause = threading.Event()
        receive_end_ns = min(end_ns, self._clock() + RECEIVE_NS)
        receiving = True
        while self._clock() < end_ns and not self.is_lost:
            if receiving and not self._line.wait_for_room(PAUSE_S):
                # Receivers that hold up the line may go on taking; their time is not the sender's.
                receive_end_ns = min(end_ns, self._clock() + RECEIVE_NS)
            elif receiving:
                receiving = self._ingest.step(0) and self._clock() < receive_end_ns
                if not receiving:
                    self._ingest.hang_up()
            elif len(self._line):
                pause.wait(PAUSE_S)
            else:
                return

    def _give_up(self) -> None:
        """Settle what is left; offer it while receivers go on taking, then drop it, counted."""
        pause = threading.Event()
        patience_ns = LAST_TRY_NS
        while (passage := self._line.front()) is not None:
            if isinstance(passage, InFlight):
                self._line.let_go(passage, Reason.DRAINING, self._clock())
            end_ns = self._clock() + patience_ns
            while not (moved := self._publish.step()) and self._clock() < end_ns:
                pause.wait(STALLED_WAIT_S)
            if not moved:
                patience_ns = 0
                self._publish.drop_front()
        self._publish.finish()

    @property
    def _workers(self) -> tuple[Worker, ...]:
        return (self._ingest_worker, *self._judge_workers, self._publish_worker)


def _names(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name} {number}" for number in range(1, count + 1)]


def _let_others_first() -> None:
    """Where Linux lets us, this thread takes the processor from nobody when it wakes up: who woke
    it holds Python's lock, which it must wait for anyway. What was set from outside stays.
    """
    if sys.platform == "linux":
        with suppress(OSError):  # a sandbox may forbid it, or not know it; nothing depends on it
            if os.sched_getscheduler(0) == os.SCHED_OTHER:
                os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
