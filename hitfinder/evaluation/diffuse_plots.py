"""Pictures of diffusion maps and of frames judged wrong, as PNG files. What this file does not
know: how a map was made.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hitfinder.dataset.frames import Series, Truth
from hitfinder.evaluation.frame_plots import GREYS, SHOWN, extremes, stretched
from hitfinder.evaluation.plots import BLUE, DPI, LONGEST, ORANGE, plain
from hitfinder.evaluation.scores import RunScores, read_region
from hitfinder.images.region import RegionSettings, plan_region
from hitfinder.inference.onnx_model import OnnxModel

WHOLE = RegionSettings(kind="whole")

NOISES = 4.0
"""Heights of a relief, in units of its noise, that are drawn black."""

MAPS_A_ROW = 4

WORST: tuple[tuple[Truth, bool, str], ...] = (
    ("hit", True, "Diffuse, with the lowest scores"),
    ("miss", False, "Others, with the highest scores"),
)


def plot_embedding(
    path: Path, maps: Mapping[str, NDArray[np.float64]], is_diffuse: NDArray[np.bool_]
) -> None:
    """Each map's points (n, k) in the coordinate that parts the classes best and the first of the
    others, diffuse frames in one colour, other hits in another.
    """
    cols = min(len(maps), MAPS_A_ROW)
    rows = -(-len(maps) // cols)
    figure = Figure(figsize=(5.2 * cols, 5.0 * rows), layout="constrained")
    panels = list(figure.subplots(rows, cols, squeeze=False).flat)
    for axes in panels:
        axes.set_axis_off()
    for axes, (title, points) in zip(panels, maps.items(), strict=False):
        axes.set_axis_on()
        best = int(np.argmax(_apart(points, is_diffuse)))
        first, second = sorted((best, int(best == 0)))
        for of, colour, name in (
            (~is_diffuse, BLUE, "other hits"),
            (is_diffuse, ORANGE, "diffuse"),
        ):
            axes.scatter(
                points[of, first], points[of, second], s=7, c=colour, label=name, alpha=0.6
            )
        axes.set(xlabel=f"coordinate {first + 1}", ylabel=f"coordinate {second + 1}")
        axes.set_title(plain(title))
        axes.locator_params(nbins=4)
        axes.ticklabel_format(scilimits=(-2, 2))
        axes.legend()
    figure.savefig(path, dpi=DPI)


def _apart(points: NDArray[np.float64], is_diffuse: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(k,): how far the classes' medians lie apart in each coordinate, in its quartiles."""
    between = np.median(points[is_diffuse], axis=0) - np.median(points[~is_diffuse], axis=0)
    spread = np.subtract(*np.percentile(points, [75, 25], axis=0))
    apart: NDArray[np.float64] = abs(between) / np.maximum(spread, 1e-30)
    return apart


def plot_worst_diffuse(
    path: Path, runs: Sequence[RunScores], series: Sequence[Series], model: OnnxModel
) -> None:
    """The diffuse frames with the lowest scores and the others with the highest, `SHOWN` of each,
    and below each what the model saw of it, its output `relief`.

    `series` are those that `runs` were scored from, their labels `as_diffuse`.
    Raises ConfigError and ModelRunError.
    """
    figure = Figure(figsize=(2.6 * SHOWN, 11.5), layout="constrained")
    parts = figure.subfigures(2, 1, squeeze=False).flat
    for part, (truth, lowest, title) in zip(parts, WORST, strict=True):
        part.supylabel(f"{title};\nbelow each, what was judged of it", fontsize=11)
        panels = part.subplots(2, SHOWN)
        for axes in panels.flat:
            axes.set_axis_off()
        for place, (run, number) in enumerate(extremes(runs, truth, lowest=lowest, n=SHOWN)):
            one, ref = series[run], series[run].frames[number]
            reader = plan_region(WHOLE, one.shape, one.detector, None)
            image = np.empty((1, *reader.shape), np.float32)
            if read_region(ref, reader, image[0]) is not None:
                continue
            score = float(runs[run].scores[number])
            names = ", ".join(ref.label.artefacts) if ref.label else ""
            _draw_frame(panels[0, place], image[0])
            lines = f"{runs[run].run} #{number}\nscore {score:.4f}\n{names[:LONGEST]}"
            panels[0, place].set_title(plain(lines), fontsize=8)
            seen = model.outputs(image).get("relief")
            if seen is not None:
                _draw(panels[1, place], seen[0])
    figure.savefig(path, dpi=DPI)


def plot_seen(path: Path, frames: Mapping[str, Mapping[str, NDArray[np.float32]]]) -> None:
    """What each method sees of the same frames: a row for each, named, its pixels first, and then
    heights, (rows, cols) or (colours, rows, cols), NaN = not measured; in one column all in the
    first row's spread.
    """
    columns = max(len(each) for each in frames.values())
    figure = Figure(figsize=(3.0 * columns, 3.3 * len(frames)), layout="constrained")
    rows = figure.subplots(len(frames), columns, squeeze=False)
    first = next(iter(frames.values()))
    highest = {title: float(NOISES / 2 * np.nanstd(heights)) for title, heights in first.items()}
    for panels, (name, pictures) in zip(rows, frames.items(), strict=True):
        for place, (axes, (title, pixels)) in enumerate(
            zip(panels, pictures.items(), strict=False)
        ):
            axes.set(xticks=[], yticks=[], title=plain(title))
            if place:
                _draw(axes, pixels, highest[title])
            else:
                _draw_frame(axes, pixels)
        panels[0].set_ylabel(plain(name))
    figure.savefig(path, dpi=DPI)


def _draw_frame(axes: Axes, pixels: NDArray[np.float32]) -> None:
    axes.imshow(stretched(pixels), cmap=GREYS, vmin=0, vmax=1, interpolation="none")


def _draw(axes: Axes, heights: NDArray[np.float32], highest: float = NOISES) -> None:
    """Heights (rows, cols) in greys, (3, rows, cols) in colours; dark is high."""
    if heights.ndim == 3:
        drawn = np.clip(0.5 - heights.transpose(1, 2, 0) / (2 * highest), 0, 1)
        axes.imshow(drawn, interpolation="none")
    else:
        axes.imshow(heights, cmap=GREYS, vmin=-highest, vmax=highest, interpolation="none")
