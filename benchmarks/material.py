"""Frames that the parts of `make bench` measure on: the demo's run, hits and blanks in turn."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.frame import Detector, array_payload
from hitfinder.images.reader import RegionReader
from hitfinder.images.region import RegionSettings, plan_region
from hitfinder.peaks.rings import radius_map
from hitfinder.simulation.catalog import DEMO
from hitfinder.simulation.simulator import Simulator


@dataclass(frozen=True, slots=True, kw_only=True)
class Shots:
    """pixels (n, rows, cols) of the detector's dtype: even ones are hits, odd ones are blanks."""

    pixels: NDArray[Any]
    detector: Detector

    def reader(self, kind: str) -> RegionReader:
        """For the "center" of 350 x 350 pixels, or the "whole" frame."""
        region = RegionSettings.model_validate({"kind": kind})
        return plan_region(region, self.pixels.shape[1:], self.detector, None)


def shots(count: int) -> Shots:
    """The demo's run, 1750 x 1750 uint16, as many hits as blanks."""
    crystals = Simulator(replace(DEMO, hit_share=1.0))
    empty = Simulator(replace(DEMO, hit_share=0.0))
    pixels = [(empty if number % 2 else crystals).shot(number).pixels for number in range(count)]
    return Shots(pixels=np.stack(pixels), detector=empty.detector)


def regions(reader: RegionReader, pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Every frame's region, (n, H, W) float32, NaN = no measurement."""
    found = np.empty((len(pixels), *reader.shape), np.float32)
    for frame, region in zip(pixels, found, strict=True):
        reader.read(array_payload(frame), region)
    return found


def radii(reader: RegionReader) -> NDArray[np.float32]:
    """(H, W) distance of each of a region's pixels from the beam, or from its middle."""
    rows, cols = reader.shape
    return radius_map(reader.shape, reader.beam_px or (rows / 2, cols / 2))
