"""How far a share that was counted can be trusted.

Pure functions of counts. What they do not know: frames of one run resemble each other, so that
an interval over the frames of a few runs says nothing of the next run; look at the runs apart.
"""

import math
from collections.abc import Callable
from statistics import NormalDist

from scipy.stats import beta

CONFIDENCE = 0.95
"""Of every interval, unless said otherwise."""


def wilson(successes: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Two-sided interval (low, high) for a share, `successes` of `n`: the shares from which the
    one counted is not significantly far. Covers about `confidence` on average, also near 0 and 1.

    Source: Wilson, J. Am. Stat. Assoc. 22 (1927) 209.
    Raises ValueError when the counts make no share.
    """
    _check(successes, n)
    z2 = _z(confidence) ** 2
    share = successes / n
    middle = share + z2 / (2 * n)
    reach = math.sqrt(z2 * (share * (1 - share) + z2 / (4 * n)) / n)
    low = 0.0 if successes == 0 else (middle - reach) / (1 + z2 / n)
    high = 1.0 if successes == n else (middle + reach) / (1 + z2 / n)
    return low, high


def clopper_pearson(successes: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Two-sided interval (low, high) for a share that covers at least `confidence`, whatever the
    share is: wider than Wilson's.

    Source: Clopper & Pearson, Biometrika 26 (1934) 404.
    Raises ValueError when the counts make no share.
    """
    _check(successes, n)
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, n - successes + 1))
    high = 1.0 if successes == n else float(beta.ppf(1 - tail, successes + 1, n - successes))
    return low, high


def auc_interval(
    auc: float, hits: int, misses: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Two-sided interval (low, high) for an area under the curve: the areas from which the one
    measured is not significantly far, so that it does not shrink to a point at an area of 1.

    Source: Newcombe, Stat. Med. 25 (2006) 559, method 5; the variance is that of Hanley & McNeil,
    Radiology 143 (1982) 29, for exponential scores and a common number of hits and misses.
    Raises ValueError unless there are hits and misses.
    """
    if hits < 1 or misses < 1 or not 0.0 <= auc <= 1.0:
        raise ValueError(f"no area under a curve: {auc} of {hits} hits and {misses} misses")
    z2, common = _z(confidence) ** 2, (hits + misses) / 2

    def too_far(area: float) -> bool:
        spread = (1 - area) / (2 - area) + area / (1 + area)
        variance = area * (1 - area) * (1 + (common - 1) * spread) / (hits * misses)
        return (auc - area) ** 2 > z2 * variance

    return _edge(too_far, 0.0, auc), _edge(too_far, 1.0, auc)


def _edge(too_far: Callable[[float], bool], outside: float, inside: float) -> float:
    """Where `too_far` ends between a value outside and one inside, by bisection."""
    if outside == inside:
        return inside
    for _ in range(60):
        middle = (outside + inside) / 2
        if too_far(middle):
            outside = middle
        else:
            inside = middle
    return inside


def _z(confidence: float) -> float:
    """How many sigma a two-sided interval reaches."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _check(successes: int, n: int) -> None:
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"{successes} of {n} is no share")
