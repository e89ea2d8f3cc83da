"""An hour of verdicts by the second."""

import pytest

from hitfinder.monitor.history import SECONDS, History
from hitfinder.verdict import Outcome
from tests.monitor.said import SECOND_NS, verdict


def filled(seconds: int, outcome: Outcome = Outcome.KEPT) -> History:
    """One frame a second, the last one in a second that still runs."""
    history = History()
    for second in range(seconds):
        history.add(verdict(second, outcome, latency_ms=second), second * SECOND_NS)
    return history


def test_every_outcome_is_counted_in_its_second() -> None:
    history = History()
    for outcome, times in ((Outcome.KEPT, 3), (Outcome.VETOED, 6), (Outcome.UNJUDGED, 2)):
        for _ in range(times):
            history.add(verdict(1, outcome), 5 * SECOND_NS + 1)
    history.advance(6 * SECOND_NS)
    (one,) = history.bins(1, 1)[:1]
    assert (one.at_s, one.kept, one.vetoed, one.unjudged) == (5, 3, 6, 2)
    assert one.hit_rate == pytest.approx(1 / 3)
    assert (one.judged, one.frames) == (9, 11)


def test_silence_is_seconds_without_frames() -> None:
    history = filled(1)
    history.advance(4 * SECOND_NS)
    assert [one.frames for one in history.bins(10, 1)] == [1, 0, 0, 0, 0]
    assert history.bins(10, 1)[-1].hit_rate is None
    assert history.per_second(4) == 0.25


def test_only_the_last_hour_is_held_even_after_a_long_sleep() -> None:
    history = filled(10)
    history.advance(10 * SECONDS * SECOND_NS)
    bins = history.bins(SECONDS, 1)
    assert len(bins) <= SECONDS + 1
    assert sum(one.frames for one in bins) == 0
    assert bins[-1].at_s == 10 * SECONDS


def test_bins_keep_their_place_while_time_goes_on() -> None:
    history = filled(100)
    before = {one.at_s: one.frames for one in history.bins(90, 30)}
    history.advance(101 * SECOND_NS)
    after = {one.at_s: one.frames for one in history.bins(90, 30)}
    assert set(before) == set(after) == {0, 30, 60, 90}
    assert before[60] == after[60] == 30


def test_last_and_before_share_all_frames() -> None:
    history = filled(100)
    assert history.last(9).frames == 10  # nine that are over, and the one that runs
    assert history.last(9).frames + history.before(9).frames == 100
    assert history.before(1000).frames == 0


def test_a_wide_bin_has_the_worst_of_its_seconds() -> None:
    wide = filled(11).last(10)
    assert wide.p99_ms == 10.0
    assert wide.p50_ms == 5.0
    assert History().last(10).p99_ms is None
