"""How well methods tell diffuse from other hits: precision and recall of both classes, in the way
of Table I of Su's report "Classification of single-crystal 'diffuse' images", with intervals.

Precision is the share of frames called so that are so, recall the share of frames that are so and
are called so; overall is the share of all that are called right. What this file does not know: the
methods. Frames that nobody could call diffuse or not are not in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hitfinder.evaluation.measures import Area, Share, area, counted

HALF = 0.5
"""A score from here on says diffuse, unless told otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassMeasures:
    """Of one class."""

    precision: Share
    recall: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffuseMeasures:
    """One row. `ms_a_frame` is what a frame costs, None where nobody measured it."""

    method: str
    diffuse: ClassMeasures
    other: ClassMeasures
    overall: Share
    auc: Area
    ms_a_frame: float | None = None


def measure_diffuse(
    method: str,
    scores: NDArray[np.float64],
    is_diffuse: NDArray[np.bool_],
    *,
    threshold: float = HALF,
    ms_a_frame: float | None = None,
) -> DiffuseMeasures:
    """A row from scores (n,) of n frames and whether they are diffuse (n,)."""
    called = scores >= threshold
    return DiffuseMeasures(
        method=method,
        diffuse=_of_class(called, is_diffuse),
        other=_of_class(~called, ~is_diffuse),
        overall=counted(int((called == is_diffuse).sum()), len(scores)),
        auc=area(scores[is_diffuse], scores[~is_diffuse]),
        ms_a_frame=ms_a_frame,
    )


def diffuse_table(rows: Sequence[DiffuseMeasures]) -> str:
    """The rows in Markdown, shares in per cent with their 95 % intervals."""
    head = (
        "method",
        "diffuse: precision",
        "recall",
        "other: precision",
        "recall",
        "overall",
        "area under curve",
        "ms a frame",
    )
    lines = [_line(head), _line(["---"] * len(head))]
    for row in rows:
        shares = (
            row.diffuse.precision,
            row.diffuse.recall,
            row.other.precision,
            row.other.recall,
            row.overall,
        )
        auc = "" if row.auc.value is None else f"{row.auc.value:.3f}"
        cost = "" if row.ms_a_frame is None else f"{row.ms_a_frame:.3g}"
        lines.append(_line([row.method, *map(_in_words, shares), auc, cost]))
    return "\n".join(lines)


def _of_class(called: NDArray[np.bool_], true: NDArray[np.bool_]) -> ClassMeasures:
    right = int((called & true).sum())
    return ClassMeasures(
        precision=counted(right, int(called.sum())), recall=counted(right, int(true.sum()))
    )


def _in_words(share: Share) -> str:
    if share.value is None or share.low is None or share.high is None:
        return "none"
    return f"{100 * share.value:.1f} ({100 * share.low:.1f}-{100 * share.high:.1f})"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
