"""Lays the pixels of many modules out as one image: for every pixel of the image, which pixel of
the payload is nearest.

Filled from the image's side, panel by panel, so that rotated panels leave no holes. Pixels are
not interpolated: a spot keeps its values. What it does not know: the distance (panels lie flat,
their z is ignored), and which way is up: rows grow with y and columns with x of the geometry.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import ConfigError
from hitfinder.images.geometry import BadRegion, Geometry, Panel

MOST_PIXELS = 2**28
"""A larger image is a mistaken corner: the largest detectors have 2**26 pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatherMap:
    """index (H, W) int32 counts pixels of the flat payload, -1 where there is none. The beam
    centre is in pixels of the image, from the first pixel's outer corner; it may lie outside.
    """

    index: NDArray[np.int32]
    payload_shape: tuple[int, ...]
    beam_x_px: float
    beam_y_px: float


def gather_map(geometry: Geometry, payload_shape: tuple[int, ...]) -> GatherMap:
    """The layout of payloads of one shape. Where panels overlap, the first one named is seen.

    Raises ConfigError when the payload does not hold the panels, or the image is absurdly large.
    """
    corners = np.concatenate([_corners(panel) for panel in geometry.panels])
    left, top = np.floor(corners.min(axis=0) + 1e-6).astype(int).tolist()
    right, bottom = np.ceil(corners.max(axis=0) - 1e-6).astype(int).tolist()
    if (right - left) * (bottom - top) > MOST_PIXELS:
        raise ConfigError(
            f"{geometry.source}: the panels spread over {right - left} x {bottom - top} pixels; "
            "check corner_x and corner_y"
        )
    index = np.full((bottom - top, right - left), -1, np.int32)
    for panel in geometry.panels:
        if not panel.ignored:
            _lay(panel, geometry, payload_shape, index, left, top)
    for bad in geometry.bad:
        if bad.panel is None:
            index[_in_image(bad, index.shape, left, top)] = -1
    return GatherMap(
        index=index,
        payload_shape=payload_shape,
        beam_x_px=float(-left),
        beam_y_px=float(-top),
    )


def _lay(
    panel: Panel,
    geometry: Geometry,
    payload_shape: tuple[int, ...],
    index: NDArray[np.int32],
    left: int,
    top: int,
) -> None:
    """Write a panel's pixels into `index` where nothing lies yet."""
    corners = _corners(panel)
    low = np.floor(corners.min(axis=0)).astype(int) - (left, top)
    high = np.ceil(corners.max(axis=0)).astype(int) - (left, top)
    (x0, y0), (x1, y1) = np.maximum(low, 0).tolist(), high.tolist()
    part = index[y0:y1, x0:x1]
    y, x = np.mgrid[top + y0 : top + y0 + part.shape[0], left + x0 : left + x0 + part.shape[1]]
    dx, dy = x + 0.5 - panel.corner_x, y + 0.5 - panel.corner_y
    # Cramer's rule: (dx, dy) = fs * panel.fs + ss * panel.ss
    area = panel.fs[0] * panel.ss[1] - panel.fs[1] * panel.ss[0]
    fs = np.floor((dx * panel.ss[1] - dy * panel.ss[0]) / area + 1e-9).astype(int)
    ss = np.floor((dy * panel.fs[0] - dx * panel.fs[1]) / area + 1e-9).astype(int)
    fs, ss = fs + panel.min_fs, ss + panel.min_ss
    edge = panel.bad_edge_px
    seen = (part < 0) & (fs >= panel.min_fs + edge) & (fs <= panel.max_fs - edge)
    seen &= (ss >= panel.min_ss + edge) & (ss <= panel.max_ss - edge)
    for bad in geometry.bad:
        if bad.panel == panel.name:
            seen &= ~((fs >= bad.min_a) & (fs <= bad.max_a) & (ss >= bad.min_b) & (ss <= bad.max_b))
    part[seen] = _flat(panel, geometry.source, payload_shape, fs[seen], ss[seen])


def _corners(panel: Panel) -> NDArray[np.float64]:
    """(4, 2) x and y of a panel's outer corners."""
    width, height = panel.max_fs - panel.min_fs + 1, panel.max_ss - panel.min_ss + 1
    along = np.array([(0, 0), (width, 0), (0, height), (width, height)], np.float64)
    steps = np.array((panel.fs, panel.ss), np.float64)
    corners: NDArray[np.float64] = along @ steps + (panel.corner_x, panel.corner_y)
    return corners


def _flat(
    panel: Panel,
    source: str,
    payload_shape: tuple[int, ...],
    fs: NDArray[np.int_],
    ss: NDArray[np.int_],
) -> NDArray[np.int_]:
    """Places in the flat payload. Two axes also fit a stack: its modules below one another."""
    axes = [axis for axis in panel.axes if axis != "%"]
    shape = payload_shape
    if len(axes) == 2 and len(shape) > 2:
        shape = (math.prod(shape[:-1]), shape[-1])
    if len(axes) != len(shape):
        raise ConfigError(
            f"{source}: panel {panel.name} has axes {', '.join(map(str, axes))} within a frame, "
            f"the payload has shape {payload_shape}"
        )
    last = {"fs": panel.max_fs, "ss": panel.max_ss}
    where = {"fs": fs, "ss": ss}
    ends = [axis if isinstance(axis, int) else last[axis] for axis in axes]
    if any(end >= size for end, size in zip(ends, shape, strict=True)):
        raise ConfigError(
            f"{source}: panel {panel.name} reaches beyond the payload of shape {payload_shape}"
        )
    places = [np.full(fs.shape, axis) if isinstance(axis, int) else where[axis] for axis in axes]
    return np.ravel_multi_index(tuple(places), shape)


def _in_image(bad: BadRegion, shape: tuple[int, ...], left: int, top: int) -> NDArray[np.bool_]:
    """Pixels whose centre lies in a region given in x and y."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    x, y = x + left + 0.5, y + top + 0.5
    inside: NDArray[np.bool_] = (
        (x >= bad.min_a) & (x <= bad.max_a) & (y >= bad.min_b) & (y <= bad.max_b)
    )
    return inside
