"""A frame's heights in a square, without its spots: what every relief begins with.

    image (N, H, W) → pools of 4 x 4 pixels → spots left out → side x side

With the input `binned` true the image's values are means of 4 x 4 pixels already, NaN where a pixel
was not measured: whoever reads frames from a stream makes those faster than the graph does.

The whole frame goes into the square, its sides in proportion, and the rest of the square counts as
not measured; so does a pool that lacks a pixel. Frames of any size do; up to POOL - 1 pixels on the
right and below are not looked at. What this file does not know: backgrounds, and what is made of
the heights.

Maps of all pools are large, so each node that makes one costs: what can be is done block by block.
Which operators are fast was measured, and is often not the one that says it shortest (see
docs/experiments.md, "Fewer and faster passes over all pools").
"""

import numpy as np
from numpy.typing import NDArray

from hitfinder.inference.model_card import BINNED
from hitfinder.training.onnx_graph import Graph

POOL = 4
"""Pixels along a pool's side: a spot fills one or two, and maps shrink 16 times."""

BLOCK = 5
"""Pools along the side of a block, whose means, linear in between, are a pool's surroundings; for
a first look so many quads of 2 x 2 pools."""

STRIP = 4
"""Blocks, one below the other, that are drawn out to places in one product of matrices; of a first
look's half as many."""

NOTHING = 1e18
"""Stands for no measurement: higher than any pixel, even when averaged with others."""

AROUND = 0.01
"""How much the eight blocks around count for a block, beside its own pools: they tell of a block of
which nothing was measured."""

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
    pools, lacking = _pools(g)
    size = g.op("Shape", pools, start=2)
    counting = _without_spots(g, *_padded(g, pools, lacking, size))
    counts = g.number(g.op("Slice", counting, g.ints(0, 0), size, g.ints(2, 3)))
    # The longest side is as long as the square's, the other in proportion, rounded.
    longest = g.op("ReduceMax", size)
    twice = g.op("Add", g.op("Mul", size, g.ints(2 * side)), longest)
    sides = g.op("Max", g.op("Div", twice, g.op("Mul", longest, g.ints(2))), g.ints(1))

    def resized(maps: str) -> str:
        """Means weighted by hats, as wide as a place or, where places are smaller, as a pool."""
        values = (maps, "", "", sides)
        return g.op("Resize", *values, axes=(2, 3), mode="linear", antialias=1, exclude_outside=1)

    weight = resized(counts)
    full = g.op("ReduceMax", weight, g.ints(1, 2, 3))
    known = g.number(g.op("Greater", weight, g.op("Mul", full, 0.3)))
    mean = g.op("Div", resized(g.op("Mul", pools, counts)), g.op("Max", weight, 1e-6))
    more = g.op("Sub", g.ints(side), sides)
    before = g.op("Div", more, g.ints(2))
    pads = g.op("Concat", before, g.op("Sub", more, before), axis=0)
    heights = g.op("Pad", g.op("Mul", mean, known), pads, 0.0, g.ints(2, 3))
    return heights, g.op("Pad", known, pads, 0.0, g.ints(2, 3))


def _pools(g: Graph) -> list[str]:
    """Means of pools (N, 1, h, w), 0 where not all of a pool was measured, and whether it was not.

    One pixel that is NaN makes its pool NaN and no other: no pass over all pixels is needed.
    """
    image = g.op("Unsqueeze", "image", g.ints(1))

    def told(means: str) -> list[str]:
        # Nothing lies below so low a threshold; NaN is not above it.
        return [g.op("ThresholdedRelu", means, alpha=-NOTHING), g.op("IsNaN", means)]

    def averaged() -> list[str]:
        return told(g.means(image, POOL))

    return g.either(g.switch(BINNED), lambda: told(image), averaged)


def _padded(g: Graph, pools: str, lacking: str, size: str) -> tuple[str, str, str]:
    """Means of pools, padded below and on the right, as not measured, to whole strips of blocks;
    1 where measured; and the means' negatives, -NOTHING where not measured.
    """
    side = BLOCK * STRIP
    strips = g.op("Div", g.op("Add", size, g.ints(side - 1)), g.ints(side))
    more = g.op("Sub", g.op("Mul", strips, g.ints(side)), size)
    pads = g.op("Concat", g.ints(0, 0), more, axis=0)
    pools = g.op("Pad", pools, pads, 0.0, g.ints(2, 3))
    true = g.constant(np.array(True))
    nothing = g.number(g.op("Pad", lacking, pads, true, g.ints(2, 3)))
    depths = g.op("Sub", g.op("Mul", nothing, -NOTHING), pools)
    return pools, g.op("Sub", 1.0, nothing), depths


