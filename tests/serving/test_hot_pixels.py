"""A stream with a hot pixel through the pipeline: what the model sees, what is told and saved."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hitfinder.frame import Detector, array_payload
from hitfinder.images.hot_pixel_file import HotPixelMap, load_hot_pixels, save_hot_pixels
from hitfinder.images.hot_pixels import LOOKS_FIRST, HotPixels
from hitfinder.images.reader import RegionReader
from hitfinder.images.region import RegionSettings, plan_region
from hitfinder.ledger.report import read_report
from hitfinder.serving.hot_pixels import LOOK_EACH_NS, HotPixelMask
from hitfinder.verdict import Outcome
from tests.serving.bench import HIT, Bench, frame, start

SHAPE = (30, 40)
HOT = (12, 17)
HOT_FLAT = HOT[0] * SHAPE[1] + HOT[1]


class Feed:
    """Frames of noise with hot pixels; remembers of each what the model saw in place of one."""

    def __init__(self, bench: Bench, *hot: tuple[int, int]) -> None:
        self.bench = bench
        self.hot = hot or (HOT,)
        self.seen: list[float] = []
        self.number = 0
        score = bench.model.score

        def remember(batch: NDArray[np.float32]) -> NDArray[np.float32]:
            self.seen.append(float(batch[0][self.hot[0]]))
            return score(batch)

        bench.model.score = remember  # type: ignore[method-assign]

    def frames(self, count: int, shape: tuple[int, int] = SHAPE) -> None:
        for _ in range(count):
            pixels = np.random.default_rng(self.number).poisson(2.0, shape).astype(np.uint16)
            pixels[tuple(zip(*self.hot, strict=True))] = 500
            pixels[0, 0] = HIT
            self.bench.feed(frame(self.number, payload=array_payload(pixels)))
            self.bench.run()
            self.bench.clock.pass_ms(LOOK_EACH_NS / 1e6)
            self.number += 1


def bench_of(folder: Path, mode: Any, **more: Any) -> Bench:
    return Bench(folder, max_bytes=10**6, judge_bytes=10**6, hot_pixels=mode, **more)


def value(bench: Bench, name: str) -> float | None:
    return bench.metrics.registry.get_sample_value(name)


def kinds(bench: Bench) -> list[str]:
    bench.publish.finish()
    return [event.kind for event in read_report(bench.ledger_path).events]


def mask_of(bench: Bench) -> HotPixelMask:
    assert bench.hot_pixels is not None
    return bench.hot_pixels


def test_a_hot_pixel_becomes_no_measurement_after_enough_frames(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, "mask")
    feed = Feed(bench)
    feed.frames(LOOKS_FIRST)
    assert feed.seen == [500.0] * LOOKS_FIRST
    feed.frames(3)
    assert np.isnan(feed.seen[LOOKS_FIRST:]).all()
    assert {verdict.outcome for verdict in bench.verdicts()} == {Outcome.KEPT}
    assert value(bench, "hitfinder_hot_pixels") == 1
    assert value(bench, "hitfinder_hot_pixel_looks_total") == LOOKS_FIRST + 3
    assert value(bench, "hitfinder_hot_pixel_changes_total") == 1
    assert kinds(bench) == ["hot pixels"]
    # What is masked is still looked at, or it could never return.
    feed.frames(2 * LOOKS_FIRST)
    pixels = mask_of(bench)._pixels
    assert pixels is not None
    assert pixels.shares.tolist() == [1.0]


def test_by_default_it_is_told_and_the_model_sees_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    bench = bench_of(tmp_path, "learn")
    feed = Feed(bench)
    feed.frames(LOOKS_FIRST + 3)
    assert feed.seen == [500.0] * (LOOKS_FIRST + 3)
    assert value(bench, "hitfinder_hot_pixels") == 1
    assert caplog.text.count("1 in the region of 30 x 40, 1 new, 0 gone; the model sees") == 1


def test_switched_off_it_does_nothing(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, "off")
    feed = Feed(bench)
    feed.frames(LOOKS_FIRST + 3)
    assert feed.seen == [500.0] * (LOOKS_FIRST + 3)
    assert value(bench, "hitfinder_hot_pixel_looks_total") == 0


def test_it_looks_now_and_then_whatever_the_rate(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, "learn")
    for number in range(40):
        bench.feed(frame(number))
        bench.run()  # in which 2 ms pass
    assert value(bench, "hitfinder_hot_pixel_looks_total") == 1


def test_series_of_one_shape_go_on_with_what_is_known(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, "mask")
    feed = Feed(bench)
    feed.frames(LOOKS_FIRST - 5)
    bench.feed(start("2"))
    feed.frames(10)
    assert np.isnan(feed.seen[LOOKS_FIRST:]).all()


def test_another_shape_begins_anew(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, "mask")
    feed = Feed(bench)
    feed.frames(LOOKS_FIRST + 1)
    feed.frames(3, shape=(31, 40))
    assert feed.seen[-3:] == [500.0] * 3
    assert value(bench, "hitfinder_hot_pixels") == 0
    assert kinds(bench) == ["hot pixels", "hot pixels ignored"]


def test_what_is_saved_holds_from_the_first_frame_of_the_next_run(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, "mask")
    Feed(bench).frames(LOOKS_FIRST)
    mask_of(bench).save()
    found = load_hot_pixels(bench.hot_pixel_path)
    assert (found.payload_shape, found.places.tolist()) == (SHAPE, [HOT_FLAT])
    bench.let_die()
    again = bench_of(tmp_path, "mask")
    mask_of(again).load()
    feed = Feed(again)
    feed.frames(3)
    assert np.isnan(feed.seen).all()
    assert value(again, "hitfinder_hot_pixels") == 1


def test_without_a_file_nothing_is_kept(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, "learn")
    mask_of(bench)._file = None
    mask_of(bench).load()
    Feed(bench).frames(LOOKS_FIRST)
    mask_of(bench).save(now=True)
    assert not bench.hot_pixel_path.exists()
    assert value(bench, "hitfinder_hot_pixel_errors_total") == 0


def test_the_file_is_written_rarely_and_at_the_end(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, "learn")
    mask = mask_of(bench)
    mask.save(now=True)
    assert not bench.hot_pixel_path.exists()
    Feed(bench).frames(LOOKS_FIRST)
    mask.save()
    bench.hot_pixel_path.unlink()
    mask.save(now=True)
    assert not bench.hot_pixel_path.exists()  # nothing new
    Feed(bench, (20, 20)).frames(2 * LOOKS_FIRST)
    assert value(bench, "hitfinder_hot_pixel_changes_total") == 2
    mask.save()
    assert not bench.hot_pixel_path.exists()  # too soon
    mask.save(now=True)
    assert bench.hot_pixel_path.exists()


@pytest.mark.parametrize("damage", ["shape", "rubbish"])
def test_a_file_that_does_not_fit_is_ignored_with_one_line(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench = bench_of(tmp_path, "mask")
    if damage == "rubbish":
        bench.hot_pixel_path.write_bytes(b"rubbish")
    else:
        places, shares = np.array([HOT_FLAT]), np.ones(1, np.float32)
        found = HotPixelMap(payload_shape=(40, 30), places=places, shares=shares)
        save_hot_pixels(bench.hot_pixel_path, found)
    mask_of(bench).load()
    feed = Feed(bench)
    feed.frames(3)
    assert feed.seen == [500.0] * 3
    assert caplog.text.count("hot pixels ignored") == 1
    assert kinds(bench) == ["hot pixels ignored"]


def test_a_failure_inside_never_unjudges_a_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench = bench_of(tmp_path, "mask")
    feed = Feed(bench)

    def fail(*_: Any) -> Any:
        raise MemoryError("made to fail")

    for broken in ("learn", "look"):
        with monkeypatch.context() as patch:
            patch.setattr(HotPixels, broken, fail)
            feed.frames(3)
            bench.feed(start("again " + broken))
    monkeypatch.setattr("hitfinder.serving.hot_pixels.HotPixels", fail)
    feed.frames(3)
    assert [verdict.outcome for verdict in bench.verdicts()] == [Outcome.KEPT] * 9
    assert value(bench, "hitfinder_hot_pixel_errors_total") == 3
    assert caplog.text.count("hot pixels failed") == 2  # the line, and where
    monkeypatch.undo()
    bench.feed(start("whole"))
    feed.frames(LOOKS_FIRST + 1)
    assert np.isnan(feed.seen[-1])


def test_a_folder_that_takes_no_file_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, found: HotPixelMap) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("hitfinder.serving.hot_pixels.save_hot_pixels", refuse)
    bench = bench_of(tmp_path, "learn")
    Feed(bench).frames(LOOKS_FIRST)
    for _ in range(3):
        mask_of(bench).save(now=True)
    assert value(bench, "hitfinder_hot_pixel_errors_total") == 3
    monkeypatch.undo()
    mask_of(bench).save(now=True)
    assert load_hot_pixels(bench.hot_pixel_path).places.tolist() == [HOT_FLAT]
    assert kinds(bench) == ["hot pixels", "hot pixels not saved"]


def test_too_many_are_told_once_and_none_is_masked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = bench_of(tmp_path, "mask")
    feed = Feed(bench, *((row, col) for row in range(2, 28, 6) for col in range(2, 38, 6)))
    feed.frames(LOOKS_FIRST + 20)
    assert feed.seen == [500.0] * (LOOKS_FIRST + 20)
    assert caplog.text.count("30 pixels stand out in most frames, more than 1%") == 1
    assert value(bench, "hitfinder_hot_pixels") == 0
    mask_of(bench).save(now=True)
    assert not bench.hot_pixel_path.exists()


def test_the_file_is_in_the_frames_own_shape_whatever_the_region(tmp_path: Path) -> None:
    payload_shape = (2, 30, 40)

    def plan(shape: tuple[int, ...], detector: Detector) -> RegionReader:
        left = 2 if detector.beam_x_px is None else 4
        settings = RegionSettings(kind="box", top=47, left=left, rows=20, cols=20)
        return plan_region(settings, shape, detector, None)

    bench = bench_of(tmp_path, "mask", plan=plan)
    beyond = HotPixelMap(
        payload_shape=payload_shape, places=np.array([7]), shares=np.ones(1, np.float32)
    )
    save_hot_pixels(bench.hot_pixel_path, beyond)
    mask_of(bench).load()
    seen: list[NDArray[np.float32]] = []
    score = bench.model.score

    def remember(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        seen.append(batch[0].copy())
        return score(batch)

    bench.model.score = remember  # type: ignore[method-assign]

    def feed(numbers: range) -> None:
        for number in numbers:
            pixels = np.random.default_rng(number).poisson(2.0, payload_shape).astype(np.uint16)
            pixels[1, 12, 10] = 500
            bench.feed(frame(number, payload=array_payload(pixels)))
            bench.run()
            bench.clock.pass_ms(LOOK_EACH_NS / 1e6)

    feed(range(LOOKS_FIRST + 1))
    # The second module begins 30 + 15 rows down, the region at row 47 and column 2.
    assert np.argwhere(np.isnan(seen[-1])).tolist() == [[10, 8]]
    mask_of(bench).save(now=True)
    found = load_hot_pixels(bench.hot_pixel_path)
    assert found.payload_shape == payload_shape
    assert found.places.tolist() == [7, np.ravel_multi_index((1, 12, 10), payload_shape)]
    # A beam that has moved takes the region along, and what is known stays with its pixels.
    bench.feed(replace(start("2"), detector=Detector(beam_x_px=14.0)))
    feed(range(LOOKS_FIRST + 1, LOOKS_FIRST + 3))
    assert np.argwhere(np.isnan(seen[-1])).tolist() == [[10, 6]]
