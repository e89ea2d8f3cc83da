"""The pixels a model sees: a region of a frame, as float32 with NaN = no measurement.

Planned here once for a detector and a payload shape, then read for every frame (`reader`), decoding
only the band of rows that the region needs, and of a large one no more at a time than the
processor's cache holds. A region may stick out of the frame; what lies outside is NaN.
What this file does not know: how payloads are encoded, and where modules sit (`gather`).
"""

import math
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from hitfinder.errors import ConfigError
from hitfinder.frame import MOST_PIXELS, Detector
from hitfinder.images.gather import GatherMap
from hitfinder.images.ice import ice_rings
from hitfinder.images.measured import Blanks, Limits
from hitfinder.images.reader import (
    PIXELS_AT_ONCE,
    Box,
    BoxReader,
    GatherReader,
    Piece,
    RegionReader,
)
from hitfinder.settings import Settings

FURTHEST = 100_000
"""No frame reaches further, in pixels."""

ROWS_BETWEEN_MODULES = 15
"""Rows of NaN between the modules of a stack without geometry. A model's window of 25 pixels
around a cell of 5 reaches up to 14 rows on; it must not see the next module."""


class RegionSettings(Settings):
    """Which pixels of a frame the model sees."""

    kind: Literal["center", "whole", "box"] = "center"
    """`center`: around the middle; `whole`: all there is; `box`: at `top` and `left`."""
    around: Literal["image", "beam"] = "image"
    """What `center` means: the middle of the image, or the beam, where the detector tells."""
    rows: int = Field(default=350, ge=1, le=FURTHEST)
    """Height in pixels, for `center` and `box`."""
    cols: int = Field(default=350, ge=1, le=FURTHEST)
    """Width in pixels, for `center` and `box`."""
    top: int | None = Field(default=None, ge=-FURTHEST, le=FURTHEST)
    """First row, for `box`; negative where the box begins before the frame."""
    left: int | None = Field(default=None, ge=-FURTHEST, le=FURTHEST)
    """First column, for `box`."""
    ice_rings: Literal["mask", "keep"] = "mask"
    """Whether the rings of ice count as not measured, where the detector tells its beam centre,
    pixel, distance and wavelength: only its place tells a spot of ice from a crystal's."""

    @model_validator(mode="after")
    def _box_has_corner(self) -> Self:
        given = {self.top is not None, self.left is not None}
        if given != {self.kind == "box"}:
            raise ValueError('kind = "box" needs top and left, and no other kind takes them')
        return self


def plan_region(
    settings: RegionSettings,
    payload_shape: tuple[int, ...],
    detector: Detector,
    gather: GatherMap | None,
) -> RegionReader:
    """The reader of a region for payloads of one shape.

    With `gather` the region is one of the assembled image; without, of the frame itself, the
    modules of a stack below one another with ROWS_BETWEEN_MODULES rows of NaN between them.
    Raises ConfigError when region, detector and payload do not fit one another.
    """
    if len(payload_shape) < 2 or 0 in payload_shape:
        raise ConfigError(f"payloads of shape {payload_shape} are no images")
    mask = detector.mask
    if mask is not None and mask.shape != payload_shape:
        raise ConfigError(
            f"the detector's mask has shape {mask.shape}, its frames {payload_shape}: they must "
            "be the same"
        )
    limits = Limits(detector.saturation, detector.underload)
    if gather is not None:
        return _plan_gather(settings, payload_shape, limits, mask, detector, gather)
    return _plan_boxes(settings, payload_shape, limits, mask, detector)


