"""Several threads that judge hits a second time."""

import errno
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hitfinder.cascade import PolicySettings
from hitfinder.verdict import Diffuse, Outcome, Reason
from tests.serving.bench import Bench, hit
from tests.serving.test_pipeline import PATIENCE_S, until
from tests.serving.test_workers import HoldsFirst, begins, by_detector, held, send, started


def many(tmp_path: Path, diffuse_s: float = PATIENCE_S, **settings: Any) -> Bench:
    return Bench(
        tmp_path,
        max_bytes=10**6,
        judge_bytes=10**6,
        diffuse_bytes=10**6,
        real_time=True,
        deadline_ms=PATIENCE_S * 1000,
        policy=PolicySettings(),
        diffuse_ms=diffuse_s * 1000,
        diffuse_workers=2,
        **settings,
    )


__all__ = ["held"]
"""A fixture."""


class Holds:
    """A model's `score` that keeps hits whose second pixel is `pixel` until they are released."""

    def __init__(self, bench: Bench, pixel: int) -> None:
        self._score = bench.diffuse_model.score
        self._pixel = pixel
        self.release = threading.Event()
        self.held: list[NDArray[np.float32]] = []
        bench.diffuse_model.score = self  # type: ignore[method-assign]

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        if batch[0, 0, 1] == self._pixel:
            self.held.append(batch)
            self.release.wait(PATIENCE_S)
        return self._score(batch)


def test_two_hits_are_judged_side_by_side_each_in_memory_of_its_own(tmp_path: Path) -> None:
    bench = many(tmp_path)
    holds = Holds(bench, 80)
    pipeline = started(bench)
    send(bench, hit(0, 80), hit(1, 80), hit(2, 20))
    until(lambda: len(holds.held) == 2)
    first, second = holds.held
    assert not np.shares_memory(first, second)
    assert bench.verdicts() == []
    holds.release.set()
    pipeline.drain(PATIENCE_S)
    assert [verdict.diffuse for verdict in bench.verdicts()] == [Diffuse.YES] * 2 + [Diffuse.NO]
    assert pipeline.problems() == []
    assert not pipeline.hangs


def test_a_hit_that_is_done_first_leaves_behind_the_one_before_it(tmp_path: Path) -> None:
    bench = many(tmp_path)
    holds = Holds(bench, 80)
    pipeline = started(bench)
    send(bench, hit(0, 80))
    until(lambda: bool(holds.held))
    send(bench, *(hit(number, 20) for number in range(1, 40)))
    until(lambda: bench.line.counts().in_flight == 1)
    assert bench.verdicts() == []
    holds.release.set()
    pipeline.drain(PATIENCE_S)
    assert [verdict.frame for verdict in bench.verdicts()] == list(range(40))
    assert {verdict.outcome for verdict in bench.verdicts()} == {Outcome.KEPT}


def test_a_model_that_hangs_on_one_hit_costs_that_hit_alone(tmp_path: Path) -> None:
    bench = many(tmp_path, diffuse_s=0.3)
    holds = Holds(bench, 80)
    pipeline = started(bench)
    send(bench, hit(0, 80))
    until(lambda: bool(holds.held))
    until(lambda: len(bench.verdicts()) == 1)
    send(bench, *(hit(number, 20) for number in range(1, 20)))
    until(lambda: len(bench.verdicts()) == 20)
    holds.release.set()
    pipeline.drain(PATIENCE_S)
    found = [verdict.diffuse_reason or verdict.diffuse for verdict in bench.verdicts()]
    assert found == [Reason.DEADLINE] + [Diffuse.NO] * 19


def test_when_all_hang_nobody_waits_for_them(tmp_path: Path) -> None:
    bench = many(tmp_path, diffuse_s=0.3)
    stage = bench.diffuse
    assert stage is not None
    holds = Holds(bench, 80)
    pipeline = started(bench)
    send(bench, hit(0, 80), hit(1, 80))
    until(lambda: len(bench.verdicts()) == 2)
    until(lambda: stage._hangs(time.monotonic_ns()))  # a thread may take its hit after it came
    send(bench, *(hit(number, 80) for number in range(2, 12)))
    until(lambda: len(bench.verdicts()) == 12)
    assert not len(bench.diffuse_backlog)
    assert {verdict.diffuse_reason for verdict in bench.verdicts()} == {Reason.DEADLINE}
    holds.release.set()
    until(lambda: not bench.diffuse_backlog.bytes)
    send(bench, hit(12, 20))
    until(lambda: len(bench.verdicts()) == 13)
    pipeline.drain(PATIENCE_S)
    assert bench.verdicts()[-1].diffuse is Diffuse.NO


def test_a_hit_is_read_with_its_own_series_detector_while_the_next_begins(
    tmp_path: Path, held: Callable[[Any, str], HoldsFirst]
) -> None:
    bench = many(tmp_path, plan=by_detector)
    stage = bench.diffuse
    assert stage is not None
    first = held(stage, "_judge")
    pipeline = started(bench)
    send(bench, begins("1", 80), hit(0))
    until(first.holds.is_set)
    send(bench, begins("2", 60))
    until(lambda: stage._scorer.detector.saturation == 60)
    first.release.set()
    pipeline.drain(PATIENCE_S)
    (verdict,) = bench.verdicts()
    assert verdict.diffuse_score == pytest.approx(0.8)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such a policy")
def test_the_second_steps_threads_take_the_processor_from_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = many(tmp_path)
    stage = bench.diffuse
    assert stage is not None
    judge, policies = stage._judge, list[int]()

    def told(job: Any) -> None:
        policies.append(os.sched_getscheduler(0))
        judge(job)

    monkeypatch.setattr(stage, "_judge", told)
    pipeline = started(bench)
    send(bench, hit(0))
    pipeline.drain(PATIENCE_S)
    assert policies == [os.SCHED_BATCH]
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
    assert len(bench.verdicts()) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such a policy")
def test_a_sandbox_that_knows_no_such_policy_costs_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "sched_setscheduler", refused)
    bench = many(tmp_path)
    pipeline = started(bench)
    send(bench, hit(0))
    pipeline.drain(PATIENCE_S)
    assert pipeline.problems() == []
    (verdict,) = bench.verdicts()
    assert verdict.diffuse_score is not None
