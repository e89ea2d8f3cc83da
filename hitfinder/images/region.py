"""The pixels a model sees: a region of a frame, as float32 with NaN = no measurement.

Planned once for a detector and a payload shape, then read for every frame, decoding only the band
of rows that the region needs, and of a large one no more at a time than the processor's cache
holds. Nothing is done to the pixels besides: normalising is the model's
business. A region may stick out of the frame; what lies outside is NaN.
What this file does not know: how payloads are encoded, and where modules sit (`gather`).
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from hitfinder.errors import ConfigError, PayloadError
from hitfinder.frame import Detector, Payload
from hitfinder.images.gather import GatherMap
from hitfinder.images.ice import ice_rings
from hitfinder.settings import Settings

FURTHEST = 100_000
"""No frame reaches further, in pixels."""

ROWS_BETWEEN_MODULES = 15
"""Rows of NaN between the modules of a stack without geometry. A model's window of 25 pixels
around a cell of 5 reaches up to 14 rows on; it must not see the next module."""

CACHED_PIXELS = 2**17
"""Read at a time from a frame of which much is read: with all that is made of them they take 1 MB,
and reading 1750 x 1750 pixels of 16 bits takes a fifth less time than at once."""

FEW_PIXELS = 2**20
"""Of the rows that a region needs; so many are read at once, as each reading costs 20 us."""


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
        if (self.kind == "box") != (self.top is not None and self.left is not None):
            raise ValueError('kind = "box" needs top and left, and no other kind takes them')
        return self


class RegionReader(Protocol):
    """Reads one region of every frame."""

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the region."""
        ...

    @property
    def beam_px(self) -> tuple[float, float] | None:
        """(y, x) of the beam from the region's first outer corner; None where unknown."""
        ...

    def read(self, payload: Payload, out: NDArray[np.float32]) -> None:
        """Write the region into `out` (H, W) float32, all of it.

        Raises PayloadError when the payload has not the planned shape or cannot be decoded.
        """
        ...

    def places(self) -> NDArray[np.int32]:
        """(H, W) which pixel of the flat payload each of the region is; -1 where there is none,
        or none that may be used.
        """
        ...


