"""A threshold from the scores of hits, with a promise that holds for finite numbers of them.

The hits' scores are sorted and one near the bottom is taken: its rank alone, not any shape of the
distribution, says with what confidence at least a given share of new hits score as high (one-sided
distribution-free tolerance limit: Wilks, Ann. Math. Stat. 12 (1941) 91; the rank is the greatest
for which Clopper and Pearson's bound, Biometrika 26 (1934) 404, still allows the share). Ties only
make the true share larger (Scheffé & Tukey, Ann. Math. Stat. 16 (1945) 187).

What no rank can promise: anything for frames unlike those calibrated on. The promise is for new
frames drawn as these were; frames of another run are not. What lies between runs shows in the
sensitivity of the worst run that was not calibrated on, so report that beside it.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from hitfinder.errors import DataFileError

ROUNDING = 1e-5
"""A threshold lies this much below the score that it is taken from: another runtime, or another
size of batch, gives scores that differ by less, and the hit at the threshold must still be kept.
Lower only means more hits kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """With `confidence`, at least the share `sensitivity` of new hits scores at or above
    `threshold`. `n_hits` were calibrated on, of which `n_allowed_below` may lie below it.
    A threshold of 0 keeps every frame: the hits score too low to be told from anything.
    """

    threshold: float
    sensitivity: float
    confidence: float
    n_hits: int
    n_allowed_below: int

    def told(self) -> str:
        """The promise in words, for a card."""
        return (
            f"sensitivity at least {self.sensitivity:g} with {self.confidence:.0%} confidence on "
            f"frames like the {self.n_hits} hits calibrated on, of which "
            f"{self.n_allowed_below} may lie below it (distribution-free tolerance limit, Wilks "
            "1941)"
        )


def calibrate(
    hit_scores: NDArray[np.floating], *, sensitivity: float = 0.98, confidence: float = 0.95
) -> Calibration:
    """The highest threshold with the promise, from the scores (n,) in [0, 1] of n hits.

    Raises DataFileError when n hits are too few for any promise of the kind, with the number that
    is needed; ValueError for shares outside 0 to 1, and scores that are none.
    """
    scores = _sorted_scores(hit_scores)
    n_allowed = allowed_below(len(scores), sensitivity=sensitivity, confidence=confidence)
    if n_allowed is None:
        raise DataFileError(
            f"{len(scores)} hits to calibrate on promise no sensitivity of {sensitivity:g} with "
            f"{confidence:.4g} confidence: give at least "
            f"{hits_needed(sensitivity=sensitivity, confidence=confidence)}, or ask for less"
        )
    return Calibration(
        threshold=max(0.0, float(scores[n_allowed]) - ROUNDING),
        sensitivity=sensitivity,
        confidence=confidence,
        n_hits=len(scores),
        n_allowed_below=n_allowed,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Restraint:
    """With `confidence`, at least the share `specificity` of new misses scores below `threshold`.
    `n_misses` were calibrated on, of which `n_allowed_above` may lie at or above it.
    """

    threshold: float
    specificity: float
    confidence: float
    n_misses: int
    n_allowed_above: int

    def told(self, misses: str) -> str:
        """The promise in words, for a card; `misses` is what the frames are called."""
        return (
            f"specificity at least {self.specificity:g} with {self.confidence:.0%} confidence on "
            f"frames like the {self.n_misses} {misses} calibrated on, of which "
            f"{self.n_allowed_above} may lie above it (distribution-free tolerance limit, Wilks "
            "1941)"
        )


def restrain(
    miss_scores: NDArray[np.floating], *, specificity: float, confidence: float = 0.95
) -> Restraint:
    """The lowest threshold with the promise, from the scores (n,) in [0, 1] of n misses: as
    `calibrate`, upside down. Raises as that does, and DataFileError when so many misses score 1
    that none is above them.
    """
    found = calibrate(1 - miss_scores, sensitivity=specificity, confidence=confidence)
    threshold = 1 - found.threshold
    above = int((miss_scores >= threshold).sum())
    if above > found.n_allowed_below:
        raise DataFileError(
            f"{above} of {found.n_hits} misses to calibrate on score 1: no threshold promises a "
            f"specificity of {specificity:g}; ask for less, or correct their labels"
        )
    return Restraint(
        threshold=threshold,
        specificity=specificity,
        confidence=confidence,
        n_misses=found.n_hits,
        n_allowed_above=found.n_allowed_below,
    )


def allowed_below(n_hits: int, *, sensitivity: float, confidence: float) -> int | None:
    """How many of `n_hits` may lie below the threshold; None where none may and even that is no
    promise. Raises ValueError for shares outside 0 to 1.

    The share of new hits below the hit of rank k, counted from 1 at the bottom, is distributed as
    Beta(k, n - k + 1); the greatest k with P(share <= 1 - sensitivity) >= confidence is taken.
    """
    _check(sensitivity, confidence)
    rank = np.arange(1, n_hits + 1)
    kept_promises = beta.cdf(1 - sensitivity, rank, n_hits - rank + 1)  # falls with rank
    best = int((kept_promises >= confidence).sum())
    return best - 1 if best else None


def hits_needed(*, sensitivity: float, confidence: float) -> int:
    """The fewest hits with which none below the threshold is a promise: 149 for 0.98 at 0.95.

    Raises ValueError for shares outside 0 to 1.
    """
    _check(sensitivity, confidence)
    return math.ceil(math.log(1 - confidence) / math.log(sensitivity))


def _check(sensitivity: float, confidence: float) -> None:
    if not (0.0 < sensitivity < 1.0 and 0.0 < confidence < 1.0):
        raise ValueError(
            f"sensitivity {sensitivity} and confidence {confidence} must lie between 0 and 1"
        )


def _sorted_scores(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    if scores.ndim != 1 or not ((scores >= 0) & (scores <= 1)).all():  # NaN is neither
        raise ValueError("hit scores must be (n,) numbers from 0 to 1; leave out unjudged frames")
    return np.sort(scores.astype(np.float64))
