"""Pictures of scores and measures, as PNG files.

Colours are Okabe and Ito's, which colour-blind people tell apart; where there are more lines than
colours, dashes tell them apart. Figures are made without pyplot: no window, no state between them.
What this file does not know: images (`frame_plots`), and where the scores come from.
"""

import math
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hitfinder.dataset.frames import Truth
from hitfinder.evaluation.curves import Epoch
from hitfinder.evaluation.measures import Evaluation, RunMeasures, Share, is_truth, pooled, roc
from hitfinder.evaluation.scores import RunScores

BLUE, ORANGE, GREEN, PINK, SKY, YELLOW = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00"),
)
COLOURS = (BLUE, ORANGE, GREEN, PINK, SKY, YELLOW)
DASHES = ("-", "--", ":", "-.")
DPI = 110
BINS = np.linspace(0.0, 1.0, 41)
COLUMNS = 4
"""Panels beside one another."""

LONGEST = 28
"""Letters of a run's name in a picture."""


def plot_roc(path: Path, runs: Sequence[RunScores], evaluation: Evaluation) -> None:
    """ROC curves of the runs and of all: whole, and the corner where a hit finder works. The
    points are what the threshold gives.
    """
    figure = Figure(figsize=(12, 5.4), layout="constrained")
    whole, corner = figure.subplots(1, 2)
    lines = list(_with_all(runs, evaluation))
    for at, (run, row) in enumerate(lines):
        kept_misses, kept_hits = roc(run)
        if not len(kept_misses):
            continue
        last = at == len(lines) - 1
        colour = "black" if last else COLOURS[at % len(COLOURS)]
        dashes = "-" if last else DASHES[at // len(COLOURS) % len(DASHES)]
        name = f"{_short(row.run)}  {row.auc.value:.4f}"
        veto, keep = row.specificity.value or 0.0, row.sensitivity.value or 0.0
        for axes in (whole, corner):
            axes.plot(kept_misses, kept_hits, dashes, color=colour, lw=2.2 if last else 1.4)
            axes.plot(1 - veto, keep, "o", color=colour, ms=7 if last else 5, mec="white", zorder=3)
        whole.plot([], [], dashes, color=colour, lw=2.2 if last else 1.4, label=name)
    whole.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), title="ROC")
    corner.set(xlim=(-0.002, 0.1), ylim=(0.9, 1.002), title="ROC, its upper left corner")
    for axes in (whole, corner):
        axes.set(xlabel="share of misses kept", ylabel="share of hits kept")
        axes.grid(alpha=0.3)
    if whole.get_legend_handles_labels()[0]:
        figure.legend(
            *whole.get_legend_handles_labels(),
            loc="outside right upper",
            title="run, area under curve",
            frameon=False,
            fontsize=8,
        )
    figure.savefig(path, dpi=DPI)


def plot_scores(path: Path, runs: Sequence[RunScores], evaluation: Evaluation) -> None:
    """Histograms of the scores by truth, a panel a run, with the threshold."""
    lines = list(_with_all(runs, evaluation))
    figure, panels = _panels(len(lines), height=2.4)
    for axes, (run, row) in zip(panels, lines, strict=False):
        most = max(
            _histogram(axes, run, "miss", BLUE, filled=True),
            _histogram(axes, run, "hit", ORANGE, filled=False),
        )
        axes.axvline(evaluation.threshold, color="black", lw=1.2, ls="--", label="threshold")
        axes.set(xlim=(0, 1), ylim=(0.5, 2.0 * max(most, 10)), yscale="log")
        axes.set_title(_short(row.run), fontsize=9)
        axes.tick_params(labelsize=8)
    figure.supxlabel("score", fontsize=10)
    figure.supylabel("frames", fontsize=10)
    figure.legend(
        *panels[len(lines) - 1].get_legend_handles_labels(),
        loc="outside upper center",
        ncols=3,
        frameon=False,
    )
    figure.savefig(path, dpi=DPI)


def plot_confusion(path: Path, runs: Sequence[RunScores], evaluation: Evaluation) -> None:
    """A confusion matrix a run: how many hits and misses were kept and vetoed. A field's shade is
    its share of its row.
    """
    lines = list(_with_all(runs, evaluation))
    figure, panels = _panels(len(lines), height=2.5)
    for axes, (_, row) in zip(panels, lines, strict=False):
        shares = (row.sensitivity, row.specificity)
        kept = (row.sensitivity.count, row.specificity.of - row.specificity.count)
        counts = np.array(
            [[count, share.of - count] for count, share in zip(kept, shares, strict=True)]
        )
        table = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)  # (2, 2)
        axes.imshow(table, cmap="Blues", vmin=0, vmax=1)
        for (down, across), share in np.ndenumerate(table):
            text = f"{counts[down, across]}\n{share:.2%}" if counts[down].sum() else "–"
            colour = "white" if share > 0.5 else "black"
            axes.text(across, down, text, ha="center", va="center", color=colour, fontsize=9)
        axes.set_xticks([0, 1], ["kept", "vetoed"], fontsize=8)
        axes.set_yticks([0, 1], ["hit", "miss"], fontsize=8)
        axes.tick_params(length=0)
        axes.set_title(_short(row.run), fontsize=9)
    figure.savefig(path, dpi=DPI)


