"""What a judge gets ready for: regions of a shape and a detector, and sizes of batches."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hitfinder.errors import ConfigError
from hitfinder.frame import Detector, Frame, Payload, SeriesStarted, array_payload
from hitfinder.images.reader import RegionReader
from hitfinder.images.region import RegionSettings, plan_region
from hitfinder.serving.scorer import Buffers
from hitfinder.testing.fakes import FakeReader
from hitfinder.verdict import Outcome, Reason
from tests.serving.bench import DEADLINE_MS, HIT, MISS, Bench, fates, frame


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_model_that_went_on_on_another_device_is_measured_anew(bench: Bench) -> None:
    bench.feed(frame(0, MISS))
    bench.run()
    before = len(bench.model.warmed)
    bench.feed(frame(1, MISS))
    bench.judge.step()
    assert not bench.judge.idle  # a frame waits in the batch that warming replaces
    bench.model.moves += 1
    bench.feed(frame(2, HIT))
    bench.run()
    after = len(bench.model.warmed)
    assert after > before
    bench.feed(frame(3, HIT))
    bench.run()
    assert len(bench.model.warmed) == after
    assert fates(bench) == [*[Outcome.VETOED] * 2, *[Outcome.KEPT] * 2]


def test_frames_that_no_region_fits_go_on_unjudged(tmp_path: Path) -> None:
    def plan(payload_shape: tuple[int, ...], detector: Detector) -> FakeReader:
        if payload_shape != (4, 4):
            raise ConfigError("the region lies outside the frame")
        return FakeReader((4, 4))

    bench = Bench(tmp_path, plan=plan)
    odd = frame(1, payload=array_payload(np.zeros((3, 3), np.uint16)))
    bench.feed(frame(0), odd, frame(2))
    bench.run()
    assert fates(bench) == [Outcome.KEPT, Reason.DECODE, Outcome.KEPT]


def test_a_batch_never_mixes_shapes(bench: Bench) -> None:
    large = array_payload(np.full((6, 5), HIT, np.uint16))
    bench.feed(frame(0), frame(1), frame(2, payload=large), frame(3))
    bench.run()
    assert bench.model.batches == [(2, 4, 4), (1, 6, 5), (1, 4, 4)]
    assert fates(bench) == [Outcome.KEPT] * 4


def test_a_moment_without_memory_costs_the_frames_that_came_in_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another shape than those before and after, larger or smaller."""

    def no_memory(shape: tuple[int, ...]) -> None:
        raise MemoryError("no room")

    def sized(number: int, rows: int, cols: int) -> Frame:
        return frame(number, payload=array_payload(np.full((rows, cols), HIT, np.uint16)))

    bench.feed(sized(0, 9, 9))
    bench.run()
    for number, shape in ((1, (4, 4)), (4, (12, 12))):
        with monkeypatch.context() as now:
            now.setattr(bench.model, "buffer", no_memory)
            bench.feed(sized(number, *shape))
            bench.run()
        bench.feed(sized(number + 1, 9, 9), sized(number + 2, 9, 9))
        bench.run()
    kept, unread = Outcome.KEPT, Reason.DECODE
    assert fates(bench) == [kept, unread, kept, kept, unread, kept, kept]
    assert {shape[1:] for shape in bench.model.batches} == {(9, 9)}


def test_memory_of_the_shape_before_is_not_given_out_again() -> None:
    buffers = Buffers(lambda *shape: np.zeros(shape, np.float32), workers=1)
    buffers.prepare(2, 3, 3)
    before = buffers.take()
    buffers.prepare(2, 4, 4)
    buffers.give_back(before)
    assert [buffers.take().shape for _ in range(2)] == [(2, 4, 4)] * 2


def test_batches_are_padded_and_every_size_is_warmed_first(bench: Bench) -> None:
    bench.judge.prepare((4, 4))
    assert bench.model.warmed == [(size, 4, 4) for size in (1, 1, 1, 2, 4)]
    bench.feed(*(frame(number, MISS) for number in range(3)))
    bench.run()
    assert bench.model.batches == [(4, 4, 4)]
    assert len(bench.verdicts()) == 3


