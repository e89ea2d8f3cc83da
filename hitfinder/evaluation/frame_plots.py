"""The frames a model did worst on, as the model saw them.

Shows the region's pixels with the spot map over them, where the model has an output `spots`
(N, rows, cols) that is 0 to 1. What this file does not know: what the pixels mean.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from hitfinder.dataset.frames import Label, Series, Truth
from hitfinder.evaluation.measures import is_truth
from hitfinder.evaluation.plots import DPI, SKY, plain
from hitfinder.evaluation.scores import RunScores, read_region
from hitfinder.images.region import RegionSettings, plan_region
from hitfinder.inference.onnx_model import OnnxModel

SHOWN = 6
"""Hits, and misses."""

SIDE_PX = 450
"""Larger regions are shown by the brightest of each square of pixels, so that spots stay."""

BRIGHT = 99.8
"""Percentile of the pixels that is shown brightest."""

SPOT = 0.5
"""Where the spot map reaches it, a circle is drawn."""

CROWDED = 60
"""More circles than this are drawn smaller."""

NAME = 36
"""Letters of a name that fit over a frame."""

GREYS = colormaps["gray_r"].with_extremes(bad="#E8D9B0")
"""White is dark, black is bright, and what was not measured is neither."""

PARTS: tuple[tuple[Truth, bool, str], ...] = (
    ("hit", True, "Hits with the lowest scores"),
    ("miss", False, "Misses with the highest scores"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A frame to be shown."""

    name: str
    label: Label | None
    score: float
    pixels: NDArray[np.float32]  # (H, W), NaN = no measurement
    spots: NDArray[np.float32] | None  # (rows, cols), 0 to 1


def plot_worst(
    path: Path,
    runs: Sequence[RunScores],
    series: Sequence[Series],
    model: OnnxModel,
    region: RegionSettings,
) -> None:
    """The hits with the lowest scores and the misses with the highest, `SHOWN` of each.

    `series` are those that `runs` were scored from. Raises ConfigError and ModelRunError.
    """
    figure = Figure(figsize=(3.0 * SHOWN, 8.0), layout="constrained")
    parts: list[SubFigure] = list(figure.subfigures(2, 1, squeeze=False).flat)
    for part, (truth, lowest, title) in zip(parts, PARTS, strict=True):
        part.supylabel(title, fontsize=11)
        panels = part.subplots(1, SHOWN)
        for axes in panels:
            axes.set_axis_off()
        places = extremes(runs, truth, lowest=lowest, n=SHOWN)
        for axes, (run, number) in zip(panels, places, strict=False):
            shown = _read(runs[run], series[run], number, model, region)
            if shown is not None:
                _show(axes, shown)
    figure.savefig(path, dpi=DPI)


def extremes(
    runs: Sequence[RunScores], truth: Truth, *, lowest: bool, n: int
) -> list[tuple[int, int]]:
    """(index of the run, index of the frame in it) of the `n` frames of one truth with the lowest
    or the highest scores; of equal scores the first.
    """
    found = [
        (score if lowest else -score, run, number)
        for run, each in enumerate(runs)
        for number, (score, wanted) in enumerate(
            zip(each.scores.tolist(), is_truth(each, truth).tolist(), strict=True)
        )
        if wanted and math.isfinite(score)
    ]
    return [(run, number) for _, run, number in sorted(found)[:n]]


def stretched(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W) with NaN → (h, w) float32 from 0 to 1, NaN where nothing was measured, h and w at
    most about SIDE_PX: zero is the median, and a logarithm-like rise (asinh of multiples of the
    noise) shows faint spots beside bright ones.
    """
    step = max(1, math.ceil(max(pixels.shape) / SIDE_PX))
    if step > 1:
        rows, cols = (math.ceil(side / step) * step for side in pixels.shape)
        padding = ((0, rows - pixels.shape[0]), (0, cols - pixels.shape[1]))
        padded = np.pad(pixels, padding, constant_values=np.nan)
        pixels = np.fmax.reduce(padded.reshape(rows // step, step, cols // step, step), axis=(1, 3))
    low, middle, high, top = np.nanpercentile(pixels, (16, 50, 84, BRIGHT))
    noise = max((high - low) / 2, 1e-6 * max(abs(middle), 1e-30), 1e-30)
    raised = np.arcsinh((pixels - middle) / (2 * noise))
    bottom = np.arcsinh((low - middle) / noise)
    span = max(np.arcsinh((top - middle) / (2 * noise)) - bottom, 1e-6)
    shown: NDArray[np.float32] = np.clip((raised - bottom) / span, 0, 1).astype(np.float32)
    return shown


def _read(
    run: RunScores, series: Series, number: int, model: OnnxModel, region: RegionSettings
) -> Shown | None:
    """The frame again, with its spot map; None when it cannot be read this time."""
    reader = plan_region(region, series.shape, series.detector, None)
    batch = np.empty((1, *reader.shape), np.float32)
    if read_region(series.frames[number], reader, batch[0]) is not None:
        return None
    spots = model.outputs(batch).get("spots")
    ref = series.frames[number]
    of_its_own = len({each.path for each in series.frames}) == len(series.frames) > 1
    return Shown(
        name=ref.path.name if of_its_own else f"{run.run[-NAME:]} #{number}",
        label=ref.label,
        score=float(run.scores[number]),
        pixels=batch[0],
        spots=None if spots is None else spots[0],
    )


def _show(axes: Axes, shown: Shown) -> None:
    rows, cols = shown.pixels.shape
    axes.set_axis_on()
    axes.imshow(
        stretched(shown.pixels),
        cmap=GREYS,
        vmin=0,
        vmax=1,
        extent=(0, cols, rows, 0),
        interpolation="none",
    )
    if shown.spots is not None:
        down, across = np.nonzero(shown.spots >= SPOT)
        # Rounded, because the last cell of a row may reach beyond the region.
        height, width = round(rows / shown.spots.shape[0]), round(cols / shown.spots.shape[1])
        axes.scatter(
            (across + 0.5) * width,
            (down + 0.5) * height,
            s=30 if len(down) <= CROWDED else 8,
            facecolors="none",
            edgecolors=SKY,
            linewidths=0.9,
        )
    axes.set(xlim=(0, cols), ylim=(rows, 0), xticks=[], yticks=[])
    label = shown.label
    tier = f", {label.tier}" if label is not None and label.tier is not None else ""
    artefacts = ", ".join(label.artefacts) if label is not None else ""
    lines = (shown.name, f"score {shown.score:.4f}{tier}", artefacts[:NAME])
    axes.set_title(plain("\n".join(filter(None, lines))), fontsize=9)
