"""Intervals against scipy's and against a printed table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from hitfinder.evaluation.intervals import auc_interval, clopper_pearson, wilson

COUNTS = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(COUNTS, st.sampled_from([0.8, 0.95, 0.99]))
def test_as_scipy(counts: tuple[int, int], confidence: float) -> None:
    test = binomtest(*counts)
    for ours, method in ((wilson, "wilson"), (clopper_pearson, "exact")):
        theirs = test.proportion_ci(confidence, method)
        assert ours(*counts, confidence) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_as_in_newcombe_1998() -> None:
    """Stat. Med. 17 (1998) 857, table I: 81 of 263 and 0 of 20."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert clopper_pearson(81, 263) == pytest.approx((0.2527, 0.3676), abs=5e-5)
    assert clopper_pearson(0, 20) == pytest.approx((0.0, 0.1684), abs=5e-5)


@given(st.floats(0, 1), st.integers(1, 2000), st.integers(1, 2000))
def test_an_area_lies_in_its_interval(auc: float, hits: int, misses: int) -> None:
    low, high = auc_interval(auc, hits, misses)
    assert 0.0 <= low <= auc <= high <= 1.0
    mirrored = auc_interval(1 - auc, misses, hits)
    assert (1 - high, 1 - low) == pytest.approx(mirrored, abs=1e-9)


def test_a_perfect_area_is_not_certain() -> None:
    few, many = auc_interval(1.0, 20, 20), auc_interval(1.0, 2000, 2000)
    assert few[0] < many[0] < 1.0
    assert few[1] == many[1] == 1.0


def test_clopper_pearson_covers_whatever_the_share() -> None:
    n, worst = 40, 1.0
    intervals = [clopper_pearson(k, n) for k in range(n + 1)]
    for step in range(1, 200):
        share = step / 200
        covered = [k for k, (low, high) in enumerate(intervals) if low <= share <= high]
        worst = min(worst, float(binom.pmf(covered, n, share).sum()))
    assert 0.95 <= worst < 1.0


@pytest.mark.parametrize("counts", [(1, 0), (-1, 5), (6, 5)])
def test_what_is_no_share(counts: tuple[int, int]) -> None:
    for interval in (wilson, clopper_pearson):
        with pytest.raises(ValueError, match="no share"):
            interval(*counts)
    with pytest.raises(ValueError, match="no area"):
        auc_interval(0.5, 0, 3)
