"""The judgement of one frame: exactly one outcome, and why where there is no score.

A hit may carry a second finding: whether it shows diffuse scattering, or why that is not known.
"""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """Every frame ends in exactly one of these."""

    KEPT = "kept"
    VETOED = "vetoed"
    UNJUDGED = "unjudged"


class Reason(StrEnum):
    """Why a frame went on unjudged, or a hit without the second step's score."""

    OVERLOAD = "overload"
    """More frames than the model can judge: its queue was full, or it gave way to another's."""
    DEADLINE = "deadline"
    """The frame waited longer than `deadline_ms`."""
    DECODE = "decode"
    """The frame's pixels could not be decoded, none of the region was measured, or the service
    could not get ready for its shape."""
    MODEL = "model"
    """The model failed or gave no finite score."""
    DRAINING = "draining"
    """The service was told to stop."""


class Diffuse(StrEnum):
    """What the cascade's second step says of a hit."""

    YES = "yes"
    NO = "no"
    UNJUDGED = "unjudged"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffuseFinding:
    """`reason` is set exactly when the hit was not judged by the second step; `score` is in [0, 1]
    and set exactly when it was.
    """

    diffuse: Diffuse
    score: float | None = None
    reason: Reason | None = None

    def __post_init__(self) -> None:
        unjudged = self.diffuse is Diffuse.UNJUDGED
        if unjudged != (self.reason is not None) or unjudged == (self.score is not None):
            raise ValueError(f"diffuse {self.diffuse}, score {self.score}, reason {self.reason}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One frame's judgement. `reason` is set exactly when the outcome is UNJUDGED; `score` is in
    [0, 1] and set exactly when it is not. `diffuse` is None where there is no second step, and for
    every frame that the hit model did not find a hit. Times are monotonic nanoseconds.
    """

    series: str
    number: int
    outcome: Outcome
    reason: Reason | None = None
    score: float | None = None
    diffuse: DiffuseFinding | None = None
    arrival_ns: int = 0
    settled_ns: int = 0

    def __post_init__(self) -> None:
        if (self.outcome is Outcome.UNJUDGED) != (self.reason is not None):
            raise ValueError(f"{self.outcome} with reason {self.reason}")
        if self.diffuse is not None and self.score is None:
            raise ValueError(f"{self.diffuse} of a frame that is not known to be a hit")
