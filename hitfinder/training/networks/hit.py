"""The hit network: local statistics that no gain, offset or unit can change, then a small map.

    image (N, H, W) → cells of 6 x 6 pixels → contrast with their surroundings → spot map
    → number of spots, and how clear they are → score

The first half is fixed arithmetic. Each cell gives two numbers, its brightest 3 x 3 mean and its
brightest pixel; the two together tell a spot, which is wide, from a hot pixel. Both are compared
with the brightest 3 x 3 means of cells two away, on opposite sides, so that slopes and lines
cancel, in units of what noise leaves of such a comparison around. Where noise is the same, the
brightest of it is, too; so nothing needs to be known of the detector, and gain, offset and unit
cancel.

The second half is learned: two convolutions see 5 x 5 cells and tell a spot from a track or a
cluster; three more, on a map 5 times coarser, see some 90 pixels around and tell rings and
edges. A cell's probability counts only above FIRM, so that a frame fifty times larger does not
add up fifty times more doubt. The verdict rests on the number of spots, estimated for the whole
frame from what is not hidden, and asks for more of them where they are fainter or brighter than
a crystal's are on average.

`HitNet` is what is trained, `hit_graph` writes the same arithmetic as ONNX; a test holds them
together. What it does not know: where the beam is, resolution, other frames.
"""

from typing import Any

import numpy as np
import torch
from onnx import ModelProto
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from hitfinder.training.onnx_graph import Graph

CELL = 6
"""Pixels along a cell's side: a spot of up to 5 pixels fits in, and maps shrink 36 times. With 5
it costs 0.06 ms more a frame of 350 x 350."""

BLOCK = 5
"""Cells along the side of a block, whose sums make the surroundings."""

NOTHING = -1e18
"""Stands for no measurement: lower than any pixel, even when averaged with eight others."""

MEASURED = -1e15
"""Above it, every pixel was measured."""

AWAY = 2
"""Cells between a cell and what it is compared with: a spot on the border of two fills both."""

DIRECTIONS = ((0, 2), (2, 0), (2, 2), (2, -2), (1, 2), (2, 1), (-1, 2), (2, -1))
"""(rows, cols) to one of two opposite cells, all round."""

CUT = 3.0
"""Mean deviations from which on a cell's value is cut down before its surroundings are measured
again: spots must not hide each other."""

FLOOR = 1e-4
"""Least mean deviation, as a share of the frame's: where all is 0, nothing is infinitely clear."""

ROUNDING = 1e-6
"""Least mean deviation, as a share of the mean: finer differences are float32's own."""

CLEAREST = 1e4
"""Mean deviations beyond which nothing gets any clearer."""

FIRM = 0.4
"""Probability below which a cell adds nothing to the count."""

LEAST_SHARE = 0.4
"""Of a frame's cells, for the number of spots to be taken as that share of all: from less nobody
can tell."""

NEAR = 8
WIDE = 16
"""Channels of the spot map, and of the coarser one."""

_CORNERS = [(row, col) for row in range(0, CELL, 2) for col in range(0, CELL, 2)]
"""Of the 36 pixels of a cell, 9 are tried as top left corners of 3 x 3 means: none of the others is
more than a pixel away in either direction."""


def _boxes() -> Tensor:
    """(9, 1, 7, 7) kernels, each the mean of 3 x 3 pixels."""
    side = _CORNERS[-1][0] + 3
    kernels = torch.zeros(len(_CORNERS), 1, side, side)
    for kernel, (row, col) in zip(kernels, _CORNERS, strict=True):
        kernel[0, row : row + 3, col : col + 3] = 1 / 9
    return kernels


def _nearby() -> Tensor:
    """(1, 1, 3, 3): a block's own weight and that of those around."""
    fall = torch.tensor([0.5, 1.0, 0.5])
    return (fall[:, None] * fall)[None, None]


def _between_blocks() -> Tensor:
    """(1, 1, 9, 9): weights that fall linearly from a block's centre to those of its neighbours."""
    slope = 1 - (torch.arange(2 * BLOCK - 1) - (BLOCK - 1)).abs() / BLOCK
    return (slope[:, None] * slope)[None, None]


