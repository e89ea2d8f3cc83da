"""The second step: what a hit's verdict says of it, what it may delay, and who gives way first."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitfinder.cascade import PolicySettings, outcome_of_hit
from hitfinder.errors import ConfigError, HitfinderError
from hitfinder.frame import Detector, Frame, SeriesStarted, array_payload
from hitfinder.ledger.report import read_frames, read_report
from hitfinder.serving.diffuse import YIELD_AT
from hitfinder.serving.scorer import AGAIN_NS
from hitfinder.testing.fakes import FakeReader
from hitfinder.verdict import Diffuse, Outcome, Reason
from tests.serving.bench import DEADLINE_MS, DIFFUSE_MS, MISS, OPEN, Bench, end, frame, hit, start

KEEP_ALL = PolicySettings()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, policy=KEEP_ALL)


def findings(bench: Bench) -> list[Diffuse | Reason | None]:
    return [verdict.diffuse_reason or verdict.diffuse for verdict in bench.verdicts()]


def outcomes(bench: Bench) -> list[Outcome]:
    return [verdict.outcome for verdict in bench.verdicts()]


def balanced(bench: Bench) -> bool:
    counts = bench.line.counts()
    settled = counts.kept + counts.vetoed + sum(counts.unjudged.values())
    return counts.received == settled + counts.in_flight


def test_only_hits_are_asked_and_their_verdicts_say_what_was_found(bench: Bench) -> None:
    bench.feed(start(), hit(0, 80), frame(1, MISS), hit(2, 20), end())
    bench.run()
    assert outcomes(bench) == [Outcome.KEPT, Outcome.VETOED, Outcome.KEPT]
    assert findings(bench) == [Diffuse.YES, None, Diffuse.NO]
    first, miss, _ = bench.verdicts()
    assert first.score == pytest.approx(0.9)
    assert first.diffuse_score == pytest.approx(0.8)
    assert (first.diffuse_model, first.diffuse_threshold) == ("fake diffuse", 0.5)
    assert miss.diffuse_score is None
    assert bench.diffuse_model.batches == [(1, 4, 4)] * 2


def test_without_a_second_step_verdicts_say_nothing_of_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.feed(hit(0, 80))
    bench.run()
    assert findings(bench) == [None]
    assert bench.line.counts().diffuse.offered == 0


def test_diffuse_frames_go_to_their_own_output_too_with_start_and_end(bench: Bench) -> None:
    diffuse, other = hit(0, 80), hit(1, 20)
    bench.feed(start(), diffuse, other, frame(2, MISS), end())
    bench.run()
    assert bench.diffuse_frames.taken == [start().parts, diffuse.parts, end().parts]
    assert bench.kept.taken == [start().parts, diffuse.parts, other.parts, end().parts]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({}, ["kept", "kept", "kept"]),
        ({"diffuse": "veto"}, ["vetoed", "kept", "kept"]),
        ({"not_diffuse": "veto"}, ["kept", "vetoed", "kept"]),
    ],
)
def test_the_policy_vetoes_what_is_known_and_nothing_else(
    tmp_path: Path, policy: dict[str, Any], expected: list[str]
) -> None:
    bench = Bench(tmp_path, policy=PolicySettings(**policy))
    nothing = np.full((4, 4), 90.0, np.float32)
    nothing[0, 1] = np.nan
    unknown = Frame(series="1", number=2, payload=array_payload(nothing), parts=(b"unknown",))
    bench.feed(hit(0, 80), hit(1, 20), unknown)
    bench.run()
    assert outcomes(bench) == expected
    assert findings(bench) == [Diffuse.YES, Diffuse.NO, Reason.MODEL]
    # A diffuse frame goes to its own output whatever the policy says.
    assert bench.diffuse_frames.taken == [hit(0, 80).parts]
    assert len(bench.vetoed.taken) == expected.count("vetoed")
    assert balanced(bench)


def test_a_vetoed_diffuse_frame_that_the_share_leaves_out_goes_to_its_own_output(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, policy=PolicySettings(diffuse="veto"), vetoed_share=1e-12)
    bench.feed(hit(0, 80))
    bench.run()
    assert (bench.vetoed.taken, bench.diffuse_frames.taken) == ([], [hit(0, 80).parts])


@pytest.mark.parametrize("policy", [{"diffuse": "veto"}, {"not_diffuse": "veto"}])
def test_no_policy_vetoes_what_was_not_judged(policy: dict[str, Any]) -> None:
    assert outcome_of_hit(Diffuse.UNJUDGED, PolicySettings(**policy)) is Outcome.KEPT


def test_a_policy_that_would_keep_no_judged_hit_is_refused() -> None:
    with pytest.raises(ValueError, match="no judged hit would be kept"):
        PolicySettings(diffuse="veto", not_diffuse="veto")


def test_a_second_model_that_went_on_on_another_device_is_measured_anew(bench: Bench) -> None:
    bench.feed(hit(0, 80))
    bench.run()
    before = len(bench.diffuse_model.warmed)
    bench.diffuse_model.moves += 1
    bench.feed(hit(1, 80), hit(2, 20))
    bench.run()
    assert len(bench.diffuse_model.warmed) == 2 * before
    assert findings(bench) == [Diffuse.YES, Diffuse.YES, Diffuse.NO]


def test_a_hit_waits_for_the_second_step_no_longer_than_it_may(bench: Bench) -> None:
    bench.feed(hit(0, 80), frame(1, MISS))
    bench.settle()
    assert not bench.publish.step()
    bench.clock.pass_ms(DIFFUSE_MS - 1)
    assert not bench.publish.step()
    bench.clock.pass_ms(1.1)
    bench.publish_all()
    assert outcomes(bench) == [Outcome.KEPT, Outcome.VETOED]
    assert findings(bench) == [Reason.DEADLINE, None]
    assert bench.kept.taken == [hit(0, 80).parts]
    # What comes too late is not scored, and changes nothing.
    bench.second_step()
    assert bench.diffuse_model.batches == []
    counts = bench.line.counts().diffuse
    assert (counts.offered, counts.unjudged, counts.waiting) == (1, {Reason.DEADLINE: 1}, 0)


def test_the_hit_models_own_deadline_is_not_the_seconds(bench: Bench) -> None:
    """A hit found at the last moment is a hit, however long ago it came."""
    bench.feed(hit(0, 80))
    bench.clock.pass_ms(DEADLINE_MS - 1)
    bench.settle()
    assert not bench.publish.step()
    bench.run()
    assert findings(bench) == [Diffuse.YES]


def test_a_hit_that_went_on_is_not_scored_any_more(tmp_path: Path) -> None:
    bench = Bench(tmp_path, policy=KEEP_ALL, max_bytes=200, judge_bytes=10_000)
    bench.feed(hit(0, 80))
    bench.settle()
    bench.publish_all()  # the line is half full
    assert findings(bench) == [Reason.OVERLOAD]
    bench.second_step()
    assert bench.diffuse_model.batches == []


def test_a_hit_that_cannot_be_judged_in_time_is_not_waited_for(bench: Bench) -> None:
    assert bench.diffuse is not None
    bench.diffuse.warm(4, 4)
    bench.feed(hit(0, 80))
    bench.settle()
    bench.diffuse_backlog.cost_ns = cost_ns = DIFFUSE_MS * 1e6
    bench.clock.pass_ms(1)
    bench.second_step()
    bench.publish_all()
    assert findings(bench) == [Reason.DEADLINE]
    assert bench.diffuse_model.batches == []
    # Nothing else would ever tell that it is quicker than thought.
    assert bench.diffuse_backlog.cost_ns < cost_ns


def test_a_cost_that_was_told_on_a_busy_machine_does_not_keep_few_hits_out_for_long(
    bench: Bench,
) -> None:
    assert bench.diffuse is not None
    bench.diffuse.warm(4, 4)
    bench.diffuse_backlog.cost_ns = 6 * DIFFUSE_MS * 1e6
    for number in range(30):
        bench.feed(hit(number, 80))
        bench.run()
    assert findings(bench)[0] is Reason.DEADLINE
    assert findings(bench)[20:] == [Diffuse.YES] * 10


def test_a_score_that_comes_too_late_changes_nothing(bench: Bench) -> None:
    score = bench.diffuse_model.score

    def slowly(batch: Any) -> Any:
        bench.clock.pass_ms(DIFFUSE_MS + 1)
        bench.publish_all()
        return score(batch)

    bench.diffuse_model.score = slowly  # type: ignore[method-assign]
    bench.feed(hit(0, 80))
    bench.run()
    assert findings(bench) == [Reason.DEADLINE]
    assert bench.metrics.registry.get_sample_value("hitfinder_diffuse_score_count") == 0
    assert bench.diffuse_frames.taken == []


def test_publish_waits_for_the_front_only_as_long_as_it_may(bench: Bench) -> None:
    bench.feed(hit(0, 80))
    bench.settle()
    bench.clock.pass_ms(DIFFUSE_MS - 5)
    assert bench.publish._patience_s() == pytest.approx(0.005)
    bench.clock.pass_ms(10)
    assert bench.publish._patience_s() == 0.0


def test_misses_behind_a_judged_hit_wait_for_nothing(bench: Bench) -> None:
    bench.feed(frame(0, MISS), hit(1, 80), frame(2, MISS))
    bench.settle()
    bench.publish_all()
    # The miss before it has gone; the one behind keeps its place.
    assert outcomes(bench) == [Outcome.VETOED]
    bench.second_step()
    bench.publish_all()
    assert outcomes(bench) == [Outcome.VETOED, Outcome.KEPT, Outcome.VETOED]


@pytest.mark.parametrize("how", ["raises", "no number", "out of memory", "unreadable"])
def test_a_second_model_that_fails_costs_no_frame_and_no_hit(
    bench: Bench, how: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_number(batch: Any) -> Any:
        return np.full(len(batch), np.inf, np.float32)

    def greedy(batch: Any) -> Any:
        raise MemoryError

    if how == "raises":
        bench.diffuse_model.broken = True
    elif how == "no number":
        monkeypatch.setattr(bench.diffuse_model, "score", no_number)
    elif how == "out of memory":
        monkeypatch.setattr(bench.diffuse_model, "score", greedy)
    else:
        assert bench.diffuse is not None
        monkeypatch.setattr(bench.diffuse._scorer, "read", lambda *_: False)
    bench.feed(*(hit(number, 80) for number in range(3)), frame(3, MISS))
    bench.run()
    assert outcomes(bench) == [*[Outcome.KEPT] * 3, Outcome.VETOED]
    expected = Reason.DECODE if how == "unreadable" else Reason.MODEL
    assert findings(bench) == [*[expected] * 3, None]
    assert all(verdict.score is not None for verdict in bench.verdicts())
    assert len(bench.kept.taken) == 3
    assert caplog.text.count("diffuse model failed") == (how in ("raises", "out of memory"))
    monkeypatch.undo()
    bench.diffuse_model.broken = False
    bench.feed(hit(4, 80))
    bench.run()
    assert findings(bench)[-1] is Diffuse.YES


def test_a_model_that_hangs_holds_the_line_up_once(bench: Bench) -> None:
    score = bench.diffuse_model.score

    def hang(batch: Any) -> Any:
        """While it hangs, the others go on."""
        bench.clock.pass_ms(DIFFUSE_MS + 1)
        bench.publish_all()
        bench.feed(*(hit(number, 80) for number in range(1, 5)))
        bench.settle()
        bench.publish_all()
        return score(batch)

    bench.diffuse_model.score = hang  # type: ignore[method-assign]
    bench.feed(hit(0, 80))
    bench.run()
    # The first waited; those that came while it hung were let go at once.
    assert findings(bench) == [Reason.DEADLINE] * 5
    assert max(verdict.latency_ms for verdict in bench.verdicts()[1:]) <= 2.0
    bench.diffuse_model.score = score  # type: ignore[method-assign]
    for number in range(5, 50):
        bench.feed(hit(number, 80))
        bench.run()
    assert findings(bench)[-20:] == [Diffuse.YES] * 20
    assert outcomes(bench) == [Outcome.KEPT] * 50


def test_frames_that_no_second_region_fits_are_hits_all_the_same(tmp_path: Path) -> None:
    asked: list[tuple[int, ...]] = []

    def plan(payload_shape: tuple[int, ...], detector: Detector) -> FakeReader:
        asked.append(payload_shape)
        if len(asked) % 2 == 0:  # the second of each two to ask is the second step
            raise ConfigError("the region lies outside the frame")
        return FakeReader((payload_shape[0], payload_shape[1]))

    bench = Bench(tmp_path, policy=KEEP_ALL, plan=plan)
    bench.feed(hit(0, 80), hit(1, 80))
    bench.run()
    assert outcomes(bench) == [Outcome.KEPT] * 2
    assert findings(bench) == [Reason.DECODE] * 2


def test_a_second_step_that_could_not_get_ready_tries_again(bench: Bench) -> None:
    """A GPU whose memory is full for a moment; no series starts, as with array-1.0."""

    def full(shapes: list[tuple[int, int, int]]) -> None:
        raise HitfinderError("out of memory")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench.diffuse_model, "warm", full)
        bench.feed(hit(0, 80), hit(1, 80))
        bench.run()
    bench.feed(hit(2, 80))
    bench.run()
    bench.clock.now_ns += AGAIN_NS
    bench.feed(hit(3, 80))
    bench.run()
    assert findings(bench) == [*[Reason.DECODE] * 3, Diffuse.YES]
    assert outcomes(bench) == [Outcome.KEPT] * 4


def test_a_series_tells_both_steps_its_detector_in_order(tmp_path: Path) -> None:
    seen: list[float | None] = []

    def plan(payload_shape: tuple[int, ...], detector: Detector) -> FakeReader:
        seen.append(detector.saturation)
        return FakeReader((payload_shape[0], payload_shape[1]))

    bench = Bench(tmp_path, policy=KEEP_ALL, plan=plan)
    for number, saturation in enumerate((1.0, 2.0)):
        begins = SeriesStarted(
            series="1", detector=Detector(saturation=saturation), parts=(f"s{number}".encode(),)
        )
        bench.feed(begins, hit(number, 80))
    bench.run()
    assert seen == [1.0, 2.0, 1.0, 2.0]
    assert findings(bench) == [Diffuse.YES] * 2


def test_the_second_step_takes_only_what_it_can_judge_in_time(bench: Bench) -> None:
    bench.diffuse_backlog.cost_ns = DIFFUSE_MS * 1e6 / 10
    bench.feed(*(hit(number, 80) for number in range(8)))
    bench.run()
    # Five can be judged in half the deadline.
    assert findings(bench) == [*[Diffuse.YES] * 5, *[Reason.OVERLOAD] * 3]
    assert outcomes(bench) == [Outcome.KEPT] * 8


def test_its_queue_is_bounded_in_bytes(tmp_path: Path) -> None:
    bench = Bench(tmp_path, policy=KEEP_ALL, diffuse_bytes=250)
    bench.feed(*(hit(number, 80) for number in range(4)))
    bench.run()
    assert findings(bench) == [*[Diffuse.YES] * 2, *[Reason.OVERLOAD] * 2]


def test_under_overload_the_second_step_gives_way_before_the_first_loses_a_frame(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, policy=KEEP_ALL, batch_size=1, max_bytes=10**6, judge_bytes=2_000)
    bench.feed(hit(0, 80))
    bench.settle()
    # One hit waits for the second step when the flood comes.
    bench.feed(*(hit(number, 80) for number in range(1, 11)))
    assert bench.backlog.load >= YIELD_AT
    bench.second_step()
    bench.run()
    assert outcomes(bench) == [Outcome.KEPT] * 11
    assert bench.line.counts().unjudged == {}
    # What waited and what was found meanwhile is given up; the last are judged by both again.
    assert findings(bench)[0] is Reason.OVERLOAD
    assert findings(bench)[1:6] == [Reason.OVERLOAD] * 5
    assert findings(bench)[-2:] == [Diffuse.YES] * 2


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from(["hit", "miss", "judge", "second", "publish", "wait"]), max_size=120)
)
def test_however_it_runs_the_second_step_loses_first_and_everything_balances(
    tmp_path_factory: pytest.TempPathFactory, actions: list[str]
) -> None:
    bench = Bench(
        tmp_path_factory.mktemp("bench"),
        policy=PolicySettings(not_diffuse="veto"),
        batch_size=1,
        max_bytes=2_500,
        judge_bytes=1_000,
    )
    assert bench.diffuse is not None
    number = 0
    for action in actions:
        refused = bench.line.counts().unjudged.get(Reason.OVERLOAD, 0)
        scored = len(bench.diffuse_model.batches)
        loaded = bench.backlog.load >= YIELD_AT
        if action in ("hit", "miss") and bench.line.wait_for_room(0):
            bench.feed(hit(number, 80 * (number % 2)) if action == "hit" else frame(number, MISS))
            number += 1
        elif action == "judge" and len(bench.backlog):
            bench.judge.step()
        elif action == "second" and len(bench.diffuse_backlog):
            bench.diffuse.step()
        elif action == "publish":
            bench.publish.step()
        elif action == "wait":
            bench.clock.pass_ms(7)
        if bench.line.counts().unjudged.get(Reason.OVERLOAD, 0) > refused and action != "publish":
            # The hit model lost a frame: the second step had given way already.
            assert loaded
        if loaded:
            assert len(bench.diffuse_model.batches) == scored
        assert balanced(bench)
        assert bench.line.counts().diffuse.waiting >= 0
    bench.run()
    totals = bench.publish.totals()
    asked = totals.diffuse + totals.not_diffuse + sum(totals.diffuse_unjudged.values())
    assert bench.line.counts().diffuse.offered == asked
    assert totals.received == totals.kept + totals.vetoed + sum(totals.unjudged.values()) == number
    assert [verdict.frame for verdict in bench.verdicts()] == list(range(number))
    # "I don't know" is never a veto: a vetoed frame has a score that says so.
    for verdict in bench.verdicts():
        if verdict.outcome is Outcome.VETOED and verdict.diffuse is not Diffuse.NO:
            assert verdict.score is not None
            assert verdict.score < 0.5
    OPEN.remove(bench)
    bench.let_die()


def test_a_line_half_full_waits_for_the_first_step_only(tmp_path: Path) -> None:
    bench = Bench(tmp_path, policy=KEEP_ALL, max_bytes=1_000, judge_bytes=100_000)
    bench.feed(hit(0, 80), hit(1, 80))
    bench.settle()
    bench.feed(frame(2), frame(3))
    assert not bench.publish.step()
    bench.feed(frame(4))
    # Half full: the front goes on without its second score, and that is room enough for the next.
    bench.publish_all()
    assert findings(bench) == [Reason.OVERLOAD]
    bench.run()
    assert findings(bench) == [Reason.OVERLOAD, *[Diffuse.YES] * 4]
    assert bench.line.counts().unjudged == {}


def test_the_ledger_and_the_totals_say_what_the_verdicts_said(bench: Bench) -> None:
    bench.diffuse_backlog.cost_ns = DIFFUSE_MS * 1e6 / 6
    bench.feed(start(announced=4), hit(0, 80), hit(1, 20), hit(2), frame(3, MISS), end())
    bench.run()
    bench.publish.finish()
    report = read_report(bench.ledger_path)
    (series,) = report.series
    assert (series.kept, series.vetoed, series.diffuse, series.balances) == (3, 1, 1, True)
    assert report.diffuse == {"yes": 1, "no": 1, "overload": 1}
    rows = [row[-3:] for row in read_frames(bench.ledger_path)]
    assert rows == [
        ("yes", None, pytest.approx(0.8)),
        ("no", None, pytest.approx(0.2)),
        ("unjudged", "overload", None),
        (None, None, None),
    ]
    totals = bench.beats()[-1].totals
    assert (totals.diffuse, totals.not_diffuse) == (1, 1)
    assert {r: n for r, n in totals.diffuse_unjudged.items() if n} == {"overload": 1}


def test_the_metrics_tell_the_second_steps_share(bench: Bench) -> None:
    value = bench.metrics.registry.get_sample_value
    bench.feed(hit(0, 80), hit(1, 20), hit(2, 20))
    bench.settle()
    assert value("hitfinder_diffuse_frames_waiting") == 3
    assert value("hitfinder_diffuse_queue_bytes") == 3 * 109
    bench.run()
    assert value("hitfinder_diffuse_frames_offered_total") == 3
    assert value("hitfinder_diffuse_frames_settled_total", {"diffuse": "no"}) == 2
    assert value("hitfinder_diffuse_frames_unjudged_total", {"reason": "overload"}) == 0
    assert value("hitfinder_diffuse_score_bucket", {"le": "0.5"}) == 2
    assert value("hitfinder_diffuse_queue_bytes") == 0
    for stage in ("diffuse_queue", "diffuse_read", "diffuse_score"):
        assert value("hitfinder_stage_seconds_count", {"stage": stage}) == 3
