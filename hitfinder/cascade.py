"""Scores to outcome: the policy, in one place.

A frame at or above the hit model's threshold is kept, below it vetoed. Whatever was not judged
is kept by never getting here: the pipeline settles it as unjudged, with its reason.
"""

from hitfinder.verdict import Outcome


def outcome_of(hit_score: float, threshold: float) -> Outcome:
    """KEPT or VETOED for a finite score in [0, 1]."""
    return Outcome.KEPT if hit_score >= threshold else Outcome.VETOED
