"""A frame's heights in a square, without its spots: what every relief begins with.

    image (N, H, W) → pools of 4 x 4 pixels → spots left out → side x side

With the input `binned` true the image's values are means of 4 x 4 pixels already, NaN where a pixel
was not measured: whoever reads frames from a stream makes those faster than the graph does.

The whole frame goes into the square, its sides in proportion, and the rest of the square counts as
not measured; so does a pool that lacks a pixel. Frames of any size do; up to POOL - 1 pixels on the
right and below are not looked at. What this file does not know: backgrounds, and what is made of
the heights.
"""

import math

import numpy as np

from hitfinder.inference.model_card import BINNED
from hitfinder.training.onnx_graph import Graph

POOL = 4
"""Pixels along a pool's side: a spot fills one or two, and maps shrink 16 times."""

BLOCK = 5
"""Pools along the side of a block, whose means, linear in between, are a pool's surroundings; for
a first look so many quads of 2 x 2 pools."""

NOTHING = 1e18
"""Its negative stands for no measurement: lower than any pixel, even when averaged with others."""

OWN = 100.0
"""How much more a block's own pools count for it than those of the eight around, which tell of a
block of which nothing was measured."""

LEAST = 1e-3
"""Of a block's pools; where fewer were measured, there is nothing to take a mean of."""

MEASURED = 1e15
"""Below it, every pixel of a pool was measured."""

FIRST_CUT = 6.0
"""Mean deviations of the least pools of quads, above their mean, at which pools are cut down before
their own deviation is measured. Least values are hardly raised by spots, however bright."""

CUT = 3.5
"""Mean deviations above its surroundings at which a pool is left out then: some three sigma."""


def heights_of(g: Graph, side: int) -> tuple[str, str]:
    """Add the arithmetic to a graph with the input `image`; the names of the heights (N, 1, side,
    side), 0 where not measured, and of 1 where they were.
    """
    pools = _pools(g)
    rows, cols = (g.number(g.op("Shape", pools, start=axis, end=axis + 1)) for axis in (2, 3))
    depths, counts = _without_spots(g, *_padded(g, pools))
    longest = g.op("Max", rows, cols)
    down, across = (
        _averaging(g, depths, rows, longest, side, 2),
        _averaging(g, depths, cols, longest, side, 3),
    )

    def resized(maps: str) -> str:
        return g.op("MatMul", g.op("MatMul", down, maps), across)

    weight = resized(counts)  # (N, 1, side, side)
    full = g.op("ReduceMax", weight, g.ints(1, 2, 3))
    known = g.op("Greater", weight, g.op("Mul", full, 0.3))
    there = g.number(known)
    mean = g.op("Div", resized(depths), g.op("Max", weight, 1e-6))
    return g.op("Where", known, g.op("Neg", mean), 0.0), there


def _pools(g: Graph) -> str:
    """Means of pools (N, 1, h, w), NaN where not all of a pool was measured."""
    image = g.op("Unsqueeze", "image", g.ints(1))
    # One pixel that is NaN makes its pool NaN and no other: no pass over all pixels is needed.
    pools = g.op("AveragePool", image, kernel_shape=(POOL, POOL), strides=(POOL, POOL))
    return g.either(g.switch(BINNED), g.op("Identity", image), pools)


def _padded(g: Graph, pools: str) -> tuple[str, str]:
    """Negated means of pools, -NOTHING where not all of a pool was measured, and 1 where all was;
    padded below and on the right, as not measured, to whole blocks.
    """
    size = g.op("Shape", pools, start=2)
    side = 2 * BLOCK
    blocks = g.op("Div", g.op("Add", size, g.ints(side - 1)), g.ints(side))
    more = g.op("Sub", g.op("Mul", blocks, g.ints(side)), size)
    pads = g.op("Concat", g.ints(0, 0), more, axis=0)
    # Negated, because what is least is sought, and only greatest values can be pooled.
    mean = g.op("Pad", g.op("Neg", pools), pads, math.nan, g.ints(2, 3))
    nothing = g.op("IsNaN", mean)
    return g.op("Where", nothing, -NOTHING, mean), g.number(g.op("Not", nothing))


