"""The fast generator draws what Poisson says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitfinder.simulation.noise import PoissonField


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0.0, 60.0), min_size=1, max_size=4), st.integers(0, 2**32))
def test_each_level_is_poisson_distributed(means: list[float], seed: int) -> None:
    rows = 130
    levels = np.arange(rows)[:, None] % len(means) * np.ones((1, 400), int)
    drawn = PoissonField(levels).draw(np.array(means), np.random.default_rng(seed))
    assert drawn.dtype == np.uint16
    for level, mean in enumerate(means):
        sample = drawn[levels == level].astype(float)
        error = np.sqrt(mean / sample.size) + 2e-3
        assert sample.mean() == pytest.approx(mean, abs=6 * error)
        spread = np.sqrt((2 * mean**2 + mean) / sample.size) + 5e-3
        assert sample.var() == pytest.approx(mean, abs=6 * spread + 0.01 * mean)


def test_rare_counts_are_as_rare_as_they_should_be() -> None:
    """4 million pixels of mean 1: more than 8 photons has a probability of 1e-6."""
    field = PoissonField(np.zeros((2000, 2000), int))
    drawn = field.draw(np.array([1.0]), np.random.default_rng(3))
    counts = np.bincount(drawn.reshape(-1), minlength=9)
    expected = 4e6 * np.exp(-1) / np.cumprod([1, 1, 2, 3, 4, 5, 6, 7, 8])
    assert np.all(abs(counts[:9] - expected) < 6 * np.sqrt(expected))
    assert drawn.max() < 14