@dataclass(frozen=True, slots=True)
class Box:
    """Rows [top, bottom) and columns [left, right)."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.bottom - self.top, self.right - self.left


@dataclass(frozen=True, slots=True)
class Piece:
    """A rectangle of a payload's flat rows and where it goes in the region."""

    source: Box
    row: int
    col: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Which values are no measurement."""

    saturation: float | None
    underload: float | None

    def write(
        self, pixels: NDArray[Any], unmeasured: NDArray[np.bool_], out: NDArray[np.float32]
    ) -> None:
        """Write (h, w) pixels of any real dtype into `out` (h, w). Raises PayloadError."""
        flagged = _FLAGGED.get(pixels.dtype.kind)
        if flagged is None:
            raise PayloadError(f"pixels of type {pixels.dtype} are neither integers nor floats")
        with np.errstate(over="ignore"):  # beyond float32 becomes infinite, hence NaN
            out[...] = pixels
        np.copyto(out, np.nan, where=unmeasured)
        for flags in flagged(self, pixels, out):
            np.copyto(out, np.nan, where=flags)


def _flagged_integers(
    limits: Limits, pixels: NDArray[Any], out: NDArray[np.float32]
) -> list[NDArray[np.bool_]]:
    """Compare integers as integers, and make flags only where the extremes say so: a reduction
    costs a tenth of writing NaN by a mask. Masked pixels often hold their type's largest value, so
    the greatest is sought in `out`, where those are NaN; rounding keeps the order.
    """
    info = np.iinfo(pixels.dtype)
    found = []
    highest = math.inf if limits.saturation is None else math.ceil(limits.saturation)
    if info.min == 0:
        highest = min(highest, info.max)
    if highest <= info.max and np.fmax.reduce(out, axis=None) >= np.float32(highest):
        found.append(pixels >= max(highest, info.min))
    lowest = -math.inf if limits.underload is None else math.ceil(limits.underload)
    if lowest > info.min and pixels.min() < lowest:
        found.append(pixels < lowest if lowest <= info.max else np.ones(pixels.shape, np.bool_))
    return found


def _flagged_floats(
    limits: Limits, pixels: NDArray[Any], out: NDArray[np.float32]
) -> list[NDArray[np.bool_]]:
    found = []
    infinite = np.isinf(out)
    if infinite.any():
        found.append(infinite)
    if limits.saturation is not None:
        found.append(pixels >= limits.saturation)
    if limits.underload is not None:
        found.append(pixels < limits.underload)
    return found


_FLAGGED = {"u": _flagged_integers, "i": _flagged_integers, "f": _flagged_floats}


@dataclass(frozen=True, slots=True)
class BoxReader:
    """A region made of rectangles of the payload, each below the one before: of a monolithic
    frame, or of the modules of a stack.

    `unmeasured` (H, W) is True where no pixel is, or none that may be used. `gaps` says whether
    there is a place that no piece covers.
    """

    shape: tuple[int, int]
    payload_shape: tuple[int, ...]
    limits: Limits
    unmeasured: NDArray[np.bool_]
    pieces: tuple[Piece, ...]
    gaps: bool
    beam_px: tuple[float, float] | None = None

    def read(self, payload: Payload, out: NDArray[np.float32]) -> None:
        """See `RegionReader`."""
        _expect(self.payload_shape, payload)
        if self.gaps:
            out[...] = np.nan
        cuts = [piece.source.top for piece in self.pieces]
        bands = payload.bands([*cuts, self.pieces[-1].source.bottom])
        for piece, band in zip(self.pieces, bands, strict=True):
            height, width = piece.source.shape
            place = (
                slice(piece.row, piece.row + height),
                slice(piece.col, piece.col + width),
            )
            pixels = band[:, piece.source.left : piece.source.right]
            self.limits.write(pixels, self.unmeasured[place], out[place])

    def places(self) -> NDArray[np.int32]:
        """See `RegionReader`."""
        found = np.full(self.shape, -1, np.int32)
        cols = self.payload_shape[-1]
        for piece in self.pieces:
            source = piece.source
            height, width = source.shape
            rows = np.arange(source.top, source.bottom, dtype=np.int32)[:, np.newaxis] * cols
            found[piece.row : piece.row + height, piece.col : piece.col + width] = rows + np.arange(
                source.left, source.right, dtype=np.int32
            )
        found[self.unmeasured] = -1
        return found


@dataclass(frozen=True, slots=True)
class GatherReader:
    """A region of an assembled image: `index` (H, W) counts pixels in flat rows [first, last)."""

    shape: tuple[int, int]
    payload_shape: tuple[int, ...]
    limits: Limits
    unmeasured: NDArray[np.bool_]
    index: NDArray[np.intp]
    first: int
    last: int
    beam_px: tuple[float, float] | None = None

    def read(self, payload: Payload, out: NDArray[np.float32]) -> None:
        """See `RegionReader`."""
        _expect(self.payload_shape, payload)
        band = payload.rows(self.first, self.last).reshape(-1)
        self.limits.write(band.take(self.index), self.unmeasured, out)

    def places(self) -> NDArray[np.int32]:
        """See `RegionReader`."""
        found = (self.index + self.first * self.payload_shape[-1]).astype(np.int32)
        found[self.unmeasured] = -1
        return found


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


def is_blank(region: NDArray[np.float32]) -> bool:
    """Whether nothing in (H, W) was measured: not a miss, but not known.

    A sample tells almost always, and the whole is looked at only when it does not.
    """
    return bool(np.isnan(region[::16, ::16]).all() and np.isnan(region).all())


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
    pieces, unmeasured = [], np.ones(box.shape, np.bool_)
    step = _rows_at_once(box, cols)
    covered = 0
    for module in range(modules):
        start = module * pitch
        top, bottom = max(box.top, start), min(box.bottom, start + rows)
        if top >= bottom or left >= right:
            continue
        flat = module * rows - start  # from a row of the image to a row of the payload
        for first in range(top, bottom, step):
            source = Box(first + flat, left, min(first + step, bottom) + flat, right)
            pieces.append(Piece(source, first - box.top, left - box.left))
        used = unmeasured[top - box.top : bottom - box.top, left - box.left : right - box.left]
        used[...] = False
        if mask is not None:
            used[...] = mask.reshape(-1, cols)[top + flat : bottom + flat, left:right]
        covered += (bottom - top) * (right - left)
    if not pieces:
        raise _no_overlap(box, image_shape)
    _mask_ice(unmeasured, settings, box, beam, detector)
    return BoxReader(
        shape=box.shape,
        payload_shape=payload_shape,
        limits=limits,
        unmeasured=unmeasured,
        pieces=tuple(pieces),
        gaps=covered < unmeasured.size,
        beam_px=None if beam is None else (beam[0] - box.top, beam[1] - box.left),
    )


def _rows_at_once(box: Box, cols: int) -> int:
    """Rows of the payload that are read together."""
    rows = box.bottom - box.top
    return rows if rows * cols <= FEW_PIXELS else max(1, CACHED_PIXELS // cols)


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
        unmeasured,
        index,
        first,
        last,
        (beam[0] - box.top, beam[1] - box.left),
    )


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
    """Where the region lies in an image; `beam` is (y, x) in pixels, None where unknown."""
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


def _expect(shape: tuple[int, ...], payload: Payload) -> None:
    if payload.shape != shape:
        raise PayloadError(f"frame of shape {payload.shape} where the region expects {shape}")
