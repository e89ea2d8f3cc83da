"""What finders are worth on labelled frames, at equal terms: pure functions of scores.

A finder gives each frame a score; peak finders give the number of peaks. What this file does not
know: where scores come from.

Counts are coarse: two neighbouring thresholds may lie to both sides of the specificity that is
asked for. Then frames that have exactly the count between them are kept at random, with the
probability that gives the specificity asked for; figures are expected values over that (the
straight line between two corners of the ROC curve). Continuous scores are treated alike.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hitfinder.evaluation.intervals import wilson

Scores = NDArray[np.float64]
Setting = tuple[float, float, int]
"""OM's threshold, signal to noise, least pixels."""

POOLED = "All experiments"

MOST_COUNT = 60
"""Thresholds on the count that are tried: more than 0 to more than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """The frames of a file that are a hit or a miss, n of them, and their scores.

    scores: (n,) by finder; om: (n, settings) peaks by setting; kept: (n,) bool by those finders
    that bring a threshold of their own.
    """

    name: str
    hit: NDArray[np.bool_]
    strong: NDArray[np.bool_]
    weak: NDArray[np.bool_]
    artefacts: tuple[tuple[str, ...], ...]
    scores: Mapping[str, Scores]
    kept: Mapping[str, NDArray[np.bool_]]
    om: NDArray[np.int32]

    def having(self, artefact: str | None) -> NDArray[np.bool_]:
        """(n,): misses with an artefact; with any for None."""
        marred = [bool(each) if artefact is None else artefact in each for each in self.artefacts]
        return ~self.hit & np.array(marred, np.bool_)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A share of `of` frames and Wilson's 95 % interval; None where there are none."""

    value: float | None
    of: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A finder on an experiment: figures by question; `choice` says what was set for it."""

    experiment: str
    finder: str
    choice: Mapping[str, str]
    figures: Mapping[str, Figure]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Where finders are compared: at this specificity on all misses of an experiment, and at this
    sensitivity on its hits.
    """

    specificity: float
    sensitivity: float


Question = Callable[[Experiment, Scores], Figure]


def questions(terms: Terms, artefacts: Sequence[str]) -> dict[str, Question]:
    """Figures that need no threshold."""

    def weak(experiment: Experiment, scores: Scores) -> Figure:
        misses = scores[~experiment.hit]
        return _share(kept_share(scores[experiment.weak], misses, 1 - terms.specificity))

    def vetoed(artefact: str | None, tier: str) -> Question:
        def figure(experiment: Experiment, scores: Scores) -> Figure:
            hits = scores[experiment.strong if tier == "strong" else experiment.hit]
            kept, n = kept_share(scores[experiment.having(artefact)], hits, terms.sensitivity)
            return _share((None if kept is None else 1 - kept, n))

        return figure

    tier = f"Sen strong {terms.sensitivity:g}"
    return {
        f"Sen weak at Spe {terms.specificity:g}": weak,
        f"Spe marred at {tier}": vetoed(None, "strong"),
        f"Spe marred at Sen {terms.sensitivity:g}": vetoed(None, "all"),
    } | {
        f"Spe {each} at Sen strong {terms.sensitivity:g}": vetoed(each, "strong")
        for each in artefacts
    }


def kept_share(scores: Scores, reference: Scores, share: float) -> tuple[float | None, int]:
    """The expected share of `scores` kept at the threshold that keeps `share` of `reference`, and
    how many scores there are; None without either.
    """
    if not len(scores) or not len(reference):
        return None, len(scores)
    wanted = share * len(reference)
    place = min(int(wanted), len(reference) - 1)
    threshold = np.sort(reference)[::-1][place]
    ties = int((reference == threshold).sum())
    at_random = (wanted - int((reference > threshold).sum())) / ties
    kept = (scores > threshold).sum() + at_random * (scores == threshold).sum()
    return float(kept) / len(scores), len(scores)


def decided(experiment: Experiment, kept: NDArray[np.bool_]) -> dict[str, Figure]:
    """Figures at a finder's one threshold."""
    return {
        "Sen strong": _counted(kept[experiment.strong]),
        "Sen weak": _counted(kept[experiment.weak]),
        "Spe": _counted(~kept[~experiment.hit]),
    }


def rows(experiments: Sequence[Experiment], settings: Sequence[Setting], terms: Terms) -> list[Row]:
    """Every finder on every experiment. OM comes three times: with the one setting and count
    that have the highest mean balanced accuracy; with the one setting that is best for each
    column; and with the best for each column and experiment. All are chosen on the very frames
    they are judged on, which flatters OM.
    """
    artefacts = sorted({word for each in experiments for words in each.artefacts for word in words})
    asked = questions(terms, artefacts)
    accuracy = np.stack([_balanced(each, each.om) for each in experiments])  # (e, settings, counts)
    one = _argmax(accuracy.mean(axis=0))
    figures = {
        name: [[ask(each, om.astype(np.float64)) for om in each.om.T] for each in experiments]
        for name, ask in asked.items()
    }
    column = {name: int(np.argmax(_means(found))) for name, found in figures.items()}
    found_rows: list[Row] = []
    for place, each in enumerate(experiments):
        for finder, scores in each.scores.items():
            mine = {name: ask(each, scores) for name, ask in asked.items()}
            choice = {"threshold": "its own"}
            if finder in each.kept:
                kept = each.kept[finder]
            else:
                count = _best_count(experiments, finder)
                kept, choice = scores > count, {"threshold": f"more than {count} peaks"}
            found_rows.append(_row(each, finder, choice, mine | decided(each, kept)))
        setting, count = one
        mine = {name: found[place][setting] for name, found in figures.items()}
        choice = {"all": _told(settings[setting], count)}
        kept = each.om[:, setting] > count
        found_rows.append(_row(each, "OM, one setting", choice, mine | decided(each, kept)))
        choice = {name: _told(settings[at]) for name, at in column.items()}
        mine = {name: found[place][column[name]] for name, found in figures.items()}
        found_rows.append(_row(each, "OM, one for each column", choice, mine))
        own = {
            name: int(np.argmax([-1.0 if f.value is None else f.value for f in found[place]]))
            for name, found in figures.items()
        }
        setting, count = _argmax(accuracy[place])
        choice = {name: _told(settings[at]) for name, at in own.items()}
        choice["threshold"] = _told(settings[setting], count)
        mine = {name: found[place][own[name]] for name, found in figures.items()}
        kept = each.om[:, setting] > count
        found_rows.append(
            _row(each, "OM, best for column and file", choice, mine | decided(each, kept))
        )
    return found_rows


