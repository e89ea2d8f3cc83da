"""Precision and recall by class."""

from pathlib import Path

import numpy as np
import pytest

from hitfinder.evaluation.diffuse_plots import plot_embedding
from hitfinder.evaluation.diffuse_table import diffuse_table, measure_diffuse


def test_shares_of_both_classes() -> None:
    scores = np.array([0.9, 0.8, 0.5, 0.4, 0.2, 0.7, 0.1, 0.3])
    truth = np.array([True, True, True, True, False, False, False, False])
    row = measure_diffuse("it", scores, truth, ms_a_frame=12.34)
    assert (row.diffuse.precision.count, row.diffuse.precision.of) == (3, 4)
    assert (row.diffuse.recall.count, row.diffuse.recall.of) == (3, 4)
    assert (row.other.precision.count, row.other.precision.of) == (3, 4)
    assert row.overall.value == pytest.approx(0.75)
    assert row.auc.value == pytest.approx(14 / 16)
    strict = measure_diffuse("it", scores, truth, threshold=0.85)
    assert strict.diffuse.precision.value == 1.0
    assert strict.diffuse.recall.value == 0.25
    table = diffuse_table([row, strict])
    assert table.count("\n") == 3
    assert "| it | 75.0 (30.1-95.4) |" in table
    assert "| 0.875 | 12.3 |" in table


def test_a_class_that_is_never_called_has_no_precision() -> None:
    row = measure_diffuse("it", np.zeros(3), np.array([True, False, False]))
    assert row.diffuse.precision.value is None
    assert "| none | 0.0" in diffuse_table([row])


def test_the_picture_of_a_map(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    truth = np.arange(50) % 2 == 0
    points = rng.standard_normal((50, 5))
    points[:, 3] += 4 * truth
    plot_embedding(tmp_path / "map.png", {"one": points, "two": points[:, 1:]}, truth)
    assert (tmp_path / "map.png").stat().st_size > 10_000