def test_batches_are_not_padded_where_a_new_size_costs_nothing(bench: Bench) -> None:
    bench.model.pads = False
    bench.judge.prepare((4, 4))
    bench.feed(*(frame(number, MISS) for number in range(3)))
    bench.run()
    assert bench.model.batches == [(3, 4, 4)]
    assert len(bench.verdicts()) == 3


def test_a_slow_model_gets_batches_that_fit_the_deadline(bench: Bench) -> None:
    def slowly(shapes: list[tuple[int, int, int]]) -> None:
        bench.clock.pass_ms(DEADLINE_MS / 8 * sum(shape[0] for shape in shapes))

    bench.model.warm = slowly  # type: ignore[method-assign]
    bench.judge.prepare((4, 4))
    bench.feed(*(frame(number) for number in range(3)))
    bench.run()
    assert bench.model.batches == [(2, 4, 4), (1, 4, 4)]


def test_a_shape_that_no_detector_has_costs_no_memory(tmp_path: Path) -> None:
    asked: list[tuple[int, ...]] = []

    def plan(payload_shape: tuple[int, ...], detector: Detector) -> RegionReader:
        asked.append(payload_shape)
        return plan_region(RegionSettings(kind="whole"), payload_shape, detector, None)

    bench = Bench(tmp_path, plan=plan)
    huge = Payload(data=b"", dtype=np.dtype(np.uint16), shape=(46_000, 46_000))
    bench.feed(frame(0, payload=huge), frame(1, payload=huge), frame(2))
    tracemalloc.start()
    bench.run()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20
    assert fates(bench) == [Reason.DECODE, Reason.DECODE, Outcome.KEPT]
    assert bench.model.warmed == [(size, 4, 4) for size in (1, 1, 1, 2, 4)]
    assert asked == [(46_000, 46_000), (4, 4)]


@pytest.mark.parametrize(
    ("changed", "plans"),
    [
        ({}, 1),
        ({"mask": np.eye(4, dtype=np.bool_)}, 2),
        ({"mask": None}, 2),
        ({"distance_mm": 80.5}, 2),
        ({"shape": None}, 2),
    ],
)
def test_a_series_is_planned_for_where_its_detector_is_another(
    tmp_path: Path, changed: dict[str, Any], plans: int
) -> None:
    asked: list[Detector] = []

    def plan(payload_shape: tuple[int, ...], detector: Detector) -> FakeReader:
        asked.append(detector)
        return FakeReader((payload_shape[0], payload_shape[1]))

    def begins(series: str, **said: Any) -> SeriesStarted:
        mask = np.zeros((4, 4), np.bool_)  # as each message has one of its own
        detector = Detector(**{"shape": (4, 4), "mask": mask, "distance_mm": 80.0, **said})
        return SeriesStarted(series=series, detector=detector, parts=(series.encode(),))

    bench = Bench(tmp_path, plan=plan)
    bench.feed(begins("1"), frame(0), begins("2", **changed), frame(0, series="2"))
    bench.run()
    assert len(asked) == plans
    assert fates(bench) == [Outcome.KEPT] * 2


def test_frames_of_another_shape_are_planned_for_and_those_after_them(tmp_path: Path) -> None:
    asked: list[tuple[int, ...]] = []

    def plan(payload_shape: tuple[int, ...], detector: Detector) -> FakeReader:
        asked.append(payload_shape)
        return FakeReader((payload_shape[0], payload_shape[1]))

    bench = Bench(tmp_path, plan=plan)
    large = array_payload(np.full((6, 5), HIT, np.uint16))
    bench.feed(frame(0), frame(1, payload=large), frame(2))
    bench.run()
    assert asked == [(4, 4), (6, 5), (4, 4)]
    assert bench.model.batches == [(1, 4, 4), (1, 6, 5), (1, 4, 4)]
