"""Metrics that alerts and dashboards stand on."""

from pathlib import Path

import pytest

from hitfinder.errors import BAD_MESSAGE_KINDS, LedgerError
from hitfinder.serving.backlog import Backlog
from hitfinder.serving.line import Line, passage_of
from hitfinder.serving.settings import PressureSettings
from hitfinder.transport.outlet import Offered
from tests.serving.bench import HIT, MISS, Bench, end, frame, start


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def value(bench: Bench, name: str, **labels: str) -> float | None:
    return bench.metrics.registry.get_sample_value(name, labels)


def test_counters_are_there_before_they_first_count(bench: Bench) -> None:
    for stream in ("kept", "vetoed"):
        for name in ("forwarded", "dropped", "spilled"):
            assert value(bench, f"hitfinder_frames_{name}_total", stream=stream) == 0
        assert value(bench, "hitfinder_forwarded_bytes_total", stream=stream) == 0
        assert value(bench, "hitfinder_output_stalled", stream=stream) == 0
    for kind in BAD_MESSAGE_KINDS:
        assert value(bench, "hitfinder_bad_messages_total", kind=kind) == 0


def test_what_became_of_frames_is_counted_by_stream(bench: Bench) -> None:
    bench.kept.answer = Offered.DROPPED
    bench.feed(start(), frame(0, HIT), frame(1, HIT), frame(2, MISS))
    bench.run()
    assert value(bench, "hitfinder_frames_dropped_total", stream="kept") == 2
    assert value(bench, "hitfinder_frames_forwarded_total", stream="vetoed") == 1
    assert value(bench, "hitfinder_forwarded_bytes_total", stream="kept") == 0


def test_scores_are_told(bench: Bench) -> None:
    bench.feed(start(), frame(0, HIT), frame(1, MISS), frame(2, MISS))
    bench.run()
    assert value(bench, "hitfinder_score_count") == 3
    assert value(bench, "hitfinder_score_bucket", le="0.5") == 2


def test_a_series_is_under_way_from_its_first_frame_to_its_end(bench: Bench) -> None:
    bench.feed(start())
    bench.run()
    assert value(bench, "hitfinder_series_under_way") == 0
    bench.feed(frame(0))
    bench.run()
    assert value(bench, "hitfinder_series_under_way") == 1
    bench.feed(end())
    bench.run()
    assert value(bench, "hitfinder_series_under_way") == 0
    bench.feed(frame(0, series="2"))
    bench.run()
    assert value(bench, "hitfinder_series_under_way") == 1


def test_the_ledgers_age_grows_while_it_takes_no_writes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(now_ns: int) -> None:
        raise LedgerError("made to be full")

    bench.run()
    with monkeypatch.context() as patch:
        patch.setattr(bench.ledger, "flush", refuse)
        for _ in range(3):
            bench.clock.pass_ms(20_000)
            bench.run()
        assert value(bench, "hitfinder_ledger_age_seconds") == pytest.approx(60.0, abs=0.1)
    bench.clock.pass_ms(1000)
    bench.run()
    assert value(bench, "hitfinder_ledger_age_seconds") == 0.0


def test_the_line_tells_how_full_it_is() -> None:
    line = Line(1000)
    assert line.fill == 0.0
    message = frame(0)
    line.enter(passage_of(message))
    assert line.fill == pytest.approx(sum(len(part) for part in message.parts) / 1000)
    for number in range(20):
        line.enter(passage_of(frame(number)))
    assert line.fill == 1.0


def test_the_judges_queue_tells_the_nearer_of_its_bounds() -> None:
    backlog = Backlog(max_bytes=1000, max_wait_ns=100)
    backlog.cost_ns = 10
    assert backlog.fill == 0.0
    message = frame(0)
    assert backlog.put(passage_of(message))
    in_bytes = sum(len(part) for part in message.parts) / 1000
    # One waits and one more would: 20 of 100 ns are more than an eighth of the bytes.
    assert in_bytes < backlog.fill == pytest.approx(0.2)
    backlog.cost_ns = 1
    assert backlog.fill == pytest.approx(in_bytes)
    # One frame takes more than half of the time: the next is refused, and the queue is full.
    backlog.cost_ns = 60
    assert backlog.fill == 1.0
    assert not backlog.put(passage_of(frame(1)))


def test_a_latency_beyond_any_deadline_can_be_told(bench: Bench) -> None:
    """A quantile never exceeds the highest bucket: an alert on a longer deadline could not fire."""
    longest = PressureSettings(deadline_ms=600_000.0)
    with pytest.raises(ValueError, match="deadline_ms"):
        PressureSettings(deadline_ms=longest.deadline_ms + 1)
    name = "hitfinder_latency_seconds_bucket"
    assert value(bench, name, le=str(longest.deadline_ms / 1000)) is not None
