"""From settings to a plan: which pixels of a frame a model sees, whatever the stream says."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from hitfinder.config import DetectorSettings
from hitfinder.errors import ConfigError, DataFileError
from hitfinder.frame import Detector
from hitfinder.images.gather import gather_map
from hitfinder.images.geometry import read_geometry
from hitfinder.images.reader import RegionReader
from hitfinder.images.region import RegionSettings, plan_region
from hitfinder.serving.scorer import Plan

Planner = Callable[[RegionSettings], Plan[RegionReader]]
"""The plan for a region. Several regions of a frame have one detector, read from files once."""

Override = Callable[[Detector], Detector]
"""Puts what the settings say in place of what the stream says."""


def planner(settings: DetectorSettings, folder: Path, override: Override) -> Planner:
    """Plans for detectors after `override`. Raises ConfigError when a file cannot be read."""
    geometry = None
    if settings.geometry_file is not None:
        geometry = read_geometry(folder / settings.geometry_file)

    def plan_for(region: RegionSettings) -> Plan[RegionReader]:
        def plan(payload_shape: tuple[int, ...], detector: Detector) -> RegionReader:
            gather = None if geometry is None else gather_map(geometry, payload_shape)
            return plan_region(region, payload_shape, override(detector), gather)

        return plan

    return plan_for


def known_region(
    region: RegionSettings, detector: DetectorSettings, plan: Plan[RegionReader]
) -> RegionReader | None:
    """The region of the frames that the settings name, None where those do not say enough. Raises
    ConfigError for one that does not fit them.
    """
    tells_beam = detector.beam_x_px is not None or detector.geometry_file is not None
    if detector.shape is None or (region.around == "beam" and not tells_beam):
        return None
    return plan(detector.shape, Detector())


def region_shape(
    region: RegionSettings, detector: DetectorSettings, plan: Plan[RegionReader]
) -> tuple[int, int] | None:
    """The region, in pixels, if that is known before the first series. Raises ConfigError."""
    known = known_region(region, detector, plan)
    if known is not None:
        return known.shape
    return None if region.kind == "whole" else (region.rows, region.cols)


def overrider(settings: DetectorSettings, folder: Path) -> Override:
    """Put what the settings say in place of what the stream says."""
    given = settings.model_dump(exclude={"mask_file", "geometry_file"}, exclude_none=True)
    mask = None
    if settings.mask_file is not None:
        # Only here does the live service read a data file.
        from hitfinder.dataset.mask_file import load_mask

        try:
            mask = load_mask(folder / settings.mask_file)
        except DataFileError as error:
            raise ConfigError(f"detector.mask_file: {error}") from error

    def override(detector: Detector) -> Detector:
        changed = replace(detector, **given)
        if mask is None:
            return changed
        if detector.mask is not None and detector.mask.shape != mask.shape:
            raise ConfigError(
                f"detector.mask_file has shape {mask.shape}, the stream's own mask "
                f"{detector.mask.shape}; they must agree"
            )
        both = mask if detector.mask is None else np.logical_or(mask, detector.mask)
        return replace(changed, mask=both)

    return override
