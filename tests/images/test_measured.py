"""NaN where nothing is ever measured: in whole rows and columns, and scattered."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitfinder.images.measured import Blanks


@given(
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    rows=st.sets(st.integers(0, 11)),
    cols=st.sets(st.integers(0, 11)),
    scattered=st.sampled_from([0.0, 0.02, 0.3]),
    seed=st.integers(0, 1000),
)
def test_blanks_are_written_where_the_flags_are(
    shape: tuple[int, int], rows: set[int], cols: set[int], scattered: float, seed: int
) -> None:
    flags = np.random.default_rng(seed).random(shape) < scattered
    flags[[row for row in rows if row < shape[0]]] = True
    flags[:, [col for col in cols if col < shape[1]]] = True
    blanks = Blanks.of(flags)

    canvas = np.zeros((shape[0] + 2, shape[1] + 3), np.float32)
    blanks.write(canvas[1:-1, 2:-1])
    assert np.array_equal(np.isnan(canvas[1:-1, 2:-1]), flags)
    assert np.isnan(canvas).sum() == flags.sum()

    numbers = np.zeros(shape, np.int32)
    blanks.write(numbers, -1)
    assert np.array_equal(numbers < 0, flags)


@pytest.mark.parametrize(("count", "by_place"), [(0, True), (128, True), (129, False)])
def test_a_few_scattered_pixels_are_kept_by_place(count: int, by_place: bool) -> None:
    flags = np.zeros((64, 64), np.bool_)
    places = np.random.default_rng(0).permutation(64 * 63)[:count]
    flags[:, :63][np.unravel_index(places, (64, 63))] = True
    flags[:, 63] = True
    blanks = Blanks.of(flags)
    assert blanks.cols == (slice(63, 64),)
    assert isinstance(blanks.rest, tuple) is by_place
