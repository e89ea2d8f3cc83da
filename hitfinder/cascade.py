"""Scores to outcome: the policy, in one place.

    hit score     diffuse          outcome
    < threshold   not asked        vetoed
    ≥ threshold   no second step   kept
    ≥ threshold   yes              as [policy] diffuse says
    ≥ threshold   no               as [policy] not_diffuse says
    ≥ threshold   unjudged         kept, whatever [policy] says

Whatever the hit model did not judge is kept by never getting here: the pipeline settles it as
unjudged, with its reason. "I don't know" is nobody's reason for a veto, so the table has no
setting for it.
"""

from typing import Literal, Self

from pydantic import model_validator

from hitfinder.settings import Settings
from hitfinder.verdict import Diffuse, DiffuseFinding, Outcome

Choice = Literal["keep", "veto"]

NOT_JUDGED = Outcome.KEPT
"""What a hit comes to that the second step did not judge, for whatever reason."""

_OUTCOMES: dict[Choice, Outcome] = {"keep": Outcome.KEPT, "veto": Outcome.VETOED}


class PolicySettings(Settings):
    """Which hits are kept, by what the second step says. One that it did not judge always is."""

    diffuse: Choice = "keep"
    """Hits with diffuse scattering: "keep", or "veto" like a miss. [diffuse_frames] gets them
    either way."""
    not_diffuse: Choice = "keep"
    """Hits without: "keep", or "veto"."""

    @model_validator(mode="after")
    def _keeps_something(self) -> Self:
        if self.diffuse == self.not_diffuse == "veto":
            raise ValueError('diffuse and not_diffuse are both "veto"; no judged hit would be kept')
        return self


def outcome_of(hit_score: float, threshold: float) -> Outcome:
    """KEPT or VETOED for a finite score in [0, 1], before the second step."""
    return Outcome.KEPT if hit_score >= threshold else Outcome.VETOED


def finding_of(diffuse_score: float, threshold: float) -> DiffuseFinding:
    """What a finite score in [0, 1] of the second step means."""
    diffuse = Diffuse.YES if diffuse_score >= threshold else Diffuse.NO
    return DiffuseFinding(diffuse=diffuse, score=diffuse_score)


def outcome_of_hit(diffuse: Diffuse, policy: PolicySettings) -> Outcome:
    """KEPT or VETOED for a hit, after the second step."""
    outcomes = {
        Diffuse.YES: _OUTCOMES[policy.diffuse],
        Diffuse.NO: _OUTCOMES[policy.not_diffuse],
        Diffuse.UNJUDGED: NOT_JUDGED,
    }
    return outcomes[diffuse]
