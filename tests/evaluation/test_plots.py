"""Pictures are drawn, hold something, and are the same every time."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from hitfinder.dataset.series import open_series
from hitfinder.evaluation.curves import Epoch
from hitfinder.evaluation.frame_plots import SIDE_PX, extremes, plot_worst, stretched
from hitfinder.evaluation.measures import Evaluation, evaluate
from hitfinder.evaluation.plots import (
    plot_confusion,
    plot_curves,
    plot_roc,
    plot_runs,
    plot_scores,
)
from hitfinder.evaluation.scores import RunScores, score_series
from hitfinder.images.region import RegionSettings
from hitfinder.inference.model_card import find_artifact
from hitfinder.inference.onnx_model import OnnxModel
from tests.evaluation.runs import AMBIGUOUS, MISS, STRONG, random_run, scored, write_spotted

ONE_CLASS = scored("misses", (0.1, MISS), (0.7, MISS))
NOTHING = scored("nothing", (0.1, AMBIGUOUS), (0.7, None))
CASES = {
    "many": [random_run(seed, name="a-long-name-of-a-run-and-more-") for seed in range(7)],
    "one": [random_run(1)],
    "dollars": [random_run(seed, name="$x_$y^") for seed in range(2)],
    "one class": [ONE_CLASS, random_run(2)],
    "only one class": [ONE_CLASS],
    "nothing": [NOTHING],
}
Draw = Callable[[Path, list[RunScores], Evaluation], None]


def draw_runs(path: Path, runs: list[RunScores], evaluation: Evaluation) -> None:
    plot_runs(path, evaluation)


def is_drawn(path: Path) -> bool:
    """Whether the picture holds more than a background."""
    pixels = imread(path)[..., :3]
    return bool(pixels.std() > 0.01 and min(pixels.shape[:2]) > 100)


@pytest.mark.parametrize("draw", [plot_roc, plot_scores, plot_confusion, draw_runs])
@pytest.mark.parametrize("case", CASES)
def test_plots_of_scores(tmp_path: Path, draw: Draw, case: str) -> None:
    runs = CASES[case]
    draw(tmp_path / "plot.png", runs, evaluate(runs, 0.5))
    assert is_drawn(tmp_path / "plot.png")


def test_equal_scores_give_equal_pictures(tmp_path: Path) -> None:
    runs = CASES["one class"]
    for name in ("a.png", "b.png"):
        plot_roc(tmp_path / name, runs, evaluate(runs, 0.5))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_curves_are_drawn(tmp_path: Path) -> None:
    losses = ((0.7, 0.71), (0.5, None), (0.3, 0.4))
    epochs = [Epoch(epoch=n, loss=a, validation_loss=b) for n, (a, b) in enumerate(losses)]
    plot_curves(tmp_path / "curves.png", epochs)
    assert is_drawn(tmp_path / "curves.png")
    plot_curves(tmp_path / "some.png", epochs[1:2])
    assert is_drawn(tmp_path / "some.png")


@pytest.mark.parametrize("kind", ["center", "whole"])
def test_the_worst_frames(tmp_path: Path, kind: str) -> None:
    paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
    for seed, path in enumerate(paths):
        write_spotted(path, 6, seed)
    series = open_series(paths)
    model = OnnxModel.load(find_artifact("spotcount", tmp_path), device="cpu")
    region = RegionSettings(kind="whole" if kind == "whole" else "center")
    runs = [score_series(each, model, region) for each in series]
    plot_worst(tmp_path / "worst.png", runs, series, model, region)
    assert is_drawn(tmp_path / "worst.png")
    paths[1].unlink()  # gone meanwhile: the others are drawn
    plot_worst(tmp_path / "rest.png", runs, series, model, region)
    assert is_drawn(tmp_path / "rest.png")


def test_which_frames_are_worst() -> None:
    runs = [
        scored("a", (0.9, STRONG), (0.3, STRONG), (0.1, MISS), (np.nan, STRONG)),
        scored("b", (0.1, STRONG), (0.8, MISS), (0.3, STRONG), (0.0, AMBIGUOUS)),
    ]
    assert extremes(runs, "hit", lowest=True, n=3) == [(1, 0), (0, 1), (1, 2)]
    assert extremes(runs, "miss", lowest=False, n=3) == [(1, 1), (0, 2)]


def test_a_faint_spot_shows_beside_a_bright_one_in_a_large_frame() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.normal(100, 3, (2000, 1501)).astype(np.float32)
    pixels[500, 500], pixels[1500, 1500] = 150, 60_000
    pixels[:, 700:710] = np.nan
    shown = stretched(pixels)
    step = 5
    assert shown.shape == (400, 301)
    assert max(shown.shape) <= SIDE_PX
    faint, bright = shown[500 // step, 500 // step], shown[1500 // step, 1500 // step]
    assert np.nanmedian(shown) < 0.7 < faint <= bright == 1.0
    assert np.isnan(shown).any(axis=0).sum() == 2


@pytest.mark.parametrize("value", [0.0, -5.0, 1e30])
def test_a_constant_frame_can_be_shown(value: float) -> None:
    shown = stretched(np.full((20, 30), value, np.float32))
    assert np.isfinite(shown).all()
