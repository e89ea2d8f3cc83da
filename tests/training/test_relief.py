"""The half of the diffuse models that learns nothing: what it takes off, and what cannot matter."""

from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hitfinder.inference.sessions import cpu_session
from hitfinder.training.fixed import pictures_of, textures_of
from hitfinder.training.networks.colours import COLOURS
from hitfinder.training.networks.relief import BINS, CHANNELS, Radii
from hitfinder.training.networks.relief import relief as add_relief
from hitfinder.training.networks.texture import CELLS, TEXTURES
from hitfinder.training.onnx_graph import Graph
from tests.training.rough import rough

FLAT, LEFT, BROAD, THERE = range(CHANNELS)
COARSEST_FLAT = 15
"""The texture's channel of mean squares, eight times as coarse."""


@lru_cache
def session() -> Any:
    g = Graph()
    return cpu_session(g.stage("features", add_relief(g, 224), (CHANNELS, 224, 224)))


def relief(image: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = session().run(None, {"image": image[np.newaxis]})[0][0]
    return found


def size(maps: NDArray[np.float32]) -> float:
    """Root mean square of heights where measured, away from the very centre and edges."""
    known = maps[THERE] > 0
    return float(np.sqrt(np.mean(maps[LEFT][known] ** 2)))


@pytest.mark.parametrize(("gain", "offset"), [(0.01, 0.0), (1000.0, 0.0), (3.0, 200.0)])
def test_gain_unit_and_offset_do_not_matter(gain: float, offset: float) -> None:
    image = rough(1, strength=0.2)
    known, other = relief(image), relief(image * np.float32(gain) + np.float32(offset))
    np.testing.assert_allclose(other, known, atol=0.06)


@pytest.mark.parametrize("centre", [(0.5, 0.5), (0.35, 0.6), (-0.1, -0.2)])
def test_a_round_background_about_any_centre_leaves_noise(centre: tuple[float, float]) -> None:
    assert size(relief(rough(2, centre=centre, shape=(640, 640)))) < 1.9
    assert size(relief(rough(2, centre=centre, shape=(640, 640), strength=0.3))) > 3


def test_spots_are_left_out() -> None:
    image = rough(3, shape=(640, 640), spots=0)
    spotty = image.copy()
    spotty[100:600:32, 100:600:32] += 10_000
    without, with_ = relief(image), relief(spotty)
    assert abs(with_[FLAT]).max() < abs(without[FLAT]).max() + 2
    assert size(with_) < 1.1 * size(without)


def test_what_was_not_measured_is_nothing() -> None:
    image = rough(4, shape=(512, 512))
    image[:, 200:260] = np.nan
    maps = relief(image)
    assert np.isfinite(maps).all()
    assert not maps[:, :, 90:112].any()
    assert maps[THERE, :, :84].mean() > 0.95
    image[:, 200:260] = 0  # measured, and dark
    assert abs(relief(image)[LEFT, :, 90:112]).mean() > 2


def test_missing_pixels_cost_what_lies_beside_them_only() -> None:
    image = rough(5, shape=(448, 448), spots=0)
    whole = relief(image)[THERE]
    image[224:232, 100] = np.nan
    changed = relief(image)[THERE] != whole
    assert changed.any()
    # 224 places of 2 pixels, pools of two places.
    changed[112:116, 48:52] = False
    assert not changed.any()


def test_the_radial_mean_is_linear_between_bins() -> None:
    g = Graph()
    places = np.random.default_rng(8).uniform(0, BINS - 1, 500).astype(np.float32)
    places[:4] = 0, BINS - 1, 8, 15.5
    radii = Radii(g, "image")
    g.op("Identity", radii.read(radii.sums(g.constant(np.ones((1, 500), np.float32)))), name="back")
    model = g.model("radii", {"image": ("N", "places")}, {"back": ("N", "places")}, "Radii.")
    session = cpu_session(model.SerializeToString())
    hats = np.maximum(0, 1 - abs(places[:, np.newaxis] - np.arange(BINS)))
    found = session.run(None, {"image": places[np.newaxis]})[0]
    np.testing.assert_allclose(found[0], hats @ hats.sum(0), rtol=1e-4)


@pytest.mark.parametrize("value", [np.nan, 0.0, 7.0])
def test_an_image_of_nothing_or_of_one_value_shows_nothing(value: float) -> None:
    image = np.full((128, 160), value, np.float32)
    maps, textures = relief(image), textures_of(image[np.newaxis])
    assert np.isfinite(maps).all()
    assert np.isfinite(textures).all()
    assert abs(maps[:LEFT]).max() < 0.1


@pytest.mark.parametrize("shape", [(350, 350), (512, 1024), (1062, 1028), (6385, 388)])
def test_any_size_fits_in(shape: tuple[int, int]) -> None:
    maps = relief(rough(5, shape=shape))
    assert maps.shape == (CHANNELS, 224, 224)
    rows, cols = (int((maps[THERE].max(axis) > 0).sum()) for axis in (1, 0))
    assert rows / cols == pytest.approx(shape[0] / shape[1], rel=0.1)
    assert max(rows, cols) >= 222


def test_texture_tells_noise_from_what_is_alike_nearby() -> None:
    noise, diffuse = (textures_of(rough(6, strength=s)[np.newaxis])[0] for s in (0.0, 0.3))
    assert noise.shape == (TEXTURES, CELLS, CELLS)
    assert np.median(diffuse[COARSEST_FLAT]) > np.median(noise[COARSEST_FLAT]) + 1


def test_turning_a_frame_turns_its_texture() -> None:
    image = rough(7, strength=0.2, shape=(448, 448))
    straight = textures_of(image[np.newaxis])[0]
    turned = textures_of(np.rot90(image).copy()[np.newaxis])[0]
    difference = abs(np.rot90(straight, axes=(1, 2)) - turned)
    assert np.median(difference) < 0.7 * np.median(abs(straight - turned))


def test_noise_varies_as_much_in_every_colour_and_diffuse_scattering_does_not() -> None:
    shape = (672, 672)
    noise, diffuse = (
        pictures_of(rough(8, shape=shape, strength=each)[np.newaxis])[0] for each in (0.0, 0.2)
    )
    assert noise.shape == (COLOURS, 112, 112)
    quiet, loud = (maps[:, 8:-8, 8:-8].std(axis=(1, 2)) for maps in (noise, diffuse))
    np.testing.assert_allclose(quiet, 1.2, atol=0.25)
    assert loud[0] < loud[1] < loud[2]
    assert loud[2] > 2 * quiet[2]
    image = rough(8, shape=shape)
    image[:, 96:192] = np.nan  # sixteen places
    assert not pictures_of(image[np.newaxis])[0][:, :, 16:32].any()
