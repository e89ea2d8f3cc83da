"""The second step in time: what a hit may wait for, and who gives way first."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitfinder.cascade import PolicySettings
from hitfinder.serving.diffuse import YIELD_AT
from hitfinder.verdict import Diffuse, Outcome, Reason
from tests.serving.bench import (
    DEADLINE_MS,
    DIFFUSE_MS,
    MISS,
    OPEN,
    Bench,
    balanced,
    findings,
    frame,
    hit,
    outcomes,
)

KEEP_ALL = PolicySettings()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, policy=KEEP_ALL)


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
