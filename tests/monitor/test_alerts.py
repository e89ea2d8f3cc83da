"""Alerts begin, last and end as they should."""

from collections.abc import Callable

import pytest

from hitfinder.monitor.alerts import CALM_NS, KEPT_NS, MOST, RULES, Alerts, Now
from hitfinder.monitor.board import Board
from hitfinder.verdict import Outcome
from tests.monitor.said import SECOND_NS, beat, verdict

DEADLINE_MS = 100.0


class Shift:
    """A board, its alerts, and a service that says something each second."""

    def __init__(self) -> None:
        self.board = Board(0)
        self.alerts = Alerts()
        self.second = 0
        self.sequence = 0
        self.received = 0
        self.ended = False
        self.others = {"lost": 0, "dropped": 0}

    def go(
        self,
        seconds: int,
        *,
        kept: int = 10,
        vetoed: int = 40,
        unjudged: int = 0,
        latency_ms: float = 5.0,
        beats: bool = True,
    ) -> None:
        """So many seconds, with so many frames in each."""
        for _ in range(seconds):
            self.second += 1
            now_ns = self.second * SECOND_NS
            many = {Outcome.KEPT: kept, Outcome.VETOED: vetoed, Outcome.UNJUDGED: unjudged}
            for outcome, frames in many.items():
                for _ in range(frames):
                    self.sequence += 1
                    self.board.add(verdict(self.sequence, outcome, latency_ms=latency_ms), now_ns)
            self.received += kept + vetoed + unjudged
            if beats:
                self.board.add(beat(self.sequence, self.received, **self.others), now_ns)
            self.board.history.advance(now_ns)
            self.alerts.judge(
                Now(
                    board=self.board,
                    deadline_ms=DEADLINE_MS,
                    series_ended=self.ended,
                    now_ns=now_ns,
                )
            )

    def silent(self, seconds: int) -> None:
        self.go(seconds, kept=0, vetoed=0, beats=False)

    def idle(self, seconds: int) -> None:
        self.go(seconds, kept=0, vetoed=0)

    @property
    def lasting(self) -> list[str]:
        return [one.name for one in self.alerts.recent() if one.until_ns is None]

    def lose(self) -> None:
        self.others["lost"] += 3

    def drop(self) -> None:
        self.others["dropped"] += 1


def test_a_shift_without_trouble_has_no_alerts() -> None:
    shift = Shift()
    shift.go(300)
    assert shift.alerts.recent() == []


TROUBLES: dict[str, Callable[[Shift], None]] = {
    "ServiceDown": lambda shift: shift.silent(5),
    "NoFramesArriving": lambda shift: shift.idle(12),
    "FramesLostUpstream": lambda shift: (shift.lose(), shift.go(2))[1],  # type: ignore[func-returns-value]
    "UnjudgedShareHigh": lambda shift: shift.go(3, unjudged=10),
    "LatencyOverDeadline": lambda shift: shift.go(2, latency_ms=150.0),
    "HitRateCollapsed": lambda shift: shift.go(61, kept=1, vetoed=49),
    "HitRateSaturated": lambda shift: shift.go(61, kept=50, vetoed=0),
    "ForwardedFramesDropped": lambda shift: (shift.drop(), shift.go(2))[1],  # type: ignore[func-returns-value]
}


def test_every_rule_has_its_trouble() -> None:
    assert set(TROUBLES) == set(RULES)


@pytest.mark.parametrize("name", TROUBLES)
def test_each_trouble_raises_its_alert_alone_and_it_ends(name: str) -> None:
    shift = Shift()
    shift.go(120)
    TROUBLES[name](shift)
    assert shift.lasting == [name]
    (alert,) = shift.alerts.recent()
    assert 120 * SECOND_NS < alert.since_ns <= shift.second * SECOND_NS
    assert len(alert.summary) > 20
    shift.go(130)
    assert shift.lasting == []
    (over,) = shift.alerts.recent()
    assert over.name == name
    assert over.since_ns == alert.since_ns
    assert over.until_ns is not None
    assert over.since_ns <= over.until_ns < shift.second * SECOND_NS


def test_a_service_that_was_never_heard_is_down() -> None:
    shift = Shift()
    shift.silent(2)
    assert shift.lasting == []
    shift.silent(2)
    assert shift.lasting == ["ServiceDown"]


def test_silence_between_series_is_no_trouble() -> None:
    shift = Shift()
    shift.idle(60)
    assert shift.lasting == []  # no frame has ever come
    shift.go(10)
    shift.ended = True
    shift.idle(60)
    assert shift.lasting == []
    shift.ended = False
    shift.idle(1)
    assert shift.lasting == ["NoFramesArriving"]


def test_few_frames_say_nothing_of_the_hit_rate() -> None:
    shift = Shift()
    shift.go(120, kept=1, vetoed=9)
    shift.go(10, kept=0, vetoed=1)
    shift.idle(55)
    assert shift.alerts.recent()[0].name == "NoFramesArriving"
    assert len(shift.alerts.recent()) == 1


def test_a_lucky_start_is_no_collapse() -> None:
    shift = Shift()
    shift.go(1, kept=19, vetoed=0)
    shift.go(70)
    assert shift.alerts.recent() == []


def test_a_trouble_that_comes_and_goes_is_one_alert() -> None:
    shift = Shift()
    for _ in range(5):
        shift.silent(6)
        shift.go(1)
    assert len(shift.alerts.recent()) == 1


def test_alerts_are_forgotten_after_an_hour_and_their_number_is_bounded() -> None:
    alerts, board = Alerts({"Always": lambda now: "x" * (now.now_ns % 2)}), Board(0)

    def judge(now_ns: int) -> None:
        alerts.judge(Now(board=board, deadline_ms=1.0, series_ended=False, now_ns=now_ns))

    for at in range(3 * MOST):
        alerts._rules = {"Odd": lambda _now, at=at: "odd" if at % 2 else None}  # type: ignore[misc]
        judge(at * CALM_NS)
    assert len(alerts.recent()) <= MOST + 1
    alerts._rules = {}
    judge(3 * MOST * CALM_NS + KEPT_NS)
    assert [one for one in alerts.recent() if one.until_ns is not None] == []
