"""Pictures of diffusion maps, as PNG files. What this file does not know: how a map was made."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hitfinder.evaluation.plots import BLUE, DPI, ORANGE


def plot_embedding(
    path: Path, maps: Mapping[str, NDArray[np.float64]], is_diffuse: NDArray[np.bool_]
) -> None:
    """Each map's points (n, k) in the two coordinates that part the classes best, diffuse frames
    in one colour, other hits in another.
    """
    figure = Figure(figsize=(5.2 * len(maps), 5.0), layout="constrained")
    for axes, (title, points) in zip(
        figure.subplots(1, len(maps), squeeze=False)[0], maps.items(), strict=True
    ):
        first, second = sorted(np.argsort(_apart(points, is_diffuse))[::-1][:2])
        for of, colour, name in (
            (~is_diffuse, BLUE, "other hits"),
            (is_diffuse, ORANGE, "diffuse"),
        ):
            axes.scatter(
                points[of, first], points[of, second], s=7, c=colour, label=name, alpha=0.6
            )
        axes.set(title=title, xlabel=f"coordinate {first + 1}", ylabel=f"coordinate {second + 1}")
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
