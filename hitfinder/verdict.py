"""The judgement of one frame: exactly one outcome, and why where there is no score."""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """Every frame ends in exactly one of these."""

    KEPT = "kept"
    VETOED = "vetoed"
    UNJUDGED = "unjudged"


class Reason(StrEnum):
    """Why a frame went on unjudged."""

    OVERLOAD = "overload"
    """More frames than the model can judge: the judge's queue was full."""
    DEADLINE = "deadline"
    """The frame waited longer than `deadline_ms`."""
    DECODE = "decode"
    """The frame's pixels could not be decoded, or none of the region was measured."""
    MODEL = "model"
    """The model failed or gave no finite score."""
    DRAINING = "draining"
    """The service was told to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One frame's judgement. `reason` is set exactly when the outcome is UNJUDGED; `score` is in
    [0, 1] and set exactly when it is not. Times are monotonic nanoseconds.
    """

    series: str
    number: int
    outcome: Outcome
    reason: Reason | None = None
    score: float | None = None
    arrival_ns: int = 0
    settled_ns: int = 0

    def __post_init__(self) -> None:
        if (self.outcome is Outcome.UNJUDGED) != (self.reason is not None):
            raise ValueError(f"{self.outcome} with reason {self.reason}")
