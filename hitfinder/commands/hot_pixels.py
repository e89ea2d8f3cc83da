"""`hitfinder hot-pixels`: what the service learned of its detector's pixels."""

from pathlib import Path

import imagecodecs
import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from hitfinder.commands.tables import print_table
from hitfinder.commands.targets import check_target
from hitfinder.images.hot_pixel_file import HotPixelMap, load_hot_pixels

WORST = 20
"""Pixels that are listed."""

MARK_PX = 4
"""A hot pixel is drawn this far to each side: one of 16 million could not be seen."""

_GREY = 40
"""Of the detector's area in a picture, so that its edges show."""


def show(path: Path, png: Path | None) -> int:
    """How many, the worst, and where as a picture, modules below one another."""
    check_target(png, ".png")
    found = load_hot_pixels(path)
    size = " x ".join(map(str, found.payload_shape))
    typer.echo(f"{path}: {len(found.places)} hot pixels in frames of {size}")
    if len(found.places):
        print_table(_worst(found))
    if png is not None:
        png.write_bytes(imagecodecs.png_encode(_picture(found)))
    return 0


def _worst(found: HotPixelMap) -> Table:
    table = Table(box=None)
    for name in (*["module"] * (len(found.payload_shape) - 2), "row", "col", "share of frames"):
        table.add_column(name, justify="right")
    for at in np.argsort(-found.shares, kind="stable")[:WORST].tolist():
        where = np.unravel_index(int(found.places[at]), found.payload_shape)
        table.add_row(*(str(int(axis)) for axis in where), f"{found.shares[at]:.0%}")
    return table


def _picture(found: HotPixelMap) -> NDArray[np.uint8]:
    """(rows, cols) with a white square around each hot pixel."""
    cols = found.payload_shape[-1]
    picture = np.full((int(np.prod(found.payload_shape[:-1])), cols), _GREY, np.uint8)
    for place in found.places.tolist():
        row, col = divmod(place, cols)
        top, left = max(row - MARK_PX, 0), max(col - MARK_PX, 0)
        picture[top : row + MARK_PX + 1, left : col + MARK_PX + 1] = 255
    return picture
