"""Assembly against an oracle that knows no matrices: which pixel's outline holds the point."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hitfinder.errors import ConfigError
from hitfinder.frame import Detector, array_payload
from hitfinder.images.gather import gather_map
from hitfinder.images.geometry import BadRegion, Geometry, Panel, parse_geometry, read_geometry
from hitfinder.images.region import RegionSettings, plan_region

TOY = Path(__file__).with_name("toy.geom")
SHAPE = (2, 6, 8)


def outline_holds(panel: Panel, fs: int, ss: int, x: float, y: float) -> bool:
    """Whether (x, y) lies on one side of all four edges of a pixel."""
    a, b = fs - panel.min_fs, ss - panel.min_ss
    corners = [
        (
            panel.corner_x + i * panel.fs[0] + j * panel.ss[0],
            panel.corner_y + i * panel.fs[1] + j * panel.ss[1],
        )
        for i, j in ((a, b), (a + 1, b), (a + 1, b + 1), (a, b + 1))
    ]
    sides = [
        (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)
        for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True)
    ]
    return all(side >= 0 for side in sides) or all(side <= 0 for side in sides)


def is_bad(bad: BadRegion, panel: Panel, fs: int, ss: int, x: float, y: float) -> bool:
    a, b = (x, y) if bad.panel is None else (fs, ss)
    inside = bad.min_a <= a <= bad.max_a and bad.min_b <= b <= bad.max_b
    return inside and bad.panel in (None, panel.name)


def oracle(geometry: Geometry, left: float, top: float, row: int, col: int) -> int:
    x, y = left + col + 0.5, top + row + 0.5
    for panel in geometry.panels:
        for ss in range(panel.min_ss, panel.max_ss + 1):
            for fs in range(panel.min_fs, panel.max_fs + 1):
                if outline_holds(panel, fs, ss, x, y):
                    if any(is_bad(bad, panel, fs, ss, x, y) for bad in geometry.bad):
                        return -1
                    module = panel.axes[1]
                    assert isinstance(module, int)
                    return module * 48 + ss * 8 + fs
    return -1


def test_every_pixel_of_the_image_is_the_one_whose_outline_holds_it() -> None:
    geometry = read_geometry(TOY)
    laid = gather_map(geometry, SHAPE)
    rows, cols = laid.index.shape
    expected = [
        [oracle(geometry, -laid.beam_x_px, -laid.beam_y_px, row, col) for col in range(cols)]
        for row in range(rows)
    ]
    np.testing.assert_array_equal(laid.index, expected)
    assert (laid.index >= 0).sum() > 80  # of 96, less 2 bad, 2 bad and what rotation skips


def test_beam_is_where_x_and_y_are_zero() -> None:
    laid = gather_map(read_geometry(TOY), SHAPE)
    assert (laid.beam_x_px, laid.beam_y_px) == (10.0, 10.0)


def test_turned_panel_has_no_holes() -> None:
    geometry = read_geometry(TOY)
    laid = gather_map(replace(geometry, bad=()), SHAPE)
    for line in laid.index[:12]:
        seen = np.flatnonzero(line >= 48)
        assert len(seen) == 0 or len(seen) == seen[-1] - seen[0] + 1


def test_two_axes_fit_a_slab_and_a_stack() -> None:
    text = "\n".join(
        f"p{k}/min_fs=0\np{k}/max_fs=3\np{k}/min_ss={2 * k}\np{k}/max_ss={2 * k + 1}\n"
        f"p{k}/corner_x=0\np{k}/corner_y={3 * k}\np{k}/fs=x\np{k}/ss=y"
        for k in range(2)
    )
    geometry = parse_geometry(text, "t")
    expected = np.vstack([np.arange(8).reshape(2, 4), [[-1] * 4], np.arange(8, 16).reshape(2, 4)])
    for shape in ((4, 4), (2, 2, 4)):
        np.testing.assert_array_equal(gather_map(geometry, shape).index, expected)


@pytest.mark.parametrize(
    ("shape", "told"),
    [((1, 6, 8), "reaches beyond"), ((2, 6, 7), "reaches beyond"), ((12, 8), "has axes 0, ss, fs")],
)
def test_payload_that_lacks_a_panel_is_refused(shape: tuple[int, ...], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        gather_map(read_geometry(TOY), shape)


def test_absurd_corner_is_refused_before_memory_is() -> None:
    text = TOY.read_text().replace("corner_x = -10", "corner_x = -1e9")
    with pytest.raises(ConfigError, match="check corner_x"):
        gather_map(parse_geometry(text, "t"), SHAPE)


def test_region_of_an_assembled_image_reads_gathered_pixels() -> None:
    laid = gather_map(read_geometry(TOY), SHAPE)
    frame = np.arange(96, dtype=np.uint16).reshape(SHAPE)
    mask = np.zeros(SHAPE, np.bool_)
    mask[0, 3] = True
    for settings in (
        RegionSettings(kind="whole"),
        RegionSettings(rows=9, cols=7, around="beam"),
        RegionSettings(kind="box", top=-2, left=-3, rows=40, cols=40),
    ):
        reader = plan_region(settings, SHAPE, Detector(mask=mask, saturation=90.0), laid)
        out = np.zeros(reader.shape, np.float32)
        reader.read(array_payload(frame), out)
        top, left = {
            "whole": (0, 0),
            "center": (math.floor(10 - 9 / 2 + 0.5), math.floor(10 - 7 / 2 + 0.5)),
            "box": (-2, -3),
        }[settings.kind]
        for row in range(reader.shape[0]):
            for col in range(reader.shape[1]):
                y, x = row + top, col + left
                inside = 0 <= y < laid.index.shape[0] and 0 <= x < laid.index.shape[1]
                place = int(laid.index[y, x]) if inside else -1
                known = 0 <= place < 90 and not mask.reshape(-1)[place]
                assert out[row, col] == place if known else np.isnan(out[row, col])


def test_what_the_geometry_says_to_ignore_is_not_seen() -> None:
    text = """
dim0 = ss
dim1 = fs
a/min_fs = 0
a/max_fs = 5
a/min_ss = 0
a/max_ss = 3
a/corner_x = 0
a/corner_y = 0
a/fs = x
a/ss = y
a/mask_edge_pixels = 1
b/min_fs = 6
b/max_fs = 7
b/min_ss = 0
b/max_ss = 3
b/corner_x = 6
b/corner_y = 0
b/fs = x
b/ss = y
b/no_index = {flag}
"""
    inside = np.zeros((4, 8), np.bool_)
    inside[1:3, 1:5] = True
    laid = gather_map(parse_geometry(text.format(flag="true"), "t"), (4, 8))
    np.testing.assert_array_equal(laid.index >= 0, inside)
    inside[:, 6:] = True
    laid = gather_map(parse_geometry(text.format(flag="0"), "t"), (4, 8))
    np.testing.assert_array_equal(laid.index >= 0, inside)
