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
    """

    def channel(place: int) -> str:
        return g.op("Slice", features, g.ints(place), g.ints(place + 1), g.ints(1))

    there = channel(CHANNELS - 1)
    found: list[str] = []
    for level, (maps, known) in enumerate(levels(g, channel(0), there)):
        power = _cells(g, g.op("Mul", maps, maps), known, level)
        found.append(g.op("Log", g.op("Add", g.op("Mul", power, 4.0**level), FAINTEST)))
        if level < LEVELS - 1:
            found += _alike(g, maps, known, power, level)
    found.append(_averaged(g, there, SIDE // CELLS))
    return g.op("Concat", *found, axis=1)


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


def _alike(g: Graph, maps: str, there: str, power: str, level: int) -> list[str]:
    """Four channels: how alike neighbours along the axes and the diagonals are (1 wholly, 0 not at
    all), and how much that differs between the two of each.
    """
    both = g.op("Concat", maps, there, axis=1)
    padded = g.op("Pad", both, g.ints(0, 0, 1, 1, 0, 0, 1, 1), 0.0)
    pairs = [g.op("Mul", both, g.shift(padded, 1, row, col)) for row, col in NEIGHBOURS]
    # Products and where there are any, in turns; all of them at once, because each node costs.
    means = _averaged(g, g.op("Concat", *pairs, axis=1), SIDE // CELLS >> level)
    products, known = (
        g.op("Slice", means, g.ints(start), g.ints(END), g.ints(1), g.ints(2)) for start in (0, 1)
    )
    ratios = g.op("Div", _over(g, products, known), g.op("Add", power, LEAST))
    first, second = (
        g.op("Slice", ratios, g.ints(start), g.ints(END), g.ints(1), g.ints(2)) for start in (0, 1)
    )
    return [
        g.op("Mul", g.op("Add", first, second), 0.5),
        g.op("Abs", g.op("Sub", first, second)),
    ]


def _cells(g: Graph, maps: str, there: str, level: int) -> str:
    """Means (N, 1, CELLS, CELLS) of maps, 0 where not known, over what is known of each cell."""
    size = SIDE // CELLS >> level
    return _over(g, _averaged(g, maps, size), _averaged(g, there, size))


def _over(g: Graph, means: str, share: str) -> str:
    """Means, 0 where not known, as means over what is known; 0 where that is hardly anything."""
    enough = g.number(g.op("Greater", share, LEAST))
    return g.op("Mul", g.op("Div", means, g.op("Max", share, LEAST)), enough)


def _averaged(g: Graph, maps: str, size: int) -> str:
    if size == 1:
        return maps
    return g.op("AveragePool", maps, kernel_shape=(size, size), strides=(size, size))
