"""How a relief is textured, cell by cell: what tells diffuse scattering from noise, edges, slopes.

    relief (N, 4, 112, 112) → means of 2 x 2, again and again → (N, TEXTURES, 14, 14)

Noise has no memory: its mean square falls to a quarter each time that places are averaged by four,
and neighbours know nothing of one another. Diffuse scattering is a texture some places wide, all
over the frame; an edge or a streak stands in few cells, and in one direction. So each cell gives,
for reliefs two, four and eight times as coarse, mean squares against those of noise, and how alike
neighbours are: along the axes and the diagonals, and how much that differs between directions.
Turning or mirroring a frame turns the cells and changes no number in them. Nothing is learned here.

Only heights above the surroundings are looked at: what is wider than an eighth of the frame, jets,
shadows and polarisation, was in the way of telling frames of other detectors (docs/experiments.md).
"""

import numpy as np

from hitfinder.training.networks.relief import CHANNELS, relief
from hitfinder.training.onnx_graph import END, Graph

SIDE = 112
"""Places along the relief's side; 224 costs another 8 ms a frame of 1750 x 1750 pixels."""

CELLS = 14
"""Along each side: a cell is 8 x 8 places."""

LEVELS = 4
"""The relief as it is, and two, four and eight times as coarse."""

NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Along the axes, then along the diagonals."""

TEXTURES = 17
ENOUGH = 0.4
"""Share of a coarser place that must have been measured."""

FAINTEST = 0.05
"""Added before logarithms, in units of noise squared."""

LEAST = 0.02
"""Share of a cell that must have been measured, and the least mean square to compare with."""


def texture(g: Graph, features: str) -> str:
    """Add the arithmetic to a graph: a relief's `features` → (N, TEXTURES, CELLS, CELLS), the last
    channel being the share of a cell that was measured.

    Each node costs, whatever its size: so what is done to all levels is done to them at once.
    """

    def cut(maps: str, start: int, stop: int, axis: int = 1, step: int = 1) -> str:
        return g.op("Slice", maps, g.ints(start), g.ints(stop), g.ints(axis), g.ints(step))

    heights, there = cut(features, 0, 1), cut(features, CHANNELS - 1, CHANNELS)
    every = [_products(g, *each, level) for level, each in enumerate(levels(g, heights, there))]
    means = g.op("Concat", *every, axis=1)
    share = cut(means, 1, END, step=2)
    ratios = _over(g, cut(means, 0, END, step=2), share)
    kinds, compared = 1 + len(NEIGHBOURS), LEVELS - 1
    white = np.logspace(0, LEVELS - 1, LEVELS, base=4, dtype=np.float32).reshape(1, -1, 1, 1)
    power = g.op("Mul", cut(ratios, 0, END, step=kinds), g.constant(white))
    logs = g.op("Log", g.op("Add", power, FAINTEST))
    by_level = g.op(
        "Reshape", cut(ratios, 0, compared * kinds), g.ints(0, compared, kinds, CELLS, CELLS)
    )
    # How alike neighbours are: 1 wholly, 0 not at all; along the axes, and along the diagonals.
    alike = g.op("Div", cut(by_level, 1, END, 2), g.op("Add", cut(by_level, 0, 1, 2), LEAST))
    first, second = (cut(alike, start, END, 2, step=2) for start in (0, 1))
    of_each = g.op(
        "Concat",
        g.op("Unsqueeze", cut(logs, 0, compared), g.ints(2)),
        g.op("Mul", g.op("Add", first, second), 0.5),
        g.op("Abs", g.op("Sub", first, second)),
        axis=2,
    )
    found = g.op("Reshape", of_each, g.ints(0, compared * kinds, CELLS, CELLS))
    return g.op("Concat", found, cut(logs, compared, LEVELS), cut(share, 0, 1), axis=1)


def texture_graph() -> bytes:
    """What learns nothing of a diffuse model, alone: `image` → `texture`."""
    g = Graph()
    return g.stage("texture", texture(g, relief(g, SIDE)), (TEXTURES, CELLS, CELLS))


def levels(g: Graph, maps: str, there: str, count: int = LEVELS) -> list[tuple[str, str]]:
    """Maps (N, 1, h, w) ever coarser, each of half the sides, 0 where not known, and 1 where
    known.
    """
    found = [(maps, there)]
    for _ in range(count - 1):
        share = _averaged(g, there, 2)
        there = g.number(g.op("Greater", share, ENOUGH))
        mean = g.op("Div", _averaged(g, maps, 2), g.op("Max", share, ENOUGH))
        maps = g.op("Mul", mean, there)
        found.append((maps, there))
    return found


def _products(g: Graph, maps: str, there: str, level: int) -> str:
    """Means over cells of maps times themselves, and times each neighbour but for the coarsest
    level, each followed by the share of a cell for which there is such a product.
    """
    both = g.op("Concat", maps, there, axis=1)
    products = [g.op("Mul", both, both)]
    if level < LEVELS - 1:
        padded = g.op("Pad", both, g.ints(0, 0, 1, 1, 0, 0, 1, 1), 0.0)
        products += [g.op("Mul", both, g.shift(padded, 1, row, col)) for row, col in NEIGHBOURS]
    return _averaged(g, g.op("Concat", *products, axis=1), SIDE // CELLS >> level)


def _over(g: Graph, means: str, share: str) -> str:
    """Means, 0 where not known, as means over what is known; 0 where that is hardly anything."""
    enough = g.number(g.op("Greater", share, LEAST))
    return g.op("Mul", g.op("Div", means, g.op("Max", share, LEAST)), enough)


def _averaged(g: Graph, maps: str, size: int) -> str:
    if size == 1:
        return maps
    return g.means(maps, size)
