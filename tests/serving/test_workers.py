"""Several threads that judge, behind one line."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hitfinder.cascade import PolicySettings
from hitfinder.frame import Detector, Frame, Payload, SeriesStarted
from hitfinder.serving.line import InFlight, Mark
from hitfinder.serving.pipeline import Pipeline
from hitfinder.testing.fakes import FakeReader
from hitfinder.verdict import Outcome, Reason
from tests.serving.bench import HIT, MISS, Bench, frame, pipeline_of
from tests.serving.test_pipeline import PATIENCE_S, until

BATCH = 4


def many(tmp_path: Path, deadline_s: float = PATIENCE_S, **settings: Any) -> Bench:
    return Bench(
        tmp_path,
        max_bytes=10**6,
        judge_bytes=10**6,
        batch_size=BATCH,
        real_time=True,
        deadline_ms=deadline_s * 1000,
        workers=2,
        **settings,
    )


def started(bench: Bench) -> Pipeline:
    pipeline = pipeline_of(bench, workers=2)
    pipeline.start()
    return pipeline


def send(bench: Bench, *events: Frame | SeriesStarted) -> None:
    for event in events:
        bench.decoder.events[bytes(event.parts[0])] = event
        bench.source.messages.append(event.parts)


def shots(start: int, stop: int, series: str = "1") -> list[Frame]:
    return [frame(number, MISS if number % 3 else HIT, series) for number in range(start, stop)]


class HoldsFirst:
    """A method of which the first call takes until it is released."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method
        self.release = threading.Event()
        self.holds = threading.Event()

    def __call__(self, *arguments: Any) -> Any:
        if not self.holds.is_set():
            self.holds.set()
            self.release.wait(PATIENCE_S)
        return self._method(*arguments)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], HoldsFirst]:
    def hold(owner: Any, name: str) -> HoldsFirst:
        first = HoldsFirst(getattr(owner, name))
        monkeypatch.setattr(owner, name, first)
        return first

    return hold


def test_batches_judged_in_any_order_leave_in_order_of_arrival(
    tmp_path: Path, held: Callable[[Any, str], HoldsFirst]
) -> None:
    bench = many(tmp_path)
    first = held(bench.model, "score")
    pipeline = started(bench)
    send(bench, *shots(0, 1))
    until(first.holds.is_set)
    send(bench, *shots(1, 20 * BATCH))
    until(lambda: not bench.source.messages and bench.line.counts().in_flight == 1)
    assert bench.verdicts() == []
    first.release.set()
    pipeline.drain(PATIENCE_S)
    assert [verdict.frame for verdict in bench.verdicts()] == list(range(20 * BATCH))
    kept = [verdict.frame for verdict in bench.verdicts() if verdict.outcome is Outcome.KEPT]
    assert kept == list(range(0, 20 * BATCH, 3))
    assert pipeline.problems() == []
    assert not pipeline.hangs


class ScoresSaturation(FakeReader):
    """Shows the model which detector a frame was read with."""

    def __init__(self, detector: Detector) -> None:
        super().__init__((4, 4))
        self._saturation = detector.saturation

    def read(self, payload: Payload, out: NDArray[np.float32]) -> None:
        super().read(payload, out)
        out[0, :2] = self._saturation


def by_detector(_shape: tuple[int, ...], detector: Detector) -> ScoresSaturation:
    return ScoresSaturation(detector)


def begins(series: str, saturation: float) -> SeriesStarted:
    detector = Detector(shape=(4, 4), saturation=saturation)
    return SeriesStarted(series=series, detector=detector, parts=(f"start {series}".encode(),))


def test_each_frame_is_read_with_its_own_series_detector(
    tmp_path: Path, held: Callable[[Any, str], HoldsFirst]
) -> None:
    bench = many(tmp_path, plan=by_detector)
    first = held(bench.judge, "_judge")
    pipeline = started(bench)
    send(bench, begins("a", 20), *shots(0, 1, "a"))
    until(first.holds.is_set)
    send(bench, *shots(1, 4, "a"), begins("b", 80), *shots(0, 3, "b"), begins("c", 40))
    send(bench, *shots(0, 1, "c"))
    until(lambda: not bench.source.messages and bench.line.counts().in_flight == 1)
    first.release.set()
    pipeline.drain(PATIENCE_S)
    assert [verdict.series for verdict in bench.verdicts()] == [*"aaaabbbc"]
    scores = [verdict.score for verdict in bench.verdicts()]
    assert scores == pytest.approx([*[0.2] * 4, *[0.8] * 3, 0.4])


def test_a_hit_of_the_series_before_is_read_with_that_series_detector(tmp_path: Path) -> None:
    bench = many(tmp_path, plan=by_detector, policy=PolicySettings())
    assert bench.diffuse is not None
    before, now = begins("a", 20), begins("b", 80)
    hits = [(frame(0, HIT, "a"), before), (frame(0, HIT, "b"), now), (frame(1, HIT, "a"), before)]
    passages = [InFlight(one) for one, _ in hits]
    bench.diffuse.begin(Mark(before))
    bench.diffuse.begin(Mark(now))
    for passage, (_, start) in zip(passages, hits, strict=True):
        bench.line.enter(passage)
        bench.diffuse.offer(passage, passage.frame, 0.9, start.detector)
    bench.second_step()
    found = [None if one.verdict is None else one.verdict.diffuse for one in passages]
    assert [None if one is None else one.score for one in found] == pytest.approx([0.2, 0.8, 0.2])


def test_when_one_dies_it_is_told_and_the_other_judges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = many(tmp_path, deadline_s=1.0)
    judge, deaths = bench.judge._judge, [ValueError("a defect")]

    def die_once(batch: Any) -> None:
        if deaths:
            raise deaths.pop()
        judge(batch)

    monkeypatch.setattr(bench.judge, "_judge", die_once)
    pipeline = started(bench)
    send(bench, *shots(0, 1))
    until(lambda: len(pipeline.problems()) == 1)
    assert "thread died" in pipeline.problems()[0]
    until(lambda: len(bench.verdicts()) == 1)
    send(bench, *shots(1, 3 * BATCH))
    until(lambda: len(bench.verdicts()) == 3 * BATCH)
    reasons = [verdict.reason for verdict in bench.verdicts()]
    assert reasons == [Reason.DEADLINE, *[None] * (3 * BATCH - 1)]
    assert not pipeline.is_lost
    pipeline.drain(PATIENCE_S)


def test_when_one_hangs_the_other_judges(
    tmp_path: Path, held: Callable[[Any, str], HoldsFirst], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hitfinder.serving.pipeline.STOP_S", 0.05)
    bench = many(tmp_path, deadline_s=1.0)
    first = held(bench.model, "score")
    pipeline = started(bench)
    send(bench, *shots(0, 1))
    until(first.holds.is_set)
    send(bench, *shots(1, 3 * BATCH))
    until(lambda: len(bench.verdicts()) == 3 * BATCH)
    reasons = [verdict.reason for verdict in bench.verdicts()]
    assert reasons == [Reason.DEADLINE, *[None] * (3 * BATCH - 1)]
    pipeline.drain(0.1)
    assert pipeline.hangs
    first.release.set()
    until(lambda: not pipeline.hangs)
    assert bench.line.counts().received == 3 * BATCH