def _without_spots(g: Graph, pools: str, there: str, depths: str) -> str:
    """Whether a pool counts, a bool: those that stand out of their surroundings, and the eight
    around each, do not.
    """
    # What is least is sought, and only greatest values can be pooled.
    most = g.op("MaxPool", depths, kernel_shape=(2, 2), strides=(2, 2))
    known = g.number(g.op("Greater", most, -MEASURED))
    least = g.op("Mul", g.op("Neg", most), known)
    bound = _bound(g, least, known, FIRST_CUT, pools, 2)
    cut = g.op("Mul", g.op("Min", pools, bound), there)
    out = g.number(g.op("Greater", pools, _bound(g, cut, there, CUT, pools)))
    near = g.op("MaxPool", out, kernel_shape=(3, 3), pads=(1, 1, 1, 1))
    return g.op("Greater", there, near)


def _bound(g: Graph, maps: str, there: str, cut: float, like: str, times: int = 1) -> str:
    """Around each place of maps shaped `like` these, or of `times` as many along each side, the
    mean of maps, 0 where nothing is, and `cut` mean deviations above it.
    """
    strip = STRIP // times
    lines = g.op("Concat", g.ints(0, 0, -1, BLOCK), g.op("Shape", maps, start=3), axis=0)

    def in_blocks(maps: str) -> str:
        """Sums over blocks, and a little of those around."""
        sums = g.op("ReduceSum", g.op("Reshape", maps, lines), g.ints(3), keepdims=0)
        sums = g.op("Reshape", sums, g.ints(0, 0, 0, -1, BLOCK))
        sums = g.op("ReduceSum", sums, g.ints(4), keepdims=0)
        return g.op("Add", sums, g.op("Mul", g.means_around(sums, 3), 9 * AROUND))

    number = g.op("Max", in_blocks(there), LEAST)
    level = g.op("Div", in_blocks(maps), number)
    rows = g.op("Squeeze", g.op("Shape", level, start=2, end=3))
    first = g.op("Range", g.integer(0), rows, g.integer(strip))
    strips = g.op("Add", g.op("Unsqueeze", first, g.ints(1)), g.ints(*range(strip + 2)))
    away = g.op("Abs", g.op("Sub", maps, _across(g, level, strips, strip, BLOCK, maps)))
    spread = g.op("Div", in_blocks(g.op("Mul", away, there)), number)
    bound = g.op("Add", level, g.op("Mul", spread, cut))
    return _across(g, bound, strips, strip, BLOCK * times, like)


def _across(g: Graph, means: str, strips: str, strip: int, block: int, like: str) -> str:
    """From one number a block to one a place of maps shaped `like` these: linear in between, level
    at the border. `strips` (n, strip + 2) are rows of blocks, those above and below included.
    """
    framed = g.op("Pad", means, g.ints(1, 1, 1, 1), "", g.ints(2, 3), mode="edge")
    at = np.arange(2 * block - block % 2) + 0.5 - block + block % 2 / 2
    slope = (1 - np.abs(at) / block).astype(np.float32).reshape(1, 1, 1, -1)
    pads = (0, block + block // 2) * 2
    wide = g.op("ConvTranspose", framed, g.constant(slope), strides=(1, block), pads=pads)
    weights = hats((np.arange(strip * block) + 0.5) / block + 0.5, strip + 2)
    tall = g.op("MatMul", g.constant(weights), g.op("Gather", wide, strips, axis=2))
    return g.op("Reshape", tall, g.op("Shape", like))


def hats(at: NDArray[np.float64], count: int) -> NDArray[np.float32]:
    """(n, count) what each of `count` whole numbers counts `at` (n,): linear in between."""
    away = np.abs(at[:, np.newaxis] - np.arange(count))
    weights: NDArray[np.float32] = np.maximum(1 - away, 0).astype(np.float32)
    return weights
