"""The peak finder laid out for the frames of a series, as the region code gives them.

What this file does not know: what the peaks are for.
"""

import math
from dataclasses import dataclass

from hitfinder.dataset.frames import Series
from hitfinder.images.reader import RegionReader
from hitfinder.images.region import RegionSettings, plan_region
from hitfinder.peaks.finder import PeakFinder, plan_peaks
from hitfinder.peaks.settings import PeakSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """`reader` gives a frame's region, `finder` its peaks in pixels of the region, whose first
    pixel lies at (top, left) of the image.
    """

    reader: RegionReader
    finder: PeakFinder
    top: int
    left: int


def plan_search(series: Series, region: RegionSettings, settings: PeakSettings) -> Search:
    """Rings about the series' beam, or about the middle of the region where it is not known.

    Raises ConfigError when region and frames do not fit.
    """
    detector = series.detector
    reader = plan_region(region, series.shape, detector, None)
    whole = plan_region(RegionSettings(kind="whole"), series.shape, detector, None).shape
    top, left = (whole[0] - reader.shape[0]) // 2, (whole[1] - reader.shape[1]) // 2
    # The beam is in pixels of one module; among several without geometry it says nothing.
    one_module = math.prod(series.shape[:-2]) == 1
    finder = plan_peaks(
        reader.shape,
        settings,
        beam_x_px=_less(detector.beam_x_px, left) if one_module else None,
        beam_y_px=_less(detector.beam_y_px, top) if one_module else None,
    )
    return Search(reader=reader, finder=finder, top=top, left=left)


def _less(position: float | None, start: int) -> float | None:
    return None if position is None else position - start