def _pairs() -> Tensor:
    """(8, 1, 5, 5) kernels, each the mean of two opposite cells."""
    kernels = torch.zeros(len(DIRECTIONS), 1, 2 * AWAY + 1, 2 * AWAY + 1)
    for kernel, (row, col) in zip(kernels, DIRECTIONS, strict=True):
        kernel[0, AWAY + row, AWAY + col] = kernel[0, AWAY - row, AWAY - col] = 1 / 2
    return kernels


class CellStatistics(nn.Module):
    """(N, H, W) float32, NaN = no measurement → (N, 2, h, w): the brightest mean of 3 x 3 pixels
    whose top left corner lies in the cell, and the brightest pixel; below MEASURED where there is
    none. h and w are the numbers of cells, rounded up to whole blocks.

    At the last row and column of cells the means would reach outside, and there are none.
    """

    boxes: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("boxes", _boxes(), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        pixels = torch.where(torch.isnan(image), NOTHING, image)[:, None]
        brightest = F.max_pool2d(pixels, CELL, ceil_mode=True)
        means = F.conv2d(pixels, self.boxes, stride=CELL).amax(1, keepdim=True)
        rows, cols = (-(-size // BLOCK) * BLOCK for size in brightest.shape[2:])
        return torch.cat([_padded(each, rows, cols) for each in (means, brightest)], 1)


def _padded(maps: Tensor, rows: int, cols: int) -> Tensor:
    return F.pad(maps, (0, cols - maps.shape[3], 0, rows - maps.shape[2]), value=NOTHING)


class Contrast(nn.Module):
    """(N, 2, h, w) of `CellStatistics` → (N, 3, h, w) features without gain, offset or unit: how
    far each statistic stands out of its surroundings, as logarithms, and 1 where that is known.

    A cell is compared with the 3 x 3 means of two opposite cells AWAY from it, of eight such pairs
    with the brightest: so slopes cancel, and lines of any of these directions. A cell that is not
    measured stands for the brightest around it, for lines end at gaps. The unit is the mean of
    what 3 x 3 means so leave around, taken twice, the second time with what stands out cut down.
    """

    ones: Tensor
    nearby: Tensor
    weights: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("ones", torch.ones(1, 1, BLOCK, BLOCK), persistent=False)
        self.register_buffer("nearby", _nearby(), persistent=False)
        self.register_buffer("weights", _between_blocks(), persistent=False)

    def forward(self, statistics: Tensor) -> Tensor:
        """See the class."""
        means = statistics[:, :1]
        rows, cols = means.shape[2:]
        padded = F.pad(means, (AWAY, AWAY, AWAY, AWAY), value=NOTHING)
        near = F.max_pool2d(padded, 2 * AWAY + 1, 1, AWAY)
        padded = torch.where(padded > MEASURED, padded, near)

        def seen(row: int, col: int) -> Tensor:
            return padded[:, :, AWAY + row :, AWAY + col :][:, :, :rows, :cols]

        pairs = [seen(row, col) + seen(-row, -col) for row, col in DIRECTIONS]
        highest = torch.stack(pairs).amax(0) / 2  # (N, 1, h, w)
        known = (means > MEASURED) & (highest > MEASURED)
        there = known.to(means.dtype)
        left = torch.where(known, statistics - highest, 0.0)
        size = left[:, :1].abs()
        samples = self._blocks(there).clamp(min=1e-3)  # (N, 1, h / BLOCK, w / BLOCK)
        unit = self._between(self._blocks(size) / samples)
        blocks = self._blocks(torch.minimum(size, CUT * unit)) / samples
        least = FLOOR * blocks.mean((2, 3), keepdim=True) + 1e-25
        unit = torch.maximum(self._between(blocks), ROUNDING * highest.abs() + least)
        return torch.cat((torch.log1p((left / unit).clamp(0.0, CLEAREST)), there), 1)

    def _blocks(self, maps: Tensor) -> Tensor:
        """Sums over blocks of BLOCK x BLOCK cells and, with less weight, those around."""
        return F.conv2d(F.conv2d(maps, self.ones, stride=BLOCK), self.nearby, padding=1)

    def _between(self, blocks: Tensor) -> Tensor:
        """From blocks to cells: linear between the blocks' centres, constant outside."""
        edged = F.pad(blocks, (1, 1, 1, 1), "replicate")
        return F.conv_transpose2d(edged, self.weights, stride=BLOCK, padding=BLOCK // 2 + BLOCK)


class SpotMap(nn.Module):
    """(N, 3, h, w) features → (N, h, w) logits of a spot in each cell."""

    def __init__(self) -> None:
        super().__init__()
        self.near1 = nn.Conv2d(3, NEAR, 3, padding=1)
        self.near2 = nn.ConvTranspose2d(NEAR, 1, 3, padding=1)
        self.wide1 = nn.Conv2d(NEAR, WIDE, BLOCK, stride=BLOCK)
        self.wide2 = nn.Conv2d(WIDE, WIDE, 3, padding=1)
        self.wide3 = nn.ConvTranspose2d(WIDE, 1, BLOCK, stride=BLOCK)

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        near = F.relu(self.near1(features))
        wide = F.relu(self.wide2(F.relu(self.wide1(near))))
        # As a convolution here, which torch trains twice as fast; transposed in the graph, where
        # one output channel costs a quarter.
        kernel = self.near2.weight.transpose(0, 1).flip(2, 3)
        here = F.conv2d(near, kernel, self.near2.bias, padding=1)
        logits: Tensor = (here + self.wide3(wide))[:, 0]
        return logits


class HitNet(nn.Module):
    """`image` (N, H, W) float32 → `score` (N,), `count` (N,), `spots` (N, h, w): the probability
    that a hit is shown, the number of spots, and each cell's probability of holding one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.statistics = CellStatistics()
        self.contrast = Contrast()
        self.map = SpotMap()
        self.slope = nn.Parameter(torch.tensor(3.0))
        self.middle = nn.Parameter(torch.tensor(1.8))  # ln(1 + 5): between a miss and a hit
        self.bend = nn.Parameter(torch.tensor([0.5, 0.5]))
        self.usual = nn.Parameter(torch.tensor([1.0, 1.4]))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See the class."""
        features = self.contrast(self.statistics(image))
        logits = self.map(features)
        count, clear = self.count(logits, features)
        return torch.sigmoid(self.judge(count, clear)), count, torch.sigmoid(logits)

    def count(self, logits: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """(N, h, w) logits, (N, 3, h, w) features → (N,) number of spots, (N,) how clear they are
        on average. Only the likeliest of 3 x 3 cells counts: one spot may fill several. Where
        rings of ice or gaps hide part of the frame, the rest is taken to hold its share of spots.
        """
        firm = F.relu((torch.sigmoid(logits) - FIRM) / (1 - FIRM))
        firm = firm * (logits >= F.max_pool2d(logits[:, None], 3, 1, 1)[:, 0])
        found = firm.sum((1, 2))
        # No cell shall learn to be counted for what it does to this mean.
        clear = ((firm * features[:, 0]).sum((1, 2)) / found.clamp(min=1e-3)).detach()
        there = features[:, 2]
        across = there.amax(1).sum(1) * there.amax(2).sum(1)  # without empty rows and columns
        share = there.sum((1, 2)) / across.clamp(min=1)
        return found / share.clamp(min=LEAST_SHARE), clear

    def judge(self, count: Tensor, clear: Tensor) -> Tensor:
        """(N,) number of spots, (N,) how clear they are → (N,) logit of a hit. Few spots that are
        all very clear are salt or ice, for a crystal's are of all strengths; faint ones are noise.
        """
        less, more = F.relu(self.usual[0] - clear), F.relu(clear - self.usual[1])
        middle = self.middle + self.bend[0] * less + self.bend[1] * more
        return self.slope * (torch.log1p(count) - middle)


def hit_graph(net: HitNet, description: str) -> ModelProto:
    """The network as a graph: `image` → `score`, `count`, `spots`, float32, as `HitNet`."""
    g = Graph()
    weights = {name: value.detach().numpy() for name, value in net.state_dict().items()}

    def conv(maps: str, layer: str, kind: str = "Conv", **attributes: Any) -> str:
        weight, bias = (g.named(f"{layer}.{part}", weights) for part in ("weight", "bias"))
        return g.op(kind, maps, weight, bias, **attributes)

    # Cells' brightest means: from (N, 1, H, W) to (N, 1, h, w). Where one of nine pixels is not
    # measured, neither is their mean; so NaN is looked for among the means, a quarter as many.
    image = g.op("Unsqueeze", "image", g.ints(1))
    size = (3, 3)
    nines = g.op("AveragePool", image, kernel_shape=size, strides=(2, 2), count_include_pad=1)
    measured = g.op("Less", nines, -MEASURED)  # neither NaN nor infinity is
    means = _brightest(g, g.op("Where", measured, nines, NOTHING), 3)

    # What each is compared with; the last row and column of means are missing. The highest of all
    # channels is taken as a pool over the depth of a volume, at a third of what reducing costs.
    edge = g.ints(0, 0, AWAY, AWAY, 0, 0, AWAY + 1, AWAY + 1)
    padded = g.op("Pad", means, edge, NOTHING)
    means = g.shift(padded, AWAY, 0, 0)
    size = (2 * AWAY + 1, 2 * AWAY + 1)
    near = g.op("MaxPool", padded, kernel_shape=size, pads=(AWAY, AWAY, AWAY, AWAY))
    padded = g.op("Where", g.op("Greater", padded, MEASURED), padded, near)
    pairs = g.op("Unsqueeze", g.op("Conv", padded, g.constant(_pairs().numpy())), g.ints(1))
    highest = g.op("MaxPool", pairs, kernel_shape=(len(DIRECTIONS), 1, 1))
    highest = g.op("Squeeze", highest, g.ints(1))

    # Brightest pixels. All that matters of them is how far they are above what they are compared
    # with, so what is not measured may be anything below all of that: here, 0 above the lowest.
    lowest = g.op("ReduceMin", g.op("ThresholdedRelu", highest, alpha=MEASURED), g.ints(2, 3))
    lowest = g.op("Floor", g.op("Min", lowest, 0.0))  # whole, so that whole numbers stay exact
    above = g.op("ThresholdedRelu", g.op("Sub", image, lowest), alpha=0.0)
    brightest = g.op("Add", _brightest(g, above, CELL, ceil_mode=1), lowest)

    # How far both stand out, and where that is known; with nothing known up to whole blocks.
    known = g.op("Greater", g.op("Min", means, highest), MEASURED)
    left = g.op("Sub", g.op("Concat", means, brightest, axis=1), highest)
    left = g.op("Where", known, left, 0.0)
    rounding = g.op("Mul", g.op("Abs", highest), ROUNDING)
    maps = g.op("Concat", left, g.number(known), rounding, axis=1)
    missing = g.op("Mul", g.op("Shape", maps), g.ints(0, 0, BLOCK - 1, BLOCK - 1))
    missing = g.op("Mod", missing, g.ints(BLOCK))
    maps = g.op("Pad", maps, missing, 0.0, g.ints(2, 3))
    parts = ("left", "there", "rounding")
    left, there, rounding = g.ops("Split", maps, g.ints(2, 1, 1), names=parts, axis=1)

    # In units of what surroundings leave.
    ones = g.constant(np.ones((1, 1, BLOCK, BLOCK), np.float32))
    nearby = g.constant(_nearby().numpy())
    size = (BLOCK, BLOCK)
    larger = g.constant(np.array([1, 1, BLOCK, BLOCK], np.float32))

    def sums(maps: str) -> str:
        return g.op("Conv", g.op("Conv", maps, ones, strides=size), nearby, pads=(1, 1, 1, 1))

    def between_centres(blocks: str) -> str:
        # Linear between centres, constant outside, as `Contrast` does by a transposed convolution.
        return g.op("Resize", blocks, "", larger, mode="linear")

    size_left = g.op("Abs", g.op("Slice", left, g.ints(0), g.ints(1), g.ints(1)))
    samples = g.op("Max", sums(there), 1e-3)
    unit = between_centres(g.op("Mul", g.op("Div", sums(size_left), samples), CUT))
    blocks = g.op("Div", sums(g.op("Min", size_left, unit)), samples)
    least = g.op("Add", g.op("Mul", g.op("ReduceMean", blocks, g.ints(2, 3)), FLOOR), 1e-25)
    unit = g.op("Max", between_centres(blocks), g.op("Add", rounding, least))
    clear = g.op("Clip", g.op("Div", left, unit), 0.0, CLEAREST)
    logarithms = g.op("Log", g.op("Add", clear, 1.0))
    features = g.op("Concat", logarithms, there, axis=1)

    # What was learned.
    padding = (1, 1, 1, 1)
    near = g.op("Relu", conv(features, "map.near1", pads=padding))
    wide = g.op("Relu", conv(near, "map.wide1", strides=(BLOCK, BLOCK)))
    wide = g.op("Relu", conv(wide, "map.wide2", pads=padding))
    wide = conv(wide, "map.wide3", "ConvTranspose", strides=(BLOCK, BLOCK))
    logits = g.op("Add", conv(near, "map.near2", "ConvTranspose", pads=padding), wide)
    probability = g.op("Sigmoid", logits)
    g.op("Squeeze", probability, g.ints(1), name="spots")
    firm = g.op("Relu", g.op("Div", g.op("Sub", probability, FIRM), 1 - FIRM))
    highest = g.op("MaxPool", logits, kernel_shape=(3, 3), pads=padding)
    firm = g.op("Mul", firm, g.number(g.op("GreaterOrEqual", logits, highest)))
    found = g.op("ReduceSum", firm, g.ints(1, 2, 3), keepdims=0)
    rows, cols = (
        g.op("ReduceSum", g.op("ReduceMax", there, g.ints(axis)), g.ints(1, 2, 3), keepdims=0)
        for axis in (3, 2)
    )
    shown = g.op("Slice", logarithms, g.ints(0), g.ints(1), g.ints(1))
    shown = g.op("ReduceSum", g.op("Mul", firm, shown), g.ints(1, 2, 3), keepdims=0)
    shown = g.op("Div", shown, g.op("Max", found, 1e-3))
    measured = g.op("ReduceSum", there, g.ints(1, 2, 3), keepdims=0)
    share = g.op("Div", measured, g.op("Max", g.op("Mul", rows, cols), 1.0))
    count = g.op("Div", found, g.op("Max", share, LEAST_SHARE), name="count")
    # (N, 2): how much fainter than usual, and how much brighter.
    usual = g.named("usual", weights)
    off = g.op(
        "Mul",
        g.op("Sub", g.op("Unsqueeze", shown, g.ints(1)), usual),
        g.constant(np.array([-1.0, 1.0], np.float32)),
    )
    bends = g.op("Mul", g.op("Relu", off), g.named("bend", weights))
    middle = g.op(
        "Add", g.op("ReduceSum", bends, g.ints(1), keepdims=0), g.named("middle", weights)
    )
    above = g.op("Sub", g.op("Log", g.op("Add", count, 1.0)), middle)
    g.op("Sigmoid", g.op("Mul", above, g.named("slope", weights)), name="score")
    return g.model(
        "hit",
        {"image": ("N", "H", "W")},
        {"score": ("N",), "count": ("N",), "spots": ("N", "rows", "cols")},
        description,
    )


def _brightest(g: Graph, maps: str, side: int, **attributes: Any) -> str:
    """The highest of `side` x `side` values: down, then across, which halves the cost."""
    for size in ((side, 1), (1, side)):
        maps = g.op("MaxPool", maps, kernel_shape=size, strides=size, **attributes)
    return maps
