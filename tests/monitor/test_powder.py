"""The virtual powder pattern."""

import numpy as np
import pytest
from numpy.typing import NDArray

from hitfinder.frame import Detector
from hitfinder.monitor.powder import Powder
from hitfinder.monitor.raster import Raster, raster
from hitfinder.monitor.rings import view_of
from tests.monitor.test_raster import unpacked

VIEW = view_of((2, 2), None, Detector())


def pattern(powder: Powder, kind: str) -> list[list[float]]:
    made = powder.pattern(kind)
    assert made is not None
    values: list[list[float]] = unpacked(made).tolist()
    return values


def test_sum_and_maximum_of_what_was_measured() -> None:
    powder = Powder()
    assert powder.pattern("sum") is None
    nan = np.nan
    powder.add("1", np.array([[1, 5], [nan, nan]], np.float32), VIEW)
    powder.add("1", np.array([[2, nan], [4, nan]], np.float32), VIEW)
    np.testing.assert_array_equal(pattern(powder, "sum"), [[3, 5], [4, nan]])
    np.testing.assert_array_equal(pattern(powder, "max"), [[2, 5], [4, nan]])
    assert (powder.hits, powder.series) == (2, "1")


def test_a_pattern_is_made_once_for_each_hit() -> None:
    powder = Powder()
    powder.add("1", np.ones((2, 2), np.float32), VIEW)
    first = powder.pattern("sum")
    assert powder.pattern("sum") is first
    powder.add("1", np.ones((2, 2), np.float32), VIEW)
    assert powder.pattern("sum") == raster(np.full((2, 2), 2, np.float32))


def test_another_series_region_or_geometry_begins_anew() -> None:
    powder = Powder()
    ones = np.ones((2, 2), np.float32)
    powder.add("1", ones, VIEW)
    powder.add("2", ones, VIEW)
    assert (powder.hits, powder.series) == (1, "2")
    powder.add("2", np.ones((3, 2), np.float32), VIEW)
    assert powder.hits == 1
    powder.add("2", np.ones((3, 2), np.float32), view_of((3, 2), (1.0, 1.0), Detector()))
    assert powder.hits == 1
    assert pattern(powder, "max") == [[1, 1], [1, 1], [1, 1]]


def test_what_is_over_stands_until_the_next_hit() -> None:
    powder = Powder()
    powder.add("1", np.ones((2, 2), np.float32), VIEW)
    powder.forget()
    assert (powder.hits, powder.series) == (1, "1")
    powder.add("1", np.full((2, 2), 7, np.float32), VIEW)
    assert powder.hits == 1
    assert pattern(powder, "sum") == [[7, 7], [7, 7]]


def test_a_pattern_that_ends_while_it_is_packed_is_not_taken_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    powder = Powder()
    powder.add("1", np.ones((2, 2), np.float32), VIEW)

    def interrupted(pixels: NDArray[np.float32]) -> Raster:
        monkeypatch.undo()
        powder.add("2", np.full((2, 2), 9, np.float32), VIEW)
        return raster(pixels)

    monkeypatch.setattr("hitfinder.monitor.powder.raster", interrupted)
    assert pattern(powder, "max") == [[1, 1], [1, 1]]
    assert pattern(powder, "max") == [[9, 9], [9, 9]]
