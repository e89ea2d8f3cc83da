"""The three threads together: a judge that hangs or dies, a stop with work in hand."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hitfinder.cascade import PolicySettings
from hitfinder.frame import Event
from hitfinder.serving.service import Parts, Service
from hitfinder.transport.outlet import Offered
from hitfinder.verdict import Outcome, Reason
from tests.serving.bench import MISS, Bench, end, frame, hit, pipeline_of, start

PATIENCE_S = 20.0


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end
        threading.Event().wait(0.002)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, max_bytes=10**6, judge_bytes=10**6, real_time=True)


def patient(tmp_path: Path, policy: PolicySettings | None = None) -> Bench:
    """So that a busy machine makes no frame late."""
    return Bench(
        tmp_path,
        max_bytes=10**6,
        judge_bytes=10**6,
        real_time=True,
        deadline_ms=PATIENCE_S * 1000,
        policy=policy,
    )


def queue(bench: Bench, count: int) -> None:
    for number in range(count):
        event = frame(number)
        bench.decoder.events[bytes(event.parts[0])] = event
        bench.source.messages.append(event.parts)


def test_frames_flow_and_a_stop_leaves_nothing(tmp_path: Path) -> None:
    bench = patient(tmp_path)
    pipeline = pipeline_of(bench)
    pipeline.start()
    queue(bench, 50)
    until(lambda: not bench.source.messages)
    pipeline.drain(PATIENCE_S)
    assert [verdict.outcome for verdict in bench.verdicts()] == [Outcome.KEPT] * 50
    assert bench.beats()[-1].totals.in_flight == 0
    assert pipeline.problems() == []
    assert bench.source.closed


@pytest.mark.parametrize("death", [MemoryError(), ValueError("a defect")])
def test_without_a_judge_frames_go_on_as_fast_as_they_come(
    bench: Bench, death: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die() -> bool:
        raise death

    monkeypatch.setattr(bench.judge, "step", die)
    pipeline = pipeline_of(bench)
    pipeline.start()
    queue(bench, 400)
    until(lambda: len(bench.kept.taken) == 400)
    assert not pipeline.is_lost
    assert "judge thread died" in pipeline.problems()[0]
    assert bench.line.counts().unjudged == {Reason.DEADLINE: 400}
    pipeline.drain(PATIENCE_S)


def test_both_steps_run_side_by_side(tmp_path: Path) -> None:
    bench = patient(tmp_path, PolicySettings())
    pipeline = pipeline_of(bench)
    pipeline.start()
    queue(bench, 50)
    until(lambda: not bench.source.messages)
    pipeline.drain(PATIENCE_S)
    assert [verdict.outcome for verdict in bench.verdicts()] == [Outcome.KEPT] * 50
    assert bench.line.counts().diffuse.offered == 50
    assert pipeline.problems() == []
    assert not pipeline.hangs


@pytest.mark.parametrize("death", [MemoryError(), ValueError("a defect")])
@pytest.mark.parametrize("death_in", ["_job", "_judge"])
def test_without_the_second_steps_thread_hits_go_on_as_fast_as_they_come(
    tmp_path: Path, death: Exception, death_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(passage: Any) -> None:
        raise death

    bench = patient(tmp_path, PolicySettings())
    monkeypatch.setattr(bench.diffuse, death_in, die)
    pipeline = pipeline_of(bench)
    pipeline.start()
    queue(bench, 400)
    until(lambda: len(bench.kept.taken) == 400)
    assert not pipeline.is_lost
    assert "diffuse thread died" in pipeline.problems()[0]
    assert bench.line.counts().kept == 400
    assert sum(bench.line.counts().diffuse.unjudged.values()) == 400
    pipeline.drain(PATIENCE_S)


def test_a_second_model_that_hangs_holds_up_neither_frames_nor_the_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def hang(batch: Any) -> Any:
        release.wait(PATIENCE_S)
        return batch[:, 0, 1]

    bench = patient(tmp_path, PolicySettings())
    monkeypatch.setattr(bench.diffuse_model, "score", hang)
    monkeypatch.setattr("hitfinder.serving.pipeline.STOP_S", 0.05)
    pipeline = pipeline_of(bench)
    pipeline.start()
    queue(bench, 100)
    until(lambda: len(bench.kept.taken) == 100)
    assert bench.line.counts().kept == 100
    pipeline.drain(PATIENCE_S)
    assert pipeline.hangs
    release.set()
    until(lambda: not pipeline.hangs)


def test_a_stop_settles_what_a_hanging_judge_holds_and_sends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = patient(tmp_path)
    release = threading.Event()

    def hang(batch: Any) -> Any:
        release.wait(PATIENCE_S)
        return batch[:, 0, 0]

    monkeypatch.setattr(bench.model, "score", hang)
    pipeline = pipeline_of(bench)
    pipeline.start()
    queue(bench, 20)
    until(lambda: not bench.source.messages)
    pipeline.drain(0.1)
    release.set()
    assert len(bench.kept.taken) == 20
    assert bench.line.counts().unjudged == {Reason.DRAINING: 20}
    assert bench.publish.totals().dropped == 0


def test_a_stop_gives_a_slow_receiver_time_and_counts_what_it_does_not_take(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hitfinder.serving.pipeline.LAST_TRY_NS", 10**7)
    bench.kept.answer = Offered.STALLED
    pipeline = pipeline_of(bench)
    pipeline.start()
    queue(bench, 5)
    until(lambda: not bench.source.messages)
    pipeline.drain(0.05)
    totals = bench.publish.totals()
    assert (totals.received, totals.dropped, totals.in_flight) == (5, 5, 0)
    assert len(bench.verdicts()) == 5


def test_a_stop_offers_to_every_receiver_what_another_does_not_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hitfinder.serving.pipeline.LAST_TRY_NS", 10**7)
    bench = patient(tmp_path, PolicySettings())
    bench.kept.answer = Offered.STALLED
    bench.diffuse_frames.answer = Offered.SPILLED
    pipeline = pipeline_of(bench)
    pipeline.start()
    events: list[Event] = [start(), hit(0, diffuse=90), hit(1, diffuse=90), frame(2, MISS), end()]
    for event in events:
        bench.decoder.events[bytes(event.parts[0])] = event
        bench.source.messages.append(event.parts)
    until(lambda: not bench.source.messages)
    pipeline.drain(0.2)
    begin, one, two, miss, over = (event.parts for event in events)
    assert bench.kept.taken == []
    assert bench.diffuse_frames.taken == [begin, one, two, over]
    assert bench.vetoed.taken == [begin, miss, over]
    totals = bench.publish.totals()
    assert (totals.dropped, totals.spilled, totals.forwarded) == (2, 2, 1)


def test_a_stop_says_that_what_hangs_in_an_output_was_neither_sent_nor_recorded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("hitfinder.serving.pipeline.STOP_S", 0.05)
    release = threading.Event()
    closed: list[str] = []

    def hang(parts: Any) -> Offered:
        release.wait(PATIENCE_S)
        return Offered.SENT

    monkeypatch.setattr(bench.kept, "offer", hang)
    monkeypatch.setattr(bench.ledger, "close", lambda _: closed.append("ledger"))
    pipeline = pipeline_of(bench)
    service = Service(
        Parts(
            pipeline=pipeline,
            warm=lambda: None,
            publish=bench.publish,
            reports=bench.reports,
            ledger=bench.ledger,
            metrics=bench.metrics,
            hot_pixels=None,
            source=bench.source,
            outputs=[],
            drain_timeout_s=0.1,
            clock=time.monotonic_ns,
            http=lambda _: None,
            close_sockets=lambda: closed.append("sockets"),
        )
    )
    monkeypatch.setattr(bench.ledger, "open", lambda _: None)
    assert service.start()
    queue(bench, 6)
    until(lambda: not bench.source.messages)
    service.stop()
    assert service.hangs
    assert not service.is_recorded
    assert closed == []
    assert "publish thread hangs in one step" in caplog.text
    assert "6 messages are neither sent nor recorded" in caplog.text
    release.set()
    until(lambda: not service.hangs)


def test_a_stop_takes_what_the_socket_still_holds_though_the_line_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, max_bytes=300, judge_bytes=300, real_time=True)
    bench.kept.answer = Offered.STALLED
    pipeline = pipeline_of(bench)
    pipeline.start()
    queue(bench, 12)
    until(lambda: not bench.line.wait_for_room(0))
    flows = threading.Timer(0.2, lambda: setattr(bench.kept, "answer", Offered.SENT))
    flows.start()
    pipeline.drain(PATIENCE_S)
    flows.join()
    assert not bench.source.messages
    assert len(bench.kept.taken) == 12


def test_the_service_ends_when_frames_cannot_pass(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> Any:
        raise ValueError("a defect")

    monkeypatch.setattr(bench.decoder, "decode", die)
    pipeline = pipeline_of(bench)
    pipeline.start()
    queue(bench, 1)
    until(lambda: pipeline.is_lost)
    assert "ingest thread died" in pipeline.problems()[0]
    pipeline.drain(0.1)
