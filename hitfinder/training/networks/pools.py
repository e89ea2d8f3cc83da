"""A frame's heights in a square, without its spots: what every relief begins with.

    image (N, H, W) → quads of four pools of 4 x 4 pixels → spots left out → side x side

Only the first step looks at every pixel. What is averaged over surroundings is made from quads, and
only whether a pool stands out of them is asked of each pool: a quarter of the work. The whole frame
goes into the square, its sides in proportion, and the rest of the square counts as not measured; so
does a quad that lacks a pixel. Frames of any size do; up to QUAD - 1 pixels on the right and below
are not looked at. What this file does not know: backgrounds, and what is made of the heights.
"""

import math
from itertools import product

import numpy as np
from numpy.typing import NDArray

from hitfinder.training.onnx_graph import Graph

POOL = 4
"""Pixels along a pool's side: a spot fills one or two, and maps shrink 16 times."""

QUAD = 2 * POOL
"""Four pools: what is averaged over many of them is made from these."""

PLACES = ((0, 0), (1, 0), (0, 1), (1, 1))
"""Row and column of a quad's four pools, in the order in which they are its channels."""

BLOCK = 3
"""Quads along the side of a block, whose means, linear in between, are a pool's surroundings."""

FIRST_CUT = 6.0
"""Mean deviations of the least pool of a quad, above their mean, at which pools are cut down before
their own deviation is measured. Least values are hardly raised by spots, however bright."""

CUT = 3.5
"""Mean deviations above its surroundings at which a pool is left out then: some three sigma."""


def heights_of(g: Graph, side: int) -> tuple[str, str]:
    """Add the arithmetic to a graph with the input `image`; the names of the heights (N, 1, side,
    side), 0 where not measured, and of 1 where they were.
    """
    values, counts = _without_spots(g, *_pools(g))
    rows, cols = _sizes(g)
    longest = g.op("Max", rows, cols)
    down = _averaging(g, values, rows, longest, side, 2)
    across = _averaging(g, values, cols, longest, side, 3)

    def resized(maps: str) -> str:
        # The pools of each second column, their rows below one another: even ones, then odd ones.
        halves = g.op("Reshape", maps, g.ints(0, 2, -1, 0))  # (N, 2, 2 h, w)
        both = g.op("MatMul", g.op("MatMul", down, halves), across)  # (N, 2, side, side)
        return g.op("ReduceSum", both, g.ints(1))

    weight = resized(counts)  # (N, 1, side, side)
    full = g.op("ReduceMax", weight, g.ints(1, 2, 3))
    known = g.op("Greater", weight, g.op("Mul", full, 0.3))
    there = g.number(known)
    mean = g.op("Div", resized(values), g.op("Max", weight, 1e-6))
    heights = g.op("Where", known, mean, 0.0)
    return heights, there


def _pools(g: Graph) -> tuple[str, str]:
    """Means (N, 4, h, w) of the pools in each quad, 0 where not all of a quad was measured,
    and (N, 1, h, w) 1 where all was; padded below and on the right to whole blocks.
    """
    # One pixel that is NaN makes its quad NaN and no other: no pass over all pixels is needed.
    weights = np.zeros((4, 2, POOL, 2, POOL), np.float32)
    for place, (row, col) in enumerate(PLACES):
        weights[place, row, :, col] = 1 / POOL**2
    quads = g.op(
        "Conv",
        g.op("Unsqueeze", "image", g.ints(1)),
        g.constant(weights.reshape(4, 1, QUAD, QUAD)),
        strides=(QUAD, QUAD),
    )
    size = g.op("Shape", quads, start=2)
    blocks = g.op("Div", g.op("Add", size, g.ints(BLOCK - 1)), g.ints(BLOCK))
    more = g.op("Sub", g.op("Mul", blocks, g.ints(BLOCK)), size)
    pads = g.op("Concat", g.ints(0, 0), more, axis=0)
    quads = g.op("Pad", quads, pads, math.nan, g.ints(2, 3))
    nothing = g.op("IsNaN", g.op("Slice", quads, g.ints(0), g.ints(1), g.ints(1)))
    return g.op("Where", nothing, 0.0, quads), g.number(g.op("Not", nothing))


def _without_spots(g: Graph, pools: str, there: str) -> tuple[str, str]:
    """Means of pools, and 1 where a pool still counts: those that stand out of their surroundings,
    and the eight around each, do not. Both (N, 4, h, w), 0 where nothing counts.
    """
    least = g.op("ReduceMin", pools, g.ints(1))
    cut = g.op("Min", pools, _bound(g, least, there, FIRST_CUT))
    mean = g.op("Mul", _mean(g, cut, there), there)
    # Noise is twice as large in a pool as in the mean of four.
    out = g.number(g.op("Greater", pools, _bound(g, mean, there, 2 * CUT)))
    near = g.op("Conv", out, g.constant(_beside()), pads=(1, 1, 1, 1))
    counts = g.number(g.op("Greater", there, near))
    return g.op("Mul", pools, counts), counts