def _without_spots(g: Graph, depth: str, there: str) -> tuple[str, str]:
    """Negated means of pools, and 1 where a pool still counts: those that stand out of their
    surroundings, and the eight around each, do not. Both are 0 where nothing counts.
    """
    least = g.op("MaxPool", depth, kernel_shape=(2, 2), strides=(2, 2))
    known = g.number(g.op("Greater", least, -MEASURED))
    bound = _bound(g, g.op("Mul", least, known), known, FIRST_CUT, 2)
    depth = g.op("Mul", depth, there)
    cut = g.op("Mul", g.op("Max", depth, bound), there)
    out = g.number(g.op("Less", depth, _bound(g, cut, there, CUT)))
    near = g.op("MaxPool", out, kernel_shape=(3, 3), pads=(1, 1, 1, 1))
    counts = g.number(g.op("Greater", there, near))
    return g.op("Mul", depth, counts), counts


def _bound(g: Graph, maps: str, there: str, cut: float, times: int = 1) -> str:
    """Around each place, of `times` as many along each side, the mean of maps, 0 where nothing is,
    less `cut` mean deviations.
    """
    near = np.ones((1, 1, 3, 3), np.float32)
    near[0, 0, 1, 1] = OWN

    def around_blocks(maps: str) -> str:
        return g.op("Conv", _sums(g, maps, BLOCK), g.constant(near), pads=(1, 1, 1, 1))

    number = g.op("Max", around_blocks(there), LEAST)
    level = g.op("Div", around_blocks(maps), number)
    away = g.op("Abs", g.op("Sub", maps, _across(g, level, BLOCK)))
    spread = g.op("Div", around_blocks(g.op("Mul", away, there)), number)
    return _across(g, g.op("Sub", level, g.op("Mul", spread, cut)), BLOCK * times)


def _across(g: Graph, means: str, block: int) -> str:
    """From one number a block to one a place, linear in between, level at the border."""
    framed = g.op("Pad", means, g.ints(1, 1, 1, 1), "", g.ints(2, 3), mode="edge")
    return _between(g, framed, block, less=block)


def around(g: Graph, maps: str, block: int) -> str:
    """Sums over blocks of an odd side, linear in between; (N, 1, h, w), whole numbers of blocks."""
    return _between(g, _sums(g, maps, block), block)


def _sums(g: Graph, maps: str, block: int) -> str:
    ones = g.constant(np.ones((1, 1, block, block), np.float32))
    return g.op("Conv", maps, ones, strides=(block, block))


def _between(g: Graph, sums: str, block: int, less: int = 0) -> str:
    """From one number a block to one a place, linear in between; `less` places fewer at each end.

    Along columns, then along rows: half the time of both at once.
    """
    half = block // 2
    even = 1 - block % 2  # then a block's middle lies between two places
    at = np.arange(2 * block - 1 + even) - (block - 1 + even / 2)
    slope = (1 - np.abs(at) / block).astype(np.float32)
    for way in ((0, 1), (1, 0)):
        across = slope.reshape(1, 1, *(-1 if axis else 1 for axis in way))
        strides = tuple(block if axis else 1 for axis in way)
        pads = tuple(half + less if axis else 0 for axis in way) * 2
        sums = g.op("ConvTranspose", sums, g.constant(across), strides=strides, pads=pads)
    return sums


def _averaging(g: Graph, maps: str, size: str, longest: str, side: int, axis: int) -> str:
    """Weights of pools in the places of the square along one axis, (side, h) for rows and (w, side)
    for columns: hats, as wide as a place or, where places are smaller than pools, as a pool.
    """
    step = g.op("Div", longest, float(side))  # pools from place to place
    places = (np.arange(side, dtype=np.float32) + 0.5 - side / 2).reshape(-1, 1)
    middle = g.op("Sub", g.op("Mul", size, 0.5), 0.5)
    at = g.op("Add", g.op("Mul", g.constant(places), step), middle)  # (side, 1)
    stop = g.op("Squeeze", g.op("Shape", maps, start=axis, end=axis + 1))
    pools = g.number(
        g.op("Range", g.constant(np.array(0, np.int64)), stop, g.constant(np.array(1, np.int64)))
    )
    away = g.op("Abs", g.op("Sub", pools, at))
    hats = g.op("Relu", g.op("Sub", 1.0, g.op("Div", away, g.op("Max", step, 1.0))))
    return hats if axis == 2 else g.op("Transpose", hats, perm=(1, 0))
