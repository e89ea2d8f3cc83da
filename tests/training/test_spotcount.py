"""The shipped spot counter on frames whose truth is known."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hitfinder.inference.model_card import GRAPH, load_card, shipped_models
from hitfinder.inference.onnx_model import OnnxModel
from hitfinder.training import spotcount
from tests.training.frames import (
    Pixels,
    Rng,
    background,
    hot_pixels,
    poisson,
    tracks,
    with_spots,
)

HIT = 0.7
"""Clearly a hit: 10 spots score 0.735."""
MISS = 0.1
"""Clearly a miss: 2 spots score 0.1."""


@pytest.fixture(scope="module")
def model() -> OnnxModel:
    return OnnxModel.load(shipped_models() / "spotcount", "cpu")


@pytest.fixture
def rng() -> Rng:
    return np.random.default_rng(20181)


def score(model: OnnxModel, *frames: NDArray[np.floating]) -> NDArray[np.float32]:
    return model.score(np.stack(frames).astype(np.float32))


def test_recipe_makes_the_shipped_artifact(tmp_path: Path) -> None:
    made = spotcount.build(tmp_path)
    assert made == load_card(shipped_models() / "spotcount")
    assert (tmp_path / GRAPH).read_bytes() == (shipped_models() / "spotcount" / GRAPH).read_bytes()


@pytest.mark.parametrize("photons", [0.01, 0.1, 1.0, 10.0, 100.0])
@pytest.mark.parametrize("width_px", [0.7, 1.0, 2.0, 4.0])
def test_crystals_are_hits(model: OnnxModel, rng: Rng, photons: float, width_px: float) -> None:
    field = background(photons)
    frames = [
        poisson(with_spots(field, rng, spots=30, snr=5.0, width_px=width_px), rng) for _ in range(4)
    ]
    assert score(model, *frames).min() > HIT


@pytest.mark.parametrize("photons", [0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0])
def test_background_alone_is_a_miss(model: OnnxModel, rng: Rng, photons: float) -> None:
    frames = [poisson(background(photons), rng) for _ in range(8)]
    assert score(model, *frames).max() < MISS


@pytest.mark.parametrize("spots", [0, 1, 12, 40])
def test_counts_what_is_there(model: OnnxModel, rng: Rng, spots: int) -> None:
    field = with_spots(np.full((700, 700), 3.0), rng, spots, snr=30.0, width_px=1.5)
    outputs = model.outputs(poisson(field, rng)[None])
    count = float(outputs["count"][0])
    assert 0.85 * spots - 1 <= count <= spots
    assert outputs["spots"].sum() == count
    np.testing.assert_allclose(outputs["score"], count**2 / (count**2 + 36), rtol=1e-6)


def test_spot_map_shows_where(model: OnnxModel, rng: Rng) -> None:
    frame = poisson(np.full((203, 301), 2.0), rng)
    frame[52, 117] += 60
    frame[53, 117] += 30
    spots = model.outputs(frame[None])["spots"]
    assert spots.shape == (1, 41, 61)
    assert np.argwhere(spots).tolist() == [[0, 10, 23]]


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (lambda x: x * 1000, 0),
        (lambda x: x * 1e-4, 0),
        (lambda x: x + 500, 0),
        (lambda x: 25 * x - 3000, 0),
        # The cells' borders fall elsewhere: spots near each other may be one or two.
        (lambda x: x[:, ::-1], 4),
        (lambda x: x.T, 4),
    ],
    ids=["gain", "small gain", "offset", "gain and offset", "mirror", "transpose"],
)
def test_units_and_orientation_do_not_matter(
    model: OnnxModel, rng: Rng, change: Callable[[Pixels], Pixels], difference: int
) -> None:
    hit = poisson(with_spots(background(2.0), rng, 30, snr=8.0, width_px=1.2), rng)
    miss = poisson(background(2.0), rng)
    plain, changed = (
        model.outputs(np.stack(pair).astype(np.float32))["count"]
        for pair in ((hit, miss), (change(hit), change(miss)))
    )
    np.testing.assert_allclose(changed, plain, atol=difference)


def gaussian_steps(rng: Rng) -> Pixels:
    """Readout noise, and a different pedestal in each chip."""
    chips = np.kron(rng.normal(0, 60, (5, 5)), np.ones((175, 175)))
    return (chips + rng.normal(0, 5, chips.shape)).astype(np.float32)


def rings(rng: Rng) -> Pixels:
    y, x = np.ogrid[:875, :875]
    radius = np.hypot(y - 430, x - 440)
    return poisson(1 + 40 * np.exp(-(((radius % 160) - 80) ** 2) / 200), rng)


def double_lines(rng: Rng) -> Pixels:
    """Pixels twice the size between the chips of a module."""
    field = np.full((875, 875), 100.0)
    field[::175] *= 2
    field[:, ::175] *= 2
    return poisson(field, rng)


def smoothed_noise(rng: Rng) -> Pixels:
    """Neighbouring pixels vary together, as behind a camera's fibre optics."""
    noise = rng.normal(100, 20, (877, 877))
    for axis in (0, 1):
        noise = (np.roll(noise, -1, axis) + noise + np.roll(noise, 1, axis)) / 3
    return noise.astype(np.float32)


