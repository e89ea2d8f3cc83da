"""What frame numbers tell."""

from hypothesis import given
from hypothesis import strategies as st

from hitfinder.ledger.counting import MAX_JUMP, Arrival, NumberSet, SeriesCount


@given(st.lists(st.integers(0, 60)))
def test_a_number_set_is_a_set(numbers: list[int]) -> None:
    kept, reference = NumberSet(), set()
    for number in numbers:
        assert kept.add(number) == (number not in reference)
        reference.add(number)
    assert kept.count == len(reference)
    assert kept.first == min(reference, default=None)
    assert kept.last == max(reference, default=None)
    again = NumberSet.of_runs(kept.runs)
    assert (again.runs, again.count) == (kept.runs, kept.count)
    assert {number for start, stop in kept.runs for number in range(start, stop)} == reference


@given(st.integers(1, 40), st.data())
def test_announced_is_received_plus_lost(announced: int, data: st.DataObject) -> None:
    arrived = data.draw(st.lists(st.integers(0, announced - 1)))
    count = SeriesCount(started=True, announced=announced)
    for number in arrived:
        count.arrive(number)
    count.ended = True
    assert count.numbers.count + count.lost == announced
    assert count.numbers.count + count.duplicates == len(arrived)
    assert 0 <= count.lost_at_end <= count.lost


def test_gaps_are_lost_and_a_late_frame_takes_one_back() -> None:
    count = SeriesCount(started=True)
    assert [count.arrive(number) for number in (0, 1, 4)] == [Arrival.NEXT] * 3
    assert count.lost == 2
    assert count.arrive(2) is Arrival.LATE
    assert count.lost == 1
    assert count.arrive(2) is Arrival.DUPLICATE
    assert (count.lost, count.duplicates, count.late) == (1, 1, 1)


def test_a_series_joined_midway_owes_nothing_from_before() -> None:
    count = SeriesCount(started=False)
    count.arrive(5000)
    count.arrive(5002)
    assert count.lost == 1


def test_a_sender_that_counts_from_one_loses_nothing() -> None:
    count = SeriesCount(started=True, announced=3)
    for number in (1, 2, 3):
        count.arrive(number)
    count.ended = True
    assert count.lost == 0


def test_a_sender_that_counts_from_one_may_lose_its_first() -> None:
    count = SeriesCount(started=True, announced=5)
    for number in (2, 3, 4, 5):
        count.arrive(number)
    assert count.lost == 1
    count.ended = True
    assert (count.lost, count.lost_at_end) == (1, 0)


def test_fewer_frames_than_announced_are_lost_at_the_end() -> None:
    count = SeriesCount(started=True, announced=10)
    for number in (0, 2):
        count.arrive(number)
    assert count.lost == 1
    count.ended = True
    assert (count.lost, count.lost_at_end) == (8, 7)


def test_a_damaged_number_is_a_stray_not_a_million_lost_frames() -> None:
    count = SeriesCount(started=True, announced=4)
    assert count.arrive(2**62) is Arrival.STRAY
    for number in (0, 1, 3):
        count.arrive(number)
    assert count.arrive(MAX_JUMP + 10) is Arrival.STRAY
    count.ended = True
    # Two strays arrived: of four announced frames, at least none more is missing but the gap.
    assert (count.lost, count.stray) == (1, 2)
