"""The promise of a threshold, by theory and by trial."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom

from hitfinder.errors import DataFileError
from hitfinder.evaluation.calibration import (
    ROUNDING,
    allowed_below,
    calibrate,
    hits_needed,
    restrain,
)
from hitfinder.evaluation.intervals import clopper_pearson


@pytest.mark.parametrize(
    ("sensitivity", "confidence", "needed"),
    # The last two are the printed ones of tolerance limits without a distribution: 59 for 95/95,
    # 299 for 99/95.
    [(0.98, 0.95, 149), (0.95, 0.95, 59), (0.99, 0.95, 299)],
)
def test_hits_needed(sensitivity: float, confidence: float, needed: int) -> None:
    promise = {"sensitivity": sensitivity, "confidence": confidence}
    assert hits_needed(**promise) == needed
    assert allowed_below(needed, **promise) == 0
    assert allowed_below(needed - 1, **promise) is None


def test_ranks_as_printed() -> None:
    """95 % of all, with 95 % confidence: 93 samples bear one below, 124 two, 153 three."""
    for n, allowed in ((93, 1), (124, 2), (153, 3)):
        assert allowed_below(n, sensitivity=0.95, confidence=0.95) == allowed
        assert allowed_below(n - 1, sensitivity=0.95, confidence=0.95) == allowed - 1


@given(st.integers(149, 5000))
def test_a_rank_inverts_clopper_and_pearson(n: int) -> None:
    """With one more below than allowed, the one-sided lower bound falls under what is promised."""
    allowed = allowed_below(n, sensitivity=0.98, confidence=0.95)
    assert allowed is not None
    # One side of a two-sided interval at 90 % is one-sided at 95 %.
    bounds = [clopper_pearson(n - below, n, 0.90)[0] for below in (allowed, allowed + 1)]
    assert bounds[0] >= 0.98 > bounds[1]
    assert binom.cdf(allowed, n, 0.02) <= 0.05 < binom.cdf(allowed + 1, n, 0.02)


Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]


def continuous(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return rng.beta(8.0, 1.0, n)


def tied(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """A count's score: few values, and many hits at each."""
    return 1 - 1 / (1 + rng.poisson(6.0, n))


@pytest.mark.parametrize("draw", [continuous, tied])
@pytest.mark.parametrize("n", [149, 700])
def test_the_promise_is_kept(draw: Draw, n: int) -> None:
    """Of 1000 calibrations, about 50 at most may fall short: 50 + 4 sigma."""
    rng = np.random.default_rng(7)
    many = np.sort(draw(rng, 200_000))
    short = 0
    for _ in range(1000):
        threshold = calibrate(rng.choice(many, n)).threshold
        below = int(np.searchsorted(many, threshold + ROUNDING))
        short += below > 0.02 * len(many)
    assert short <= 78
    if draw is continuous:
        assert short >= 5  # not so careful that the promise is another one


def test_the_hit_at_the_threshold_is_kept() -> None:
    scores = np.linspace(0.2, 0.9, 400, dtype=np.float32)
    found = calibrate(scores)
    assert found.n_allowed_below == 3
    below = int((scores.astype(np.float64) < found.threshold).sum())
    assert below == found.n_allowed_below
    assert 0 < float(scores[3]) - found.threshold < 2 * ROUNDING


@pytest.mark.parametrize("value", [1.0, 0.5, 0.0])
def test_all_scores_alike(value: float) -> None:
    found = calibrate(np.full(200, value, np.float32))
    assert max(0.0, value - 2 * ROUNDING) <= found.threshold <= value


def test_too_few_hits_is_one_line_with_the_number() -> None:
    with pytest.raises(DataFileError, match=r"^148 hits .* give at least 149") as told:
        calibrate(np.linspace(0, 1, 148))
    assert "\n" not in str(told.value)
    with pytest.raises(DataFileError, match=r"^0 hits"):
        calibrate(np.empty(0))


@pytest.mark.parametrize("scores", [[0.5, np.nan], [1.5], [-0.1], [[0.5]]])
def test_scores_that_are_none(scores: list[float]) -> None:
    with pytest.raises(ValueError, match="hit scores"):
        calibrate(np.array(scores))
    with pytest.raises(ValueError, match="between 0 and 1"):
        calibrate(np.full(200, 0.5), sensitivity=1.0)


def test_misses_that_score_one_are_above_every_threshold() -> None:
    scores = np.linspace(0.0, 0.9, 1000, dtype=np.float32)
    found = restrain(scores, specificity=0.99)
    assert (scores >= found.threshold).sum() <= found.n_allowed_above
    scores[-30:] = 1.0
    with pytest.raises(DataFileError, match="30 of 1000 misses to calibrate on score 1"):
        restrain(scores, specificity=0.99)
