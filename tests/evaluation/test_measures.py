"""Measures against numbers counted by hand, and areas against scikit-learn's."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from hitfinder.evaluation.intervals import wilson
from hitfinder.evaluation.measures import (
    area,
    as_measured,
    evaluate,
    is_truth,
    kept_at,
    measure,
    roc,
)
from tests.evaluation.runs import (
    AMBIGUOUS,
    MISS,
    SALT,
    SALT_AND_ICE,
    STRONG,
    WEAK,
    random_run,
    scored,
)

RUN = scored(
    "run 90",
    (0.9, STRONG),
    (0.8, STRONG),
    (0.5, WEAK),  # at the threshold: kept
    (0.2, WEAK),
    (0.1, MISS),
    (0.6, MISS),
    (0.3, MISS),
    (0.7, SALT),
    (0.2, SALT_AND_ICE),
    (0.9, AMBIGUOUS),
    (0.1, AMBIGUOUS),
    (0.9, None),
    (math.nan, STRONG),
    (math.nan, AMBIGUOUS),
)


def test_a_row_by_hand() -> None:
    row = measure(RUN, 0.5)
    assert (row.frames, row.events) == (14, 9)
    assert (row.ambiguous, row.unlabelled, row.no_score) == (3, 1, 1)
    counts = {
        "hit_share": (4, 9),
        "sensitivity": (3, 4),
        "strong": (2, 2),
        "weak": (1, 2),
        "specificity": (3, 5),
        "clean": (2, 3),
        "with_artefacts": (1, 2),
        "accuracy": (6, 9),
    }
    for name, (count, of) in counts.items():
        share = getattr(row, name)
        assert (share.count, share.of, share.value) == (count, of, count / of), name
        assert (share.low, share.high) == wilson(count, of)
    artefacts = {each.artefact: each.specificity for each in row.artefacts}
    assert {name: (each.count, each.of) for name, each in artefacts.items()} == {
        "salt": (1, 2),
        "spotty-ice": (1, 1),
    }
    # Pairs won by the hit: 0.9 all 5; 0.8 all 5; 0.5 three; 0.2 one, and a tie.
    assert row.auc.value == pytest.approx((5 + 5 + 3 + 1.5) / 20)


def test_a_threshold_is_compared_as_live() -> None:
    """float32(0.1) is more than 0.1, float32(0.9) less than 0.9; numpy would round the latter."""
    scores = np.array([0.1, 0.9], np.float32).astype(np.float64)
    assert kept_at(scores, 0.1).tolist() == [True, True]
    assert kept_at(scores, 0.9).tolist() == [False, False]


def test_one_class_or_none_leaves_gaps() -> None:
    row = measure(scored("misses", (0.1, MISS), (0.6, MISS)), 0.5)
    assert row.sensitivity.value is None
    assert row.strong.low is None
    assert row.auc.value is None
    assert row.specificity.value == row.accuracy.value == 0.5
    empty = measure(scored("nothing", (0.1, None), (0.6, AMBIGUOUS)), 0.5)
    assert empty.events == 0
    assert empty.accuracy.value is None
    assert roc(scored("misses", (0.1, MISS)))[0].size == 0


def test_all_runs_pooled_and_the_worst_named() -> None:
    other = scored("run 91", (0.1, STRONG), (0.1, MISS))
    blank = scored("run 92", (0.1, None))
    found = evaluate([RUN, other, blank], 0.5)
    assert (found.overall.sensitivity.count, found.overall.sensitivity.of) == (3, 5)
    assert (found.overall.specificity.count, found.overall.specificity.of) == (4, 6)
    assert (found.worst_sensitivity, found.worst_specificity) == ("run 91", "run 90")
    assert [row.run for row in found.rows] == ["run 90", "run 91", "run 92", "all"]
    assert evaluate([blank], 0.5).worst_sensitivity is None


def test_a_cards_rows() -> None:
    first, second = as_measured(evaluate([RUN, scored("x", (0.1, MISS))], 0.5))
    assert (first.run, first.hits, first.misses) == ("run 90", 4, 5)
    assert (first.sensitivity, first.specificity) == (0.75, 0.6)
    assert first.area_under_curve == pytest.approx(14.5 / 20)
    assert (second.hits, second.sensitivity, second.specificity) == (0, None, 1.0)


@given(
    st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=30),
    st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=30),
)
def test_an_area_is_scikit_learns(hits: list[float], misses: list[float]) -> None:
    truths = [1] * len(hits) + [0] * len(misses)
    found = area(np.array(hits), np.array(misses))
    assert found.value == pytest.approx(roc_auc_score(truths, hits + misses), abs=1e-12)
    limits = (0.0, found.low, found.value, found.high, 1.0)
    assert limits == tuple(sorted(each for each in limits if each is not None))


@pytest.mark.parametrize("seed", range(5))
def test_the_curve_encloses_the_area_and_passes_the_threshold(seed: int) -> None:
    run = random_run(seed)
    row = measure(run, 0.5)
    kept_misses, kept_hits = roc(run)
    assert np.trapezoid(kept_hits, kept_misses) == pytest.approx(row.auc.value, abs=1e-12)
    corners = set(zip(kept_misses.round(9), kept_hits.round(9), strict=True))
    assert row.specificity.value is not None
    assert row.sensitivity.value is not None
    here = (round(1 - row.specificity.value, 9), round(row.sensitivity.value, 9))
    assert here in corners
    assert {(0.0, 0.0), (1.0, 1.0)} <= corners
    assert is_truth(run, "hit").sum() == row.sensitivity.of
