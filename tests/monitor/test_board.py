"""What the verdict stream has said."""

import msgspec
import pytest

from hitfinder.monitor.board import SCORE_BINS, SCORES, TOTALS_NS, Board
from hitfinder.verdict import Outcome
from tests.monitor.said import SECOND_NS, beat, verdict


@pytest.fixture
def board() -> Board:
    return Board(0)


def test_totals_are_those_of_the_last_heartbeat(board: Board) -> None:
    assert board.totals is None
    board.add(beat(0, received=7), 1)
    board.add(beat(0, received=9), 2)
    assert board.totals is not None
    assert board.totals.received == 9


def test_what_was_missed_is_seen_from_the_sequence(board: Board) -> None:
    board.add(verdict(5), 1)
    board.add(verdict(6), 1)
    assert board.missed == 0
    board.add(verdict(9), 1)
    assert board.missed == 2
    board.add(beat(12), 1)
    assert board.missed == 5
    board.add(verdict(1), 1)  # the service began anew
    assert board.missed == 5


def test_growth_is_that_of_the_last_minute(board: Board) -> None:
    for second in range(100):
        board.add(beat(0, received=second, lost=second), second * SECOND_NS)
    assert board.growth("lost", 99 * SECOND_NS) == TOTALS_NS // SECOND_NS
    assert board.growth("dropped", 99 * SECOND_NS) == 0


def test_a_service_that_began_anew_has_lost_nothing(board: Board) -> None:
    board.add(beat(0, received=100, lost=50), 0)
    board.add(beat(0, received=1, lost=0), SECOND_NS)
    assert board.growth("lost", SECOND_NS) == 0
    board.add(beat(0, received=2, lost=3), 2 * SECOND_NS)
    assert board.growth("lost", 2 * SECOND_NS) == 3


def test_frames_arrive_as_long_as_the_totals_grow(board: Board) -> None:
    board.add(beat(0, received=1), 1)
    board.add(beat(0, received=2), 2)
    board.add(beat(0, received=2), 3)
    assert (board.arrived_ns, board.heard_ns) == (2, 3)
    board.add(verdict(1), 4)
    assert board.arrived_ns == 4


def test_scores_are_counted_by_outcome_and_the_oldest_go(board: Board) -> None:
    board.add(verdict(1, Outcome.VETOED), 1)
    board.add(verdict(2, Outcome.UNJUDGED), 1)
    for sequence in range(3, SCORES + 2):
        board.add(verdict(sequence, Outcome.KEPT), 1)
    counts = board.histogram()
    assert counts[Outcome.VETOED][round(0.1 * SCORE_BINS)] == 1
    assert sum(counts[Outcome.KEPT]) + sum(counts[Outcome.VETOED]) == SCORES
    board.add(verdict(SCORES + 2, Outcome.KEPT), 1)
    assert sum(board.histogram()[Outcome.VETOED]) == 0
    assert sum(board.histogram()[Outcome.KEPT]) == SCORES
    assert (board.model, board.threshold) == ("hit", 0.5)


def test_what_was_lost_before_a_silence_grows_old(board: Board) -> None:
    board.add(beat(0, received=1), 0)
    board.add(beat(0, received=2, lost=3), SECOND_NS)
    assert board.growth("lost", TOTALS_NS) == 3
    assert board.growth("lost", TOTALS_NS + 2 * SECOND_NS) == 0


def test_another_model_begins_a_histogram_of_its_own(board: Board) -> None:
    board.add(verdict(1), 1)
    board.add(msgspec.structs.replace(verdict(2), model="other"), 2)
    assert sum(board.histogram()[Outcome.KEPT]) == 1
    assert board.model == "other"


def test_a_score_beyond_its_range_is_counted_at_the_edge(board: Board) -> None:
    board.add(msgspec.structs.replace(verdict(1), score=1e308), 1)
    board.add(msgspec.structs.replace(verdict(2), score=-1e308), 1)
    counts = board.histogram()[Outcome.KEPT]
    assert (counts[0], counts[-1]) == (1, 1)
