"""Scores and labels to measures: one row a run, in the way of Li et al. 2018, Table II.

Sensitivity is the share of true hits that are kept, specificity the share of true misses that are
vetoed, accuracy the share of both that are right. Frames labelled ambiguous are dropped, as in the
paper; so are frames without a label or a score; all three are counted. What is kept is decided by
`cascade`, as live. What this file does not know: where scores come from.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from hitfinder.cascade import outcome_of
from hitfinder.dataset.frames import Label, Truth
from hitfinder.evaluation.intervals import auc_interval, wilson
from hitfinder.evaluation.scores import RunScores
from hitfinder.inference.model_card import Measured
from hitfinder.verdict import Outcome

ALL_RUNS = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """`count` of `of` frames, with Wilson's 95 % interval; None where `of` is 0."""

    count: int
    of: int
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """Area under the ROC curve, the share of pairs of a hit and a miss in which the hit scores
    higher (a tie is half), with Newcombe's 95 % interval; None without hits or misses.
    """

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtefactMeasures:
    """Specificity on the misses that hold one kind of artefact, alone or among others."""

    artefact: str
    specificity: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMeasures:
    """One row. `events` are the frames judged: hits and misses that have a score. `no_score`
    counts those that have none among hits and misses; live they go on unjudged.
    `weak` and `strong` are sensitivities on the hits of that tier, `clean` and `with_artefacts`
    specificities on the misses without and with artefacts.
    """

    run: str
    frames: int
    events: int
    ambiguous: int
    unlabelled: int
    no_score: int
    hit_share: Share
    sensitivity: Share
    strong: Share
    weak: Share
    specificity: Share
    clean: Share
    with_artefacts: Share
    artefacts: tuple[ArtefactMeasures, ...]
    accuracy: Share
    auc: Area


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All rows at one threshold. `overall` pools the frames of all runs; its intervals are for
    more frames of these very runs, while the next run may be as the worst: `worst_sensitivity`
    and `worst_specificity` name the runs lowest in each, None where no run has any.
    """

    threshold: float
    runs: tuple[RunMeasures, ...]
    overall: RunMeasures
    worst_sensitivity: str | None
    worst_specificity: str | None

    @property
    def rows(self) -> tuple[RunMeasures, ...]:
        """The runs' rows and, where there are several, the one for all."""
        return self.runs if len(self.runs) == 1 else (*self.runs, self.overall)


def evaluate(runs: Sequence[RunScores], threshold: float) -> Evaluation:
    """Measure each run and all together at `threshold`."""
    rows = tuple(measure(run, threshold) for run in runs)
    return Evaluation(
        threshold=threshold,
        runs=rows,
        overall=measure(pooled(runs), threshold),
        worst_sensitivity=_worst(rows, lambda row: row.sensitivity),
        worst_specificity=_worst(rows, lambda row: row.specificity),
    )


def measure(run: RunScores, threshold: float) -> RunMeasures:
    """One run's row at `threshold`."""
    kept = kept_at(run.scores, threshold)
    scored = np.isfinite(run.scores)
    hit, miss = is_truth(run, "hit"), is_truth(run, "miss")
    strong = _where(run.labels, lambda label: label.truth == "hit" and label.tier == "strong")
    weak = _where(run.labels, lambda label: label.truth == "hit" and label.tier == "weak")
    marred = _where(run.labels, lambda label: bool(label.artefacts))
    names = sorted({name for label in run.labels if label for name in label.artefacts})
    event = (hit | miss) & scored

    def share(of: NDArray[np.bool_], among: NDArray[np.bool_]) -> Share:
        return counted(int((of & among & event).sum()), int((among & event).sum()))

    by_artefact = (
        ArtefactMeasures(
            artefact=name,
            specificity=share(~kept, miss & _has(run.labels, name)),
        )
        for name in names
    )
    return RunMeasures(
        run=run.run,
        frames=len(run.labels),
        events=int(event.sum()),
        ambiguous=int(is_truth(run, "ambiguous").sum()),
        unlabelled=sum(label is None for label in run.labels),
        no_score=int(((hit | miss) & ~scored).sum()),
        hit_share=share(hit, event),
        sensitivity=share(kept, hit),
        strong=share(kept, strong),
        weak=share(kept, weak),
        specificity=share(~kept, miss),
        clean=share(~kept, miss & ~marred),
        with_artefacts=share(~kept, miss & marred),
        artefacts=tuple(each for each in by_artefact if each.specificity.of),
        accuracy=share(kept == hit, event),
        auc=area(run.scores[hit & scored], run.scores[miss & scored]),
    )


