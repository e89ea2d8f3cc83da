"""Rings about the beam, and their background."""

import numpy as np
import pytest

from hitfinder.peaks.rings import LEAST_PIXELS, level, make_rings, radius_map


def test_radius_counts_from_the_middle_of_pixels() -> None:
    radius = radius_map((3, 5), (0.5, 1.5))
    assert radius.shape == (3, 5)
    assert radius[0].tolist() == [1.0, 0.0, 1.0, 2.0, 3.0]
    assert radius[2, 1] == 2.0


@pytest.mark.parametrize("beam_px", [(50.0, 60.0), (0.0, 0.0), (-3000.0, 40.0)])
def test_rings_hold_enough_pixels_and_rise_with_the_radius(beam_px: tuple[float, float]) -> None:
    radius = radius_map((100, 120), beam_px)
    rings = make_rings(radius)
    sizes = np.bincount(rings.index.reshape(-1))
    assert len(sizes) == rings.n
    assert sizes.min() >= LEAST_PIXELS
    nearest_first = np.argsort(radius, axis=None)
    assert (np.diff(rings.index.reshape(-1)[nearest_first]) >= 0).all()


def test_a_tiny_image_is_one_ring() -> None:
    rings = make_rings(radius_map((3, 3), (1.5, 1.5)))
    assert rings.n == 1


def test_outliers_are_left_out() -> None:
    rng = np.random.default_rng(4)
    radius = radius_map((200, 200), (100.0, 100.0))
    rings = make_rings(radius)
    values = rng.normal(50.0, 3.0, (200, 200)).astype(np.float32)
    spots = rng.random((200, 200)) < 0.003
    values[spots] += 5000.0
    found = level(values, rings, np.ones(values.shape, np.bool_), 5.0)
    assert found.mean == pytest.approx(50.0, abs=1.5)
    assert found.sigma == pytest.approx(3.0, abs=1.2)
    assert np.median(found.mean) == pytest.approx(50.0, abs=0.1)
    assert np.median(found.sigma) == pytest.approx(3.0, abs=0.1)


def test_unmeasured_pixels_do_not_count() -> None:
    rings = make_rings(radius_map((60, 60), (30.0, 30.0)))
    values = np.random.default_rng(5).normal(100.0, 1.0, (60, 60)).astype(np.float32)
    measured = np.random.default_rng(6).random((60, 60)) < 0.5
    values[~measured] = 0.0
    found = level(values, rings, measured, 5.0)
    assert found.mean == pytest.approx(100.0, abs=1.5)
    assert np.median(found.sigma) == pytest.approx(1.0, abs=0.1)
    assert (found.excess[~measured] == 0).all()
    assert found.excess[measured] == pytest.approx(values[measured] - 100.0, abs=1.5)
    nothing = level(np.zeros((60, 60), np.float32), rings, np.zeros((60, 60), np.bool_), 5.0)
    assert np.isinf(nothing.sigma).all()
