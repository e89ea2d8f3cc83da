"""The line keeps order, a byte bound, and counts that balance at every moment."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitfinder.frame import Detector, Frame, Payload, SeriesEnded, SeriesStarted, array_payload
from hitfinder.serving.backlog import Backlog
from hitfinder.serving.line import Hit, InFlight, Line, LineCounts, Mark
from hitfinder.verdict import Diffuse, DiffuseFinding, Outcome, Reason, Verdict

PIXELS: Payload = array_payload(np.zeros((2, 2), np.uint16))


def in_flight(number: int, size: int = 10) -> InFlight:
    return InFlight(Frame(series="1", number=number, payload=PIXELS, parts=(bytes(size),)))


def verdict(number: int, outcome: Outcome = Outcome.KEPT, reason: Reason | None = None) -> Verdict:
    return Verdict(series="1", number=number, outcome=outcome, reason=reason)


def balanced(counts: LineCounts) -> bool:
    settled = counts.kept + counts.vetoed + sum(counts.unjudged.values())
    return counts.received == settled + counts.in_flight


def test_the_front_leaves_only_in_order_of_arrival() -> None:
    line = Line(1000)
    first, second = in_flight(0), in_flight(1)
    line.enter(first)
    line.enter(second)
    line.settle(second, verdict(1))
    assert line.front(0) is first
    assert first.verdict is None
    line.settle(first, verdict(0))
    for expected in (first, second):
        assert line.front(0) is expected
        line.leave()
    assert line.front(0) is None


def test_a_full_line_has_no_room_until_its_front_leaves() -> None:
    line = Line(100)
    for number in range(2):
        assert line.wait_for_room(0)
        line.enter(in_flight(number, size=60))
    assert line.crowded
    assert not line.wait_for_room(0)
    line.leave()
    assert line.wait_for_room(0)
    assert not line.crowded
    assert line.counts().bytes == 60


def test_messages_of_no_size_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hitfinder.serving.line.MOST_MESSAGES", 3)
    line = Line(1000)
    for number in range(3):
        assert line.wait_for_room(0)
        line.enter(in_flight(number, size=0))
    assert not line.wait_for_room(0)
    line.leave()
    assert line.wait_for_room(0)


def test_whoever_settles_first_wins() -> None:
    line = Line(100)
    passage = in_flight(0)
    line.enter(passage)
    assert line.settle(passage, verdict(0, Outcome.UNJUDGED, Reason.DEADLINE))
    assert not line.settle(passage, verdict(0))
    assert passage.verdict is not None
    assert passage.verdict.reason is Reason.DEADLINE
    assert line.counts().kept == 0


def test_the_front_is_told_as_soon_as_it_is_settled() -> None:
    line = Line(100)
    passage = in_flight(0)
    line.enter(passage)
    seen: list[bool] = []
    waiter = threading.Thread(target=lambda: seen.append(line.front(30) is passage))
    waiter.start()
    line.settle(passage, verdict(0))
    waiter.join(10)
    assert seen == [True]
    assert passage.verdict is not None


def test_a_hit_is_in_flight_until_its_second_score_and_stays_a_hit_without() -> None:
    line = Line(100)
    first, second = in_flight(0), in_flight(1)
    for passage in (first, second):
        line.enter(passage)
        assert line.found_hit(passage, hit(passage, 5))
    assert balanced(line.counts())
    assert (line.counts().in_flight, line.counts().diffuse.waiting) == (2, 2)
    line.let_go(first, Reason.DEADLINE, 6)
    line.settle(second, judged(1, Diffuse.NO))
    assert first.verdict is not None
    assert (first.verdict.outcome, first.verdict.score) == (Outcome.KEPT, 0.9)
    counts = line.counts()
    assert (counts.kept, counts.unjudged, counts.diffuse.waiting) == (2, {}, 0)
    assert (counts.diffuse.no, counts.diffuse.unjudged) == (1, {Reason.DEADLINE: 1})
    # Too late: it has gone on.
    assert not line.found_hit(first, hit(first, 9))
    assert line.counts().diffuse.offered == 2


def hit(passage: InFlight, until_ns: int) -> Hit:
    return Hit(frame=passage.frame, score=0.9, until_ns=until_ns, detector=Detector())


def judged(number: int, diffuse: Diffuse) -> Verdict:
    found = DiffuseFinding(diffuse=diffuse, score=0.5)
    return Verdict(series="1", number=number, outcome=Outcome.KEPT, score=0.9, diffuse=found)


def test_a_front_that_waits_for_the_second_step_is_told_when_the_line_is_half_full() -> None:
    line = Line(20)
    passage = in_flight(0)
    line.enter(passage)
    line.found_hit(passage, hit(passage, 5))
    assert line.half_full
    assert not line.crowded
    # It would wait 30 s for anything else.
    seen: list[bool] = []
    waiter = threading.Thread(target=lambda: seen.append(line.front(30) is passage), daemon=True)
    waiter.start()
    waiter.join(10)
    assert seen == [True]


@pytest.mark.parametrize(
    ("diffuse", "score", "reason"),
    [
        (Diffuse.YES, None, None),
        (Diffuse.NO, 0.1, Reason.MODEL),
        (Diffuse.UNJUDGED, 0.1, Reason.MODEL),
        (Diffuse.UNJUDGED, None, None),
    ],
)
def test_a_finding_has_a_score_or_a_reason(
    diffuse: Diffuse, score: float | None, reason: Reason | None
) -> None:
    with pytest.raises(ValueError, match=str(diffuse)):
        DiffuseFinding(diffuse=diffuse, score=score, reason=reason)


def test_only_a_hit_has_a_finding() -> None:
    found = DiffuseFinding(diffuse=Diffuse.NO, score=0.1)
    with pytest.raises(ValueError, match="not known to be a hit"):
        Verdict(series="1", number=1, outcome=Outcome.UNJUDGED, reason=Reason.MODEL, diffuse=found)


def test_marks_need_no_verdict_and_are_no_frames() -> None:
    line = Line(100)
    mark = Mark(SeriesEnded(series="1", parts=(b"end",)))
    line.enter(mark)
    assert line.front(30) is mark
    assert line.counts().received == 0


@given(st.lists(st.sampled_from(["enter", "keep", "veto", "shed", "leave"]), max_size=60))
def test_counts_balance_at_every_moment(actions: list[str]) -> None:
    line = Line(100)
    waiting: list[InFlight] = []
    outcomes = {
        "keep": verdict(0),
        "veto": verdict(0, Outcome.VETOED),
        "shed": verdict(0, Outcome.UNJUDGED, Reason.OVERLOAD),
    }
    for number, action in enumerate(actions):
        passage = in_flight(number)
        if action == "enter":
            if line.wait_for_room(0):
                line.enter(passage)
                waiting.append(passage)
        elif action == "leave":
            front = line.front(0)
            if front is not None and front in waiting and front.verdict is not None:
                waiting.remove(front)
                line.leave()
        elif waiting:
            line.settle(waiting[number % len(waiting)], outcomes[action])
        counts = line.counts()
        assert balanced(counts)
        assert counts.bytes == 10 * len(waiting) <= 100


def test_a_backlog_is_bounded_and_forgets_what_went_on_without_it() -> None:
    backlog, line = Backlog(25, 10**9), Line(1000)
    passages = [in_flight(number) for number in range(4)]
    for passage in passages:
        line.enter(passage)
    assert [backlog.put(passage) for passage in passages[:3]] == [True, True, False]
    line.settle(passages[0], verdict(0, Outcome.UNJUDGED, Reason.DEADLINE))
    assert backlog.put(passages[3])
    assert backlog.take(9, 0) == [passages[1], passages[3]]
    assert backlog.bytes == 0


def test_starts_do_not_pile_up_before_a_thread_that_hangs() -> None:
    backlog, line = Backlog(1000, 10**9), Line(1000)
    starts = [Mark(SeriesStarted(series=str(number), parts=(b"start",))) for number in range(3)]
    gone, waiting = in_flight(0), in_flight(1)
    for passage in (gone, waiting):
        line.enter(passage)
    backlog.put(starts[0], always=True)
    backlog.put(gone)
    line.let_go(gone, Reason.DEADLINE, 0)
    backlog.put(starts[1], always=True)
    backlog.put(waiting)
    # The frame that waits is still to be judged with the start before it.
    backlog.put(starts[2], always=True)
    assert backlog.bytes == 20
    assert backlog.take(9, 0) == [starts[1], waiting, starts[2]]


def test_a_full_backlog_still_takes_what_it_must_know() -> None:
    backlog = Backlog(5, 10**9)
    assert backlog.put(in_flight(0))
    assert not backlog.put(in_flight(1))
    assert backlog.put(Mark(SeriesEnded(series="1")), always=True)
    assert len(backlog) == 2


def test_a_backlog_takes_only_what_can_be_judged_in_its_time() -> None:
    backlog = Backlog(10**6, max_wait_ns=100)
    backlog.cost_ns = 30
    assert [backlog.put(in_flight(number)) for number in range(5)] == [True] * 3 + [False] * 2
    # However slow the model: one frame is always tried, or nothing would ever tell it is quicker.
    backlog.take(3, 0)
    backlog.cost_ns = 10_000
    assert backlog.put(in_flight(5))
    assert not backlog.put(in_flight(6))


def test_one_slow_batch_does_not_turn_frames_away_for_long() -> None:
    backlog = Backlog(10**6, max_wait_ns=100)
    backlog.cost_ns = 10
    backlog.told_cost(1000)
    assert backlog.cost_ns == pytest.approx(109)
    for _ in range(4):
        backlog.told_cost(10)
    assert backlog.cost_ns < 20


def test_a_wrong_cost_does_not_last() -> None:
    backlog = Backlog(10**6, max_wait_ns=100)
    backlog.cost_ns = 10**6
    for _ in range(500):
        backlog.doubt_cost()
    assert backlog.cost_ns < 100