def kept_at(scores: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]:
    """(n,) bool: what the live service would keep. NaN counts as not kept here.

    One by one and in float64, as live: numpy would compare float32 with a rounded threshold.
    """
    kept = (outcome_of(score, threshold) is Outcome.KEPT for score in scores.tolist())
    return np.fromiter(kept, np.bool_, len(scores))


def is_truth(run: RunScores, truth: Truth) -> NDArray[np.bool_]:
    """(n,) bool: the frames labelled so."""
    return _where(run.labels, lambda label: label.truth == truth)


def pooled(runs: Sequence[RunScores]) -> RunScores:
    """All runs' frames as one run."""
    return RunScores(
        run=ALL_RUNS,
        scores=np.concatenate([np.empty(0), *(run.scores for run in runs)]),
        labels=tuple(label for run in runs for label in run.labels),
        problems=tuple(problem for run in runs for problem in run.problems),
    )


def counted(count: int, of: int) -> Share:
    """A share with its interval."""
    if of == 0:
        return Share(count=0, of=0, value=None, low=None, high=None)
    low, high = wilson(count, of)
    return Share(count=count, of=of, value=count / of, low=low, high=high)


def area(hits: NDArray[np.float64], misses: NDArray[np.float64]) -> Area:
    """Area under the curve from the scores of hits (h,) and misses (m,), by the hits' ranks
    (Mann & Whitney, Ann. Math. Stat. 18 (1947) 50), ties in the middle.
    """
    if not len(hits) or not len(misses):
        return Area(value=None, low=None, high=None)
    ranks = rankdata(np.concatenate([hits, misses]))[: len(hits)]
    value = float((ranks.sum() - len(hits) * (len(hits) + 1) / 2) / (len(hits) * len(misses)))
    low, high = auc_interval(value, len(hits), len(misses))
    return Area(value=value, low=low, high=high)


def roc(run: RunScores) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The ROC curve's corners: shares (k,) of misses and of hits kept at each threshold that makes
    a difference, from (0, 0) to (1, 1); empty without hits or misses. Straight lines between them
    enclose `area`.
    """
    scored = np.isfinite(run.scores)
    hit, miss = is_truth(run, "hit") & scored, is_truth(run, "miss") & scored
    if not hit.any() or not miss.any():
        return np.empty(0), np.empty(0)
    thresholds = np.unique(run.scores[hit | miss])[::-1]
    kept_misses, kept_hits = (
        1 - np.searchsorted(np.sort(run.scores[of]), thresholds) / of.sum() for of in (miss, hit)
    )
    return np.concatenate([[0.0], kept_misses]), np.concatenate([[0.0], kept_hits])


def as_measured(evaluation: Evaluation) -> tuple[Measured, ...]:
    """The runs' rows as a model's card has them."""
    return tuple(
        Measured(
            run=row.run,
            hits=row.sensitivity.of,
            misses=row.specificity.of,
            sensitivity=row.sensitivity.value,
            specificity=row.specificity.value,
            area_under_curve=row.auc.value,
        )
        for row in evaluation.runs
    )


def _worst(rows: Sequence[RunMeasures], of: Callable[[RunMeasures], Share]) -> str | None:
    values = [(value, row.run) for row in rows if (value := of(row).value) is not None]
    return min(values, key=lambda pair: pair[0])[1] if values else None


def _has(labels: Sequence[Label | None], artefact: str) -> NDArray[np.bool_]:
    return _where(labels, lambda label: artefact in label.artefacts)


def _where(labels: Sequence[Label | None], holds: Callable[[Label], bool]) -> NDArray[np.bool_]:
    return np.array([label is not None and holds(label) for label in labels], np.bool_)
