"""Batches: none late, none too large, nothing lost, nothing twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitfinder.inference.batcher import BATCH_SIZES, Batcher, padded_size


def test_timer_starts_at_the_first_item() -> None:
    batcher = Batcher[str](size=3, wait_ns=10)
    assert batcher.closes_at_ns() is None
    assert batcher.take(10**9) == []
    batcher.add("a", 100)
    batcher.add("b", 109)
    assert batcher.closes_at_ns() == 110
    assert batcher.take(109) == []
    assert batcher.take(110) == ["a", "b"]
    assert batcher.closes_at_ns() is None


def test_full_batch_is_ready_at_once_and_what_is_over_waits_on() -> None:
    batcher = Batcher[int](size=2, wait_ns=1000)
    for item in range(3):
        batcher.add(item, item)
    closes_at_ns = batcher.closes_at_ns()
    assert closes_at_ns is not None
    assert closes_at_ns <= 2
    assert batcher.take(2) == [0, 1]
    assert batcher.closes_at_ns() == 1002
    assert batcher.take(3) == []
    assert len(batcher) == 1
    assert batcher.flush() == [2]
    assert batcher.flush() == []


@given(
    size=st.integers(1, 5),
    wait_ns=st.integers(0, 20),
    steps=st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=60),
)
def test_nothing_is_lost_late_or_out_of_order(
    size: int, wait_ns: int, steps: list[tuple[int, bool]]
) -> None:
    batcher = Batcher[int](size=size, wait_ns=wait_ns)
    now_ns = 0
    added: list[int] = []
    taken: list[int] = []
    for pause_ns, arrives in steps:
        now_ns += pause_ns
        if arrives:
            batcher.add(len(added), now_ns)
            added.append(now_ns)
        closes_at_ns = batcher.closes_at_ns()
        batch = batcher.take(now_ns)
        assert len(batch) <= size
        assert bool(batch) == (closes_at_ns is not None and closes_at_ns <= now_ns)
        taken += batch
        left = added[len(taken) :]
        assert len(left) < size
        assert all(now_ns < arrival + wait_ns for arrival in left)
    while batch := batcher.flush():
        taken += batch
    assert taken == list(range(len(added)))


@given(n=st.integers(1, BATCH_SIZES[-1]))
def test_padding_is_the_smallest_size_that_fits(n: int) -> None:
    assert padded_size(n) == min(size for size in BATCH_SIZES if size >= n)


@pytest.mark.parametrize("n", [0, -1, 33])
def test_no_size_fits(n: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        padded_size(n)
