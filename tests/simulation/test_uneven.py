"""The coarse grid, uneven backgrounds, and binned runs."""

from dataclasses import replace

import numpy as np
import pytest

from hitfinder.simulation.binned import binned
from hitfinder.simulation.coarse import Coarse
from hitfinder.simulation.run import Diffuse, Unevenness
from hitfinder.simulation.scattering import Shot
from hitfinder.simulation.simulator import Simulator
from hitfinder.simulation.unevenness import Uneven
from tests.simulation.runs import INTEGRATING, PLAIN


def test_what_is_linear_is_drawn_out_exactly() -> None:
    coarse = Coarse(PLAIN, 7.0)
    maps = Simulator(PLAIN).maps
    image = coarse.drawn_out(3 * coarse.x_px - 2 * coarse.y_px)
    np.testing.assert_allclose(image, 3 * maps.x_px - 2 * maps.y_px, atol=1e-2)
    np.testing.assert_allclose(coarse.drawn_out(coarse.s)[30:], maps.s[30:], atol=0.02)


def test_a_background_is_uneven_in_another_way_each_shot() -> None:
    settings = Unevenness(amplitude=0.1, spread=0.3, shadow_share=0.0)
    uneven = Uneven(PLAIN, settings, np.random.default_rng(1))
    rng = np.random.default_rng(2)
    one, other = uneven.factor(rng), uneven.factor(rng)
    assert one.shape == (160, 160)
    assert one.mean() == pytest.approx(1.0, abs=0.05)
    assert 0.02 < one.std() < 0.2
    assert abs(one - other).max() > 0.005
    shaded = replace(settings, shadow_share=1.0)
    assert Uneven(PLAIN, shaded, np.random.default_rng(1)).factor(rng).min() < 0.9


def test_frames_of_an_uneven_run_differ_from_an_even_ones() -> None:
    run = replace(PLAIN, unevenness=Unevenness(amplitude=0.2))
    even = Simulator(PLAIN).shot(1).pixels.astype(float)
    assert abs(Simulator(run).shot(1).pixels - even).mean() > 0.01


def test_a_binned_run_collects_the_photons_of_its_pixels() -> None:
    run = replace(PLAIN, readout=INTEGRATING, diffuse=Diffuse(strength=0.2), hit_share=1.0)
    small = Simulator(binned(run, 4))
    assert small.maps.shape == (40, 40)
    whole = Simulator(run).background.means(Shot()).reshape(40, 4, 40, 4).sum(axis=(1, 3))
    np.testing.assert_allclose(small.background.means(Shot()), whole, rtol=0.05)
    assert small.response.pixel_variance == pytest.approx(16 * 0.3**2, rel=0.1)
    spots, places = Simulator(run).shot(2).spots, small.shot(2).spots
    bright = spots[:, 2].argmax()
    away = np.hypot(*(places[:, :2] - spots[bright, :2] / 4).T)
    assert away.min() < 0.3


def test_binning_by_one_changes_nothing() -> None:
    assert binned(PLAIN, 1) is PLAIN
    with pytest.raises(ValueError, match="cannot bin"):
        binned(PLAIN, 0)