def _mean(g: Graph, quads: str, like: str) -> str:
    """(N, 4, h, w) to means (N, 1, h, w): a product of matrices, four times faster than
    ReduceMean.
    """
    flat = g.op("Reshape", quads, g.ints(0, 4, -1))
    means = g.op("MatMul", g.constant(np.full((1, 4), 0.25, np.float32)), flat)
    return g.op("Reshape", means, g.op("Shape", like))


def _beside() -> NDArray[np.float32]:
    """(4, 4, 3, 3): 1 where a pool of this quad, or of those around, touches or is a quad's own."""
    touches = np.zeros((4, 4, 3, 3), np.float32)
    for (one, (row, col)), (other, (row2, col2)) in product(enumerate(PLACES), repeat=2):
        for down, across in np.ndindex(3, 3):
            if abs(2 * (down - 1) + row2 - row) <= 1 and abs(2 * (across - 1) + col2 - col) <= 1:
                touches[one, other, down, across] = 1
    return touches


def _bound(g: Graph, maps: str, there: str, cut: float) -> str:
    """Around each place the mean of maps, 0 where nothing is, and `cut` mean deviations more."""
    share = g.op("Reciprocal", g.op("Max", _between(g, _sums(g, there, BLOCK), BLOCK), 1e-3))
    sums = _sums(g, maps, BLOCK)
    level = g.op("Mul", _between(g, sums, BLOCK), share)
    away = g.op("Mul", g.op("Abs", g.op("Sub", maps, level)), there)
    # What is linear in between is added where it is small.
    bound = g.op("Add", sums, g.op("Mul", _sums(g, away, BLOCK), cut))
    return g.op("Mul", _between(g, bound, BLOCK), share)


def around(g: Graph, maps: str, block: int) -> str:
    """Sums over blocks of an odd side, linear in between; (N, 1, h, w), whole numbers of blocks."""
    return _between(g, _sums(g, maps, block), block)


def _sums(g: Graph, maps: str, block: int) -> str:
    ones = g.constant(np.ones((1, 1, block, block), np.float32))
    return g.op("Conv", maps, ones, strides=(block, block))


def _between(g: Graph, sums: str, block: int) -> str:
    """From one number a block (an odd side) to one a place, linear in between.

    Along columns, then along rows: half the time of both at once.
    """
    half = block // 2
    slope = (1 - np.abs(np.arange(2 * block - 1) - (block - 1)) / block).astype(np.float32)
    for way in ((0, 1), (1, 0)):
        across = slope.reshape(1, 1, *(-1 if axis else 1 for axis in way))
        strides = tuple(block if axis else 1 for axis in way)
        pads = tuple(half if axis else 0 for axis in way) * 2
        sums = g.op("ConvTranspose", sums, g.constant(across), strides=strides, pads=pads)
    return sums


def _sizes(g: Graph) -> tuple[str, str]:
    """Pools along the image's rows' and columns' sides, as numbers; without padding."""
    found = []
    for axis in (1, 2):
        size = g.op("Shape", "image", start=axis, end=axis + 1)  # (1,)
        found.append(g.op("Mul", g.number(g.op("Div", size, g.ints(QUAD))), 2.0))
    return found[0], found[1]


def _averaging(g: Graph, quads: str, size: str, longest: str, side: int, axis: int) -> str:
    """Weights of pools in the places of the square along one axis, (side, 2 h) for rows, even ones
    first, and (2, w, side) for columns: hats, as wide as a place or, where places are smaller than
    pools, as a pool.
    """
    step = g.op("Div", longest, float(side))  # pools from place to place
    places = np.arange(side, dtype=np.float32) + 0.5 - side / 2
    middle = g.op("Sub", g.op("Mul", size, 0.5), 0.5)
    at = g.op("Add", g.op("Mul", g.constant(places), step), middle)  # (side,)
    stop = g.op("Squeeze", g.op("Shape", quads, start=axis, end=axis + 1))
    zero, one = (g.constant(np.array(each, np.int64)) for each in (0, 1))
    even = g.op("Mul", g.number(g.op("Range", zero, stop, one)), 2.0)
    pools = g.op("Add", even, g.constant(np.array([[0], [1]], np.float32)))  # (2, h or w)
    if axis == 2:
        pools, at = g.op("Reshape", pools, g.ints(1, -1)), g.op("Unsqueeze", at, g.ints(1))
    else:
        pools = g.op("Unsqueeze", pools, g.ints(2))
    away = g.op("Div", g.op("Abs", g.op("Sub", pools, at)), g.op("Max", step, 1.0))
    return g.op("HardSigmoid", away, alpha=-1.0, beta=1.0)  # 1 - away, or 0
