"""Messages through ingest, judge and publish, stepped by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hitfinder.errors import BadMessageError, LedgerError, PayloadError
from hitfinder.frame import Detector, Passed, Payload, SeriesStarted, array_payload
from hitfinder.images.reader import RegionReader
from hitfinder.images.region import RegionSettings, plan_region
from hitfinder.ledger.report import read_report
from hitfinder.serving.publish import share_of
from hitfinder.testing.fakes import FakeReader, whole_frame
from hitfinder.transport.outlet import Offered
from hitfinder.verdict import Outcome, Reason
from hitfinder.wire.compression import broken_payload
from tests.serving.bench import DEADLINE_MS, HIT, MISS, Bench, end, fates, frame, start


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def undecodable() -> Payload:
    def decode(payload: Payload, cuts: Any) -> Any:
        raise PayloadError("made to be broken")

    return Payload(data=b"", dtype=np.dtype(np.uint16), shape=(4, 4), decode=decode)


def test_hits_are_kept_and_misses_vetoed_verbatim_with_start_and_end(bench: Bench) -> None:
    hit, miss = frame(0, HIT), frame(1, MISS)
    bench.feed(start(), hit, miss, end())
    bench.run()
    assert fates(bench) == [Outcome.KEPT, Outcome.VETOED]
    assert bench.kept.taken == [start().parts, hit.parts, end().parts]
    assert bench.vetoed.taken == [start().parts, miss.parts, end().parts]
    first, second = bench.verdicts()
    assert (first.sequence, first.series, first.frame, first.model) == (1, "1", 0, "fake")
    assert first.score == pytest.approx(0.9)
    assert (second.sequence, second.threshold) == (2, 0.5)


def test_frames_leave_in_order_of_arrival_however_they_were_settled(tmp_path: Path) -> None:
    bench = Bench(tmp_path, judge_bytes=250)
    bench.feed(start(), *(frame(number, MISS if number % 2 else HIT) for number in range(6)))
    # The judge's queue holds two frames; the others are settled at once, and wait for them.
    bench.publish_all()
    assert bench.verdicts() == []
    bench.run()
    assert [verdict.frame for verdict in bench.verdicts()] == list(range(6))
    assert fates(bench) == [Outcome.KEPT, Outcome.VETOED, *[Reason.OVERLOAD] * 4]
    assert len(bench.kept.taken) == 1 + 5


def test_a_frame_past_its_deadline_goes_on_without_the_model(bench: Bench) -> None:
    bench.feed(frame(0, MISS))
    bench.clock.pass_ms(DEADLINE_MS / 2)
    assert not bench.publish.step()
    bench.clock.pass_ms(DEADLINE_MS)
    assert bench.publish.step()
    assert fates(bench) == [Reason.DEADLINE]
    assert bench.kept.taken == [frame(0).parts]
    bench.settle()
    assert bench.model.batches == []
    assert bench.line.counts().unjudged == {Reason.DEADLINE: 1}


def test_the_judge_does_not_score_what_is_past_its_deadline(bench: Bench) -> None:
    bench.feed(frame(0, MISS))
    bench.clock.pass_ms(DEADLINE_MS + 1)
    bench.run()
    assert fates(bench) == [Reason.DEADLINE]
    assert bench.model.batches == []


def test_a_crowded_line_does_not_wait_for_the_model(tmp_path: Path) -> None:
    bench = Bench(tmp_path, max_bytes=350, judge_bytes=350)
    bench.feed(frame(0), frame(1), frame(2))
    bench.publish_all()
    assert fates(bench) == [Reason.OVERLOAD]
    bench.run()
    assert fates(bench) == [Reason.OVERLOAD, Outcome.KEPT, Outcome.KEPT]


def test_pixels_that_cannot_be_decoded_go_on_unjudged_beside_good_ones(bench: Bench) -> None:
    bench.feed(frame(0, HIT), frame(1, payload=undecodable()), frame(2, MISS))
    bench.run()
    assert fates(bench) == [Outcome.KEPT, Reason.DECODE, Outcome.VETOED]
    assert len(bench.kept.taken) == 2


def test_a_frame_without_pixels_is_told_why_and_nobody_gets_ready_for_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[tuple[int, ...]] = []

    def plan(payload_shape: tuple[int, ...], detector: Detector) -> FakeReader:
        asked.append(payload_shape)
        return whole_frame(payload_shape, detector)

    bench = Bench(tmp_path, plan=plan)
    broken = broken_payload("channel 'a' is not in the image; it has default")
    bench.feed(frame(0), frame(1, payload=broken), frame(2))
    bench.run()
    assert fates(bench) == [Outcome.KEPT, Reason.DECODE, Outcome.KEPT]
    assert bench.kept.taken == [frame(number).parts for number in range(3)]
    assert "series 1 frame 1 goes on unjudged: channel 'a' is not in the image" in caplog.text
    assert asked == [(4, 4)]


def test_a_broken_model_lets_frames_on_and_is_told_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.model.broken = True
    for number in range(3):
        bench.feed(frame(number, MISS))
        bench.run()
    bench.model.broken = False
    bench.feed(frame(3, MISS))
    bench.run()
    assert fates(bench) == [*[Reason.MODEL] * 3, Outcome.VETOED]
    assert len(bench.kept.taken) == 3
    assert caplog.text.count("the fake model is broken") == 1
    assert "the model scores again" in caplog.text


def test_a_score_that_is_no_number_goes_on_unjudged(bench: Bench) -> None:
    pixels = np.ones((4, 4), np.float32)
    pixels[0, 0] = np.nan
    bench.feed(frame(0, payload=frame(0).payload), frame(1, payload=array_payload(pixels)))
    bench.run()
    assert fates(bench) == [Outcome.KEPT, Reason.MODEL]


def test_a_frame_of_which_hardly_anything_was_measured_is_not_called_a_miss(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    blank = np.full((40, 40), np.nan, np.float32)
    few, enough = blank.copy(), blank.copy()
    few[0, :40] = few[1, :39] = 0.0
    enough[5:7] = enough[0, 0] = 0.0  # 81 of 1600 pixels
    frames = (
        frame(number, payload=array_payload(each))
        for number, each in enumerate((blank, few, enough))
    )
    bench.feed(*frames)
    bench.run()
    assert fates(bench) == [Reason.DECODE, Reason.DECODE, Outcome.VETOED]
    assert "no pixel of the region was measured" in caplog.text


def test_a_region_of_which_little_is_measured_is_told_once_for_each_detector(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def plan(payload_shape: tuple[int, ...], detector: Detector) -> RegionReader:
        return plan_region(RegionSettings(kind="whole"), payload_shape, detector, None)

    bench = Bench(tmp_path, plan=plan)
    masked = np.ones((4, 4), np.bool_)
    masked[1] = False
    one, other = (
        SeriesStarted(series="1", detector=Detector(shape=(4, 4), mask=mask), parts=(name,))
        for name, mask in ((b"one", masked), (b"other", ~masked))
    )
    bench.feed(one, frame(0), one, frame(1), other, frame(2), one, frame(3))
    bench.run()
    told = "little measured: only 25.0% of the region's pixels are measured; are mask"
    assert caplog.text.count(told) == 2
    assert len(bench.verdicts()) == 4


def test_a_bad_message_is_counted_passed_on_and_the_next_is_judged(bench: Bench) -> None:
    broken = Passed(kind="broken", parts=(b"rubbish", b"more"))
    bench.feed(broken, frame(0))
    bench.run()
    assert fates(bench) == [Outcome.KEPT]
    assert bench.kept.taken == [broken.parts, frame(0).parts]
    assert bench.publish.totals().bad_messages == 1


def test_a_message_that_the_socket_refused_is_counted(bench: Bench) -> None:
    bench.source.messages.append(BadMessageError("size", "too large"))
    assert bench.ingest.step(0)
    assert bench.publish.totals().bad_messages == 1
    assert len(bench.line) == 0


def test_unknown_messages_keep_their_place_in_every_stream(bench: Bench) -> None:
    calibration = Passed(kind="calibration", parts=(b"calibration",))
    bench.feed(start(), calibration, frame(0, MISS))
    bench.run()
    assert bench.kept.taken == [start().parts, calibration.parts]
    assert bench.vetoed.taken == [start().parts, calibration.parts, frame(0).parts]


def test_under_backpressure_a_message_waits_and_nothing_is_lost(bench: Bench) -> None:
    bench.kept.answer = Offered.STALLED
    bench.feed(frame(0), frame(1))
    bench.settle()
    for _ in range(5):
        assert not bench.publish.step()
    assert [verdict.frame for verdict in bench.verdicts()] == [0]
    bench.kept.answer = Offered.SENT
    bench.publish_all()
    assert bench.kept.taken == [frame(0).parts, frame(1).parts]
    assert [verdict.frame for verdict in bench.verdicts()] == [0, 1]


def test_a_full_line_holds_the_sender_up(tmp_path: Path) -> None:
    bench = Bench(tmp_path, max_bytes=300, judge_bytes=350)
    bench.kept.answer = Offered.STALLED
    bench.feed(frame(0), frame(1), frame(2))
    bench.settle()
    bench.publish_all()
    bench.decoder.events[b"frame 1/3"] = frame(3)
    bench.source.messages.append(frame(3).parts)
    assert not bench.ingest.step(0)
    assert len(bench.source.messages) == 1
    bench.kept.answer = Offered.SENT
    bench.publish_all()
    bench.clock.pass_ms(10 * DEADLINE_MS)
    assert bench.ingest.step(0)
    bench.run()
    assert [verdict.frame for verdict in bench.verdicts()] == [0, 1, 2, 3]
    # Its time began when it was taken in, not while the sender held it.
    assert fates(bench) == [Outcome.KEPT] * 4


@pytest.mark.parametrize("answer", [Offered.DROPPED, Offered.SPILLED])
def test_what_is_not_sent_is_counted_and_told_once(
    bench: Bench, answer: Offered, caplog: pytest.LogCaptureFixture
) -> None:
    bench.kept.answer = answer
    bench.feed(start(), frame(0), frame(1))
    bench.run()
    totals = bench.publish.totals()
    dropped, spilled = 2 * (answer is Offered.DROPPED), 2 * (answer is Offered.SPILLED)
    assert (totals.forwarded, totals.dropped, totals.spilled) == (0, dropped, spilled)
    assert "nobody takes" not in caplog.text
    bench.clock.pass_ms(1500)
    bench.feed(frame(2), frame(3))
    bench.run()
    assert caplog.text.count("nobody takes kept frames") == 1
    bench.kept.answer = Offered.SENT
    bench.feed(frame(4))
    bench.run()
    assert "kept frames are taken again" in caplog.text
    assert bench.publish.totals().forwarded == 1


def test_a_share_of_vetoed_frames_is_the_same_in_every_replay(tmp_path: Path) -> None:
    bench = Bench(tmp_path, vetoed_share=0.25, batch_size=32, max_bytes=10**6, judge_bytes=10**6)
    bench.feed(*(frame(number, MISS) for number in range(200)))
    bench.run()
    chosen = [number for number in range(200) if share_of("1", number) < 0.25]
    assert bench.vetoed.taken == [frame(number).parts for number in chosen]
    assert 25 < len(chosen) < 75


def test_without_outputs_frames_are_judged_and_recorded(tmp_path: Path) -> None:
    bench = Bench(tmp_path, streams=())
    bench.feed(start(), frame(0), end())
    bench.run()
    assert fates(bench) == [Outcome.KEPT]


def test_a_heartbeat_each_second_carries_totals_that_balance(bench: Bench) -> None:
    bench.feed(start(announced=6), frame(0), frame(2, MISS), frame(2, MISS), frame(4))
    bench.publish.step()
    bench.clock.pass_ms(1000)
    bench.publish.step()
    bench.run()
    bench.clock.pass_ms(1000)
    bench.publish.step()
    first, second, last = bench.beats()
    assert second.totals.received == second.totals.in_flight + second.totals.unjudged["deadline"]
    assert last.sequence == 4
    assert (last.totals.received, last.totals.in_flight) == (4, 0)
    assert (last.totals.lost, last.totals.duplicates) == (2, 1)
    assert first.time_unix > 0


def test_the_ledger_has_what_the_verdicts_said(bench: Bench) -> None:
    bench.feed(start(announced=4), frame(0), frame(1, MISS), frame(3), end())
    bench.run()
    bench.publish.finish()
    (series,) = read_report(bench.ledger_path).series
    assert (series.kept, series.vetoed, series.lost, series.ended) == (2, 1, 1, "end")
    assert series.balances
    (event,) = read_report(bench.ledger_path).events
    assert event.kind == "frames lost"
    assert "1 of 4 frames never came" in event.text


def test_every_event_type_has_a_way_through(bench: Bench) -> None:
    odd = Passed(kind="metadata", parts=(b"odd",))
    bench.feed(start(), odd, frame(0), end())
    bench.run()
    assert len(bench.line) == 0


def test_a_model_out_of_memory_lets_frames_on(bench: Bench) -> None:
    def greedy(batch: Any) -> Any:
        raise MemoryError

    bench.model.score = greedy  # type: ignore[method-assign]
    bench.feed(frame(0))
    bench.run()
    assert fates(bench) == [Reason.MODEL]


def test_overdue_frames_go_on_without_a_pause_each(bench: Bench) -> None:
    bench.feed(*(frame(number) for number in range(20)))
    bench.clock.pass_ms(2 * DEADLINE_MS)
    assert bench.publish._patience_s() == 0.0
    bench.publish_all()
    assert fates(bench) == [Reason.DEADLINE] * 20


def test_a_ledger_that_takes_no_writes_is_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(now_ns: int) -> None:
        raise LedgerError("the disk is full")

    monkeypatch.setattr(bench.ledger, "flush", refuse)
    bench.publish.step()
    assert bench.publish.problems() == []
    bench.clock.pass_ms(11_000)
    assert bench.publish.problems() == ["the ledger has taken no writes for 11 s"]
    monkeypatch.undo()
    bench.publish.step()
    assert bench.publish.problems() == []


def test_after_a_slow_batch_frames_are_judged_again(bench: Bench) -> None:
    score = bench.model.score

    def slowly(batch: Any) -> Any:
        bench.clock.pass_ms(20 * DEADLINE_MS)
        return score(batch)

    bench.model.score = slowly  # type: ignore[method-assign]
    bench.feed(frame(0))
    bench.run()
    bench.model.score = score  # type: ignore[method-assign]
    for number in range(1, 100):
        bench.feed(frame(number))
        bench.run()
    assert fates(bench)[-20:] == [Outcome.KEPT] * 20


def test_what_waits_on_disk_is_sent_while_nothing_comes(bench: Bench) -> None:
    bench.publish.step()
    bench.kept.waiting = 3
    assert [bench.publish.step() for _ in range(4)] == [True, True, True, False]


def test_an_output_flows_again_once_all_on_disk_is_sent_though_nothing_comes(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.kept.answer = Offered.SPILLED
    for number in range(2):
        bench.feed(frame(number))
        bench.run()
        bench.clock.pass_ms(1500)
    bench.feed(frame(2))
    bench.run()
    assert "nobody takes kept frames" in caplog.text
    bench.kept.waiting, bench.kept.waiting_bytes = 2, 100
    assert bench.publish.step()
    assert "kept frames are taken again" not in caplog.text
    bench.kept.waiting_bytes = 0
    assert bench.publish.step()
    assert "kept frames are taken again" in caplog.text
