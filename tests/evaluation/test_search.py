"""The peak finder laid out as the region code lays out its pixels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hitfinder.dataset.series import open_series
from hitfinder.evaluation.search import plan_search
from hitfinder.frame import Detector
from hitfinder.images.region import RegionSettings
from hitfinder.peaks.settings import PeakSettings


@pytest.mark.parametrize("shape", [(120, 130), (1, 120, 130)])
@pytest.mark.parametrize(
    ("beam_px", "nearest_px"), [((30.0, 90.0), (20.0, 75.0)), ((None, None), (50.0, 50.0))]
)
def test_rings_lie_about_the_beam_or_the_regions_middle(
    tmp_path: Path,
    beam_px: tuple[float | None, float | None],
    nearest_px: tuple[float, float],
    shape: tuple[int, ...],
) -> None:
    np.save(tmp_path / "run.npy", np.zeros(shape, np.float32))
    (series,) = open_series([tmp_path / "run.npy"])
    detector = Detector(beam_y_px=beam_px[0], beam_x_px=beam_px[1])
    region = RegionSettings(kind="center", rows=100, cols=100)
    plan = plan_search(replace(series, detector=detector), region, PeakSettings())
    assert (plan.top, plan.left) == (10, 15)
    innermost = np.argwhere(plan.finder.rings.index == 0) + 0.5
    assert innermost.mean(axis=0) == pytest.approx(nearest_px, abs=0.6)