def plot_runs(path: Path, evaluation: Evaluation) -> None:
    """Sensitivity and specificity of each run with their 95 % intervals; what weak hits and misses
    with artefacts make of them apart.
    """
    rows = evaluation.rows
    figure = Figure(figsize=(11, 1.7 + 0.42 * len(rows)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _dots(left, [row.sensitivity for row in rows], 0.0, ORANGE, "o", "all hits")
    _dots(left, [row.strong for row in rows], -0.2, GREEN, "^", "strong hits")
    _dots(left, [row.weak for row in rows], 0.2, PINK, "v", "weak hits")
    _dots(right, [row.specificity for row in rows], 0.0, BLUE, "o", "all misses")
    if evaluation.overall.with_artefacts.of:
        _dots(right, [row.clean for row in rows], -0.2, SKY, "^", "without artefacts")
        _dots(right, [row.with_artefacts for row in rows], 0.2, YELLOW, "v", "with artefacts")
    for axes, title in ((left, "sensitivity"), (right, "specificity")):
        axes.set_xlabel(f"{title}, 95 % interval")
        axes.grid(axis="x", alpha=0.3)
        if len(evaluation.runs) > 1:
            axes.axhline(len(rows) - 1.5, color="black", lw=0.8)
        axes.margins(x=0.03)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(
                loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=8
            )
    left.set_yticks(range(len(rows)), [_short(row.run) for row in rows])
    left.set_ylim(len(rows) - 0.5, -0.5)
    figure.savefig(path, dpi=DPI)


def plot_curves(path: Path, epochs: Sequence[Epoch]) -> None:
    """Losses by epoch; the lowest held-out loss is marked."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    at = [each.epoch for each in epochs]
    losses = [each.loss for each in epochs]
    held_out = [
        (each.epoch, each.validation_loss) for each in epochs if each.validation_loss is not None
    ]
    axes.plot(at, losses, color=BLUE, label="trained on")
    if held_out:
        axes.plot(*zip(*held_out, strict=True), "--", color=ORANGE, label="held out")
        best = min(held_out, key=itemgetter(1))
        axes.plot(*best, "o", color=ORANGE, label=f"lowest, {best[1]:.4g}")
    if min(losses + [loss for _, loss in held_out]) > 0:
        axes.set_yscale("log")
    axes.set(xlabel="epoch", ylabel="loss", title="Training")
    axes.grid(alpha=0.3, which="both")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=DPI)


def _with_all(
    runs: Sequence[RunScores], evaluation: Evaluation
) -> list[tuple[RunScores, RunMeasures]]:
    """Scores and row of each run and, last, of all; a single run is all there is."""
    pairs = list(zip(runs, evaluation.runs, strict=True))
    return pairs if len(pairs) == 1 else [*pairs, (pooled(runs), evaluation.overall)]


def _panels(n: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with `n` panels used; the rest of the last row is left empty."""
    across = min(n, COLUMNS)
    down = math.ceil(n / across)
    figure = Figure(figsize=(max(4.5, 2.9 * across), 0.7 + height * down), layout="constrained")
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    for axes in panels[n:]:
        axes.set_axis_off()
    return figure, panels


def _histogram(axes: Axes, run: RunScores, truth: Truth, colour: str, *, filled: bool) -> int:
    """Draw it; the most frames in a bin."""
    scores = run.scores[is_truth(run, truth) & np.isfinite(run.scores)]
    counts, _ = np.histogram(scores, BINS)
    name = {"hit": "hits", "miss": "misses"}[truth]
    alpha = 0.35 if filled else 1.0
    axes.stairs(counts, BINS, fill=filled, color=colour, alpha=alpha, lw=1.6, label=name)
    return int(counts.max())


def _dots(
    axes: Axes, shares: Sequence[Share], shift: float, colour: str, marker: str, name: str
) -> None:
    """A dot with its interval a row, `shift` of a row below its middle; none where undefined."""
    points = [
        (at + shift, share.value, share.low, share.high)
        for at, share in enumerate(shares)
        if share.value is not None
    ]
    if not points:
        return
    y, value, low, high = np.array(points, np.float64).T
    reach = np.abs(np.stack([value - low, high - value]))
    axes.errorbar(value, y, xerr=reach, fmt=marker, color=colour, ms=5, lw=1.5, label=name)


def _short(name: str) -> str:
    return plain(name if len(name) <= LONGEST else f"…{name[1 - LONGEST :]}")


def plain(text: str) -> str:
    """What somebody else named, as it stands: matplotlib reads formulas between two dollars."""
    return text.replace("$", r"\$")