def _plan_boxes(
    settings: RegionSettings,
    payload_shape: tuple[int, ...],
    limits: Limits,
    mask: NDArray[np.bool_] | None,
    detector: Detector,
) -> BoxReader:
    modules, (rows, cols) = math.prod(payload_shape[:-2]), payload_shape[-2:]
    pitch = rows + (ROWS_BETWEEN_MODULES if modules > 1 else 0)
    beam = None
    if modules == 1 and detector.beam_x_px is not None and detector.beam_y_px is not None:
        beam = (detector.beam_y_px, detector.beam_x_px)
    image_shape = (pitch * (modules - 1) + rows, cols)
    box = _box(settings, image_shape, beam)
    left, right = max(box.left, 0), min(box.right, cols)
    unmeasured = np.ones(box.shape, np.bool_)
    sources: list[tuple[Box, int]] = []  # each with its first row in the region
    step = max(1, PIXELS_AT_ONCE // cols)
    covered = 0
    # A header may claim millions of modules; those that the region does not reach cost nothing.
    for module in range(max(0, box.top // pitch), min(modules, -(-box.bottom // pitch))):
        start = module * pitch
        top, bottom = max(box.top, start), min(box.bottom, start + rows)
        if top >= bottom or left >= right:
            continue
        flat = module * rows - start  # from a row of the image to a row of the payload
        for first in range(top, bottom, step):
            source = Box(first + flat, left, min(first + step, bottom) + flat, right)
            sources.append((source, first - box.top))
        used = unmeasured[top - box.top : bottom - box.top, left - box.left : right - box.left]
        used[...] = False
        if mask is not None:
            used[...] = mask.reshape(-1, cols)[top + flat : bottom + flat, left:right]
        covered += (bottom - top) * (right - left)
    if not sources:
        raise _no_overlap(box, image_shape)
    _mask_ice(unmeasured, settings, box, beam, detector)
    inside = unmeasured[:, left - box.left : right - box.left]
    pieces = tuple(
        Piece(source, row, left - box.left, Blanks.of(inside[row : row + source.shape[0]]))
        for source, row in sources
    )
    return BoxReader(
        shape=box.shape,
        payload_shape=payload_shape,
        limits=limits,
        pieces=pieces,
        gaps=covered < unmeasured.size,
        measured=_share_measured(unmeasured),
        beam_px=None if beam is None else (beam[0] - box.top, beam[1] - box.left),
    )


def _plan_gather(
    settings: RegionSettings,
    payload_shape: tuple[int, ...],
    limits: Limits,
    mask: NDArray[np.bool_] | None,
    detector: Detector,
    gather: GatherMap,
) -> GatherReader:
    if gather.payload_shape != payload_shape:
        raise ConfigError(
            f"the geometry was laid out for payloads of shape {gather.payload_shape}, the frames "
            f"have {payload_shape}"
        )
    image_shape = (gather.index.shape[0], gather.index.shape[1])
    beam = gather.beam_y_px, gather.beam_x_px
    box = _box(settings, image_shape, beam)
    index = np.full(box.shape, -1, np.intp)
    top, bottom = max(box.top, 0), min(box.bottom, image_shape[0])
    left, right = max(box.left, 0), min(box.right, image_shape[1])
    if top < bottom and left < right:
        inside = gather.index[top:bottom, left:right]
        index[top - box.top : bottom - box.top, left - box.left : right - box.left] = inside
    unmeasured = index < 0
    if unmeasured.all():
        raise _no_overlap(box, image_shape)
    cols = payload_shape[-1]
    first = int(index[~unmeasured].min()) // cols
    last = int(index.max()) // cols + 1
    if mask is not None:
        unmeasured |= mask.reshape(-1)[index]
    _mask_ice(unmeasured, settings, box, beam, detector)
    index = np.maximum(index - first * cols, 0)
    return GatherReader(
        box.shape,
        payload_shape,
        limits,
        Blanks.of(unmeasured),
        index,
        first,
        last,
        _share_measured(unmeasured),
        (beam[0] - box.top, beam[1] - box.left),
    )


def _share_measured(unmeasured: NDArray[np.bool_]) -> float:
    return 1 - np.count_nonzero(unmeasured) / unmeasured.size


def _mask_ice(
    unmeasured: NDArray[np.bool_],
    settings: RegionSettings,
    box: Box,
    beam: tuple[float, float] | None,
    detector: Detector,
) -> None:
    """Add the rings of ice to what is not measured in a region; `beam` is (y, x) in the image."""
    if settings.ice_rings == "mask" and beam is not None:
        rings = ice_rings(box.shape, (beam[0] - box.top, beam[1] - box.left), detector)
        if rings is not None:
            unmeasured |= rings


def _box(
    settings: RegionSettings, image_shape: tuple[int, int], beam: tuple[float, float] | None
) -> Box:
    """Where the region lies in an image; `beam` is (y, x) in pixels, None where unknown. Raises
    ConfigError for one that is too large to plan, before anything of its size is made.
    """
    shape = image_shape if settings.kind == "whole" else (settings.rows, settings.cols)
    if math.prod(shape) > MOST_PIXELS:
        raise ConfigError(
            f"a region of {shape[0]} x {shape[1]} pixels is larger than any detector; does the "
            f"sender say the right shape? Else set region.kind to center or box"
        )
    if settings.kind == "whole":
        return Box(0, 0, *image_shape)
    if settings.top is not None and settings.left is not None:
        top, left = settings.top, settings.left
    elif settings.around == "image":
        top = (image_shape[0] - settings.rows) // 2
        left = (image_shape[1] - settings.cols) // 2
    elif beam is not None:
        top = math.floor(beam[0] - settings.rows / 2 + 0.5)
        left = math.floor(beam[1] - settings.cols / 2 + 0.5)
    else:
        raise ConfigError(
            'region.around is "beam", but the beam centre is unknown: the detector does not say, '
            'or a stack of modules has no geometry; use "image", or give a geometry'
        )
    return Box(top, left, top + settings.rows, left + settings.cols)


def _no_overlap(box: Box, image_shape: tuple[int, int]) -> ConfigError:
    return ConfigError(
        f"region of rows {box.top}:{box.bottom} and columns {box.left}:{box.right} holds no pixel "
        f"of the {image_shape[0]} x {image_shape[1]} image"
    )
