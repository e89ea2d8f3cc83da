"""A frame as a picture in three colours, for networks that were made for photographs.

    image (N, H, W) → relief (N, 4, 112, 112) → heights at three coarsenesses → (N, 3, 112, 112)

Red are a relief's heights above the surroundings, spots left out; green their means over 2 x 2
places, blue over 4 x 4, each in units of what noise leaves of it. So noise alone varies as much in
each colour, and what is some places wide stands out of it in green and blue: that is what diffuse
scattering looks like.

Nothing is learned here. Heights above the radial mean, and in units of the background, tell frames
of one experiment, and no others (docs/experiments.md).
"""

import numpy as np

from hitfinder.training.networks.relief import CHANNELS, HIGHEST, bounded, relief
from hitfinder.training.networks.texture import SIDE, levels
from hitfinder.training.onnx_graph import Graph

COLOURS = 3


def colours(g: Graph, features: str) -> str:
    """Add the arithmetic to a graph: a relief's `features` → (N, COLOURS, SIDE, SIDE), 0 where
    nothing was measured.
    """
    heights = g.op("Slice", features, g.ints(0), g.ints(1), g.ints(1))
    there = g.op("Slice", features, g.ints(CHANNELS - 1), g.ints(CHANNELS), g.ints(1))
    drawn = []
    for level, (maps, _) in enumerate(levels(g, heights, there, COLOURS)):
        noises = g.op("Mul", maps, 2.0**level)
        drawn.append(magnified(g, bounded(g, noises, HIGHEST), 2**level))
    return g.op("Concat", *drawn, axis=1)


def magnified(g: Graph, maps: str, times: int) -> str:
    """Each place as a square of so many."""
    if times == 1:
        return maps
    return g.op(
        "Resize",
        maps,
        "",
        g.constant(np.array([1, 1, times, times], np.float32)),
        mode="nearest",
        nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )


def picture_graph() -> bytes:
    """What learns nothing of a VGG16 model, alone: `image` → `relief` (N, COLOURS, SIDE, SIDE)."""
    g = Graph()
    return g.stage("relief", colours(g, relief(g, SIDE)), (COLOURS, SIDE, SIDE))