def pooled(found: Sequence[Row]) -> list[Row]:
    """Each finder on the frames of all experiments, thresholds still chosen in each of them. The
    interval is for more frames of these experiments, not for another experiment.
    """
    result = []
    for finder in dict.fromkeys(row.finder for row in found):
        mine = [row for row in found if row.finder == finder]
        figures = {}
        for question in mine[0].figures:
            told = [row.figures[question] for row in mine]
            kept = sum(f.value * f.of for f in told if f.value is not None)
            n = sum(f.of for f in told if f.value is not None)
            figures[question] = _share((kept / n if n else None, n))
        result.append(Row(experiment=POOLED, finder=finder, choice={}, figures=figures))
    return result


def markdown(found: Sequence[Row]) -> str:
    """A table for all experiments together and for each."""
    parts = []
    found = [*pooled(found), *found]
    for experiment in dict.fromkeys(row.experiment for row in found):
        mine = [row for row in found if row.experiment == experiment]
        names = [row.finder for row in mine]
        lines = ["| | frames | " + " | ".join(names) + " |", "|---|---:|" + "---:|" * len(names)]
        for question, figure in mine[0].figures.items():
            if figure.of:
                cells = [_text(row.figures.get(question)) for row in mine]
                lines.append(f"| {question} | {figure.of} | " + " | ".join(cells) + " |")
        parts += [f"## {experiment}", "\n".join(lines)]
    choices: dict[str, list[str]] = {}
    for row in found:
        told = [f"{name}: {choice}" for name, choice in row.choice.items()]
        where = row.finder if row.finder != "OM, best for column and file" else ""
        if where and told and where not in choices:
            choices[where] = told
    parts += ["## Settings", "\n".join(f"- {name}: {'; '.join(c)}" for name, c in choices.items())]
    return "\n\n".join(parts) + "\n"


def _balanced(experiment: Experiment, counts: NDArray[np.int32]) -> NDArray[np.float64]:
    """(settings, counts): mean of the sensitivity on hits, of all tiers, and the specificity, for
    every setting and every count above which a frame is kept; of what there is, where an
    experiment has no hits or no misses.
    """
    kept = counts[:, :, None] > np.arange(MOST_COUNT + 1)  # (n, settings, counts) bool
    right = [share[where] for share, where in ((kept, experiment.hit), (~kept, ~experiment.hit))]
    means = np.array([each.mean(axis=0) for each in right if len(each)], np.float64)
    balanced: NDArray[np.float64] = means.mean(axis=0)
    return balanced


def _best_count(experiments: Sequence[Experiment], finder: str) -> int:
    each = [_balanced(one, one.scores[finder][:, None].astype(np.int32))[0] for one in experiments]
    return int(np.argmax(np.mean(each, axis=0)))


def _argmax(values: NDArray[np.float64]) -> tuple[int, int]:
    setting, count = np.unravel_index(int(values.argmax()), values.shape)
    return int(setting), int(count)


def _means(found: Sequence[Sequence[Figure]]) -> list[float]:
    """The mean over experiments for each setting; experiments without such frames do not count."""
    told = [[f.value for f in each if f.value is not None] for each in found]
    full = [each for each in told if each]
    return np.mean(full, axis=0).tolist() if full else [0.0]


def _row(
    experiment: Experiment, finder: str, choice: dict[str, str], figures: dict[str, Figure]
) -> Row:
    return Row(experiment=experiment.name, finder=finder, choice=choice, figures=figures)


def _counted(kept: NDArray[np.bool_]) -> Figure:
    return _share((float(kept.mean()) if len(kept) else None, len(kept)))


def _share(found: tuple[float | None, int]) -> Figure:
    value, n = found
    if value is None or n == 0:
        return Figure(value=None, of=n)
    low, high = wilson(round(value * n), n)
    return Figure(value=value, of=n, low=low, high=high)


def _told(setting: Setting, count: int | None = None) -> str:
    adc, snr, pixels = setting
    words = f"threshold {'off' if adc < 0 else f'{adc:g}'}, S/N {snr:g}, {pixels} pixels"
    return words if count is None else f"{words}, more than {count} peaks"


def _text(figure: Figure | None) -> str:
    if figure is None or figure.value is None:
        return "–"
    return f"{figure.value:.3f} ({figure.low:.3f}–{figure.high:.3f})"