NO_CRYSTALS: dict[str, Callable[[Rng], Pixels]] = {
    "steps": gaussian_steps,
    "rings": rings,
    "double lines": double_lines,
    "smoothed noise": smoothed_noise,
    "hot pixels": lambda rng: hot_pixels(
        poisson(background(1.0, 875, 875), rng), rng, 20, 300, 1e6
    ),
    "hot pixels in the dark": lambda rng: hot_pixels(
        poisson(np.full((875, 875), 1e-3), rng), rng, 20, 100, 1e5
    ),
    "cosmics in the dark": lambda rng: tracks(
        poisson(np.full((875, 875), 1e-3), rng), rng, 20, length=12, height=1.0
    ),
    "weak photons and readout noise": lambda rng: (
        poisson(np.full((875, 875), 0.05), rng) + rng.normal(0, 0.1, (875, 875)).astype(np.float32)
    ),
}


@pytest.mark.parametrize("kind", NO_CRYSTALS)
def test_what_is_no_crystal_is_a_miss(model: OnnxModel, rng: Rng, kind: str) -> None:
    assert score(model, NO_CRYSTALS[kind](rng))[0] < MISS


@pytest.mark.parametrize("photons", [0.001, 0.1])
def test_false_alarms_do_not_grow_with_the_area(model: OnnxModel, rng: Rng, photons: float) -> None:
    frame = rng.poisson(photons, (4362, 4148)).astype(np.float32)
    assert model.outputs(frame[None])["count"][0] <= 1


@pytest.mark.parametrize("value", [0.0, -5.0, 0.1, 7.0, 65535.0, 1e30, np.nan, np.inf, -np.inf])
def test_nothing_to_see_is_a_miss(model: OnnxModel, value: float) -> None:
    assert score(model, np.full((120, 80), value)).tolist() == [0.0]


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (400, 1), (4, 3), (6, 6), (11, 12), (26, 351)])
def test_any_shape_has_a_score(model: OnnxModel, rng: Rng, shape: tuple[int, int]) -> None:
    frames = rng.poisson(3.0, (2, *shape)).astype(np.float32)
    scores = model.score(frames)
    assert scores.shape == (2,)
    assert scores.max() < MISS


def test_frames_of_a_batch_do_not_see_each_other(model: OnnxModel, rng: Rng) -> None:
    hit = poisson(with_spots(background(2.0), rng, 30, snr=8.0, width_px=1.2), rng)
    miss = poisson(background(2.0), rng)
    blind = np.full_like(miss, np.nan)
    together = score(model, hit, miss, blind)
    alone = [score(model, each)[0] for each in (hit, miss, blind)]
    np.testing.assert_allclose(together, alone, rtol=1e-6)


def test_gaps_do_not_hide_a_hit_nor_make_one(model: OnnxModel, rng: Rng) -> None:
    hit = poisson(with_spots(background(2.0), rng, 40, snr=8.0, width_px=1.2), rng)
    miss = poisson(background(2.0), rng) + 1000
    for frame in (hit, miss):
        frame[100:117] = np.nan
        frame[:, 200:210] = np.nan
        frame[rng.random(frame.shape) < 0.01] = np.nan
    hit_score, miss_score = score(model, hit, miss)
    assert hit_score > HIT
    assert miss_score < MISS
