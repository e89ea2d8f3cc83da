"""The fast generator draws what Poisson says."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hitfinder.simulation.noise import draw_photons


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0.0, 1000.0), min_size=1, max_size=4), st.integers(0, 2**32))
@example([1e-7, 63.9, 64.1, 0.0], 1)
def test_each_mean_is_poisson_distributed(means: list[float], seed: int) -> None:
    image = np.repeat(np.resize(np.array(means, np.float32), 130)[:, None], 400, axis=1)
    drawn = draw_photons(image, np.random.default_rng(seed))
    assert drawn.dtype == np.float32
    assert (drawn >= 0).all()
    assert (drawn == np.rint(drawn)).all()
    for mean in means:
        sample = drawn[image == np.float32(mean)].astype(float)
        error = np.sqrt(mean / sample.size) + 2e-3
        # Levels lie 1 % apart, so that a mean may be half a percent off.
        assert sample.mean() == pytest.approx(mean, abs=6 * error + 0.005 * mean)
        spread = np.sqrt((2 * mean**2 + mean) / sample.size) + 5e-3
        assert sample.var() == pytest.approx(mean, abs=6 * spread + 0.01 * mean)


def test_rare_counts_are_as_rare_as_they_should_be() -> None:
    """4 million pixels of mean 1: more than 8 photons has a probability of 1e-6."""
    drawn = draw_photons(np.ones((2000, 2000), np.float32), np.random.default_rng(3))
    counts = np.bincount(drawn.reshape(-1).astype(int), minlength=9)
    expected = 4e6 * np.exp(-1) / np.cumprod([1, 1, 2, 3, 4, 5, 6, 7, 8])
    assert np.all(abs(counts[:9] - expected) < 6 * np.sqrt(expected) + 0.005 * expected)
    assert drawn.max() < 14


@pytest.mark.parametrize("mean", [30.0, 200.0])
def test_bright_pixels_are_skewed_like_poisson(mean: float) -> None:
    drawn = draw_photons(np.full((1500, 1000), mean, np.float32), np.random.default_rng(4))
    away = drawn.astype(float) - drawn.mean(dtype=float)
    assert (away**3).mean() / away.std() ** 3 == pytest.approx(mean**-0.5, abs=0.012)
