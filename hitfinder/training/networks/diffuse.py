"""The compact diffuse network: a frame's relief, its texture, and a few layers that judge it.

    image (N, H, W) → relief (N, 4, 112, 112) → texture (N, 17, 14, 14) → layers → means over what
    was measured → score

Relief and texture are fixed arithmetic, a graph that training runs, too; so `DiffuseNet` holds only
what is learned: what a cell's numbers say, and those of the cells beside it, and what it takes of
such cells in a frame. Of each channel the mean and the root mean square over the frame count, not
where in it anything lies; a cell counts as much as of it was measured.

`diffuse_graph` writes it all as one graph; a test holds the two together. What this file does not
know: what the scores of other frames are, and where the beam is.
"""

import torch
from onnx import ModelProto
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from hitfinder.training.networks.relief import relief
from hitfinder.training.networks.texture import SIDE, TEXTURES, texture
from hitfinder.training.onnx_graph import Graph

CHANNELS = 32
HIDDEN = 32
DROPPED = 0.2
LEAST_SQUARE = 1e-6
LEAST_SEEN = 0.1
"""Cells; where less was measured, there is nothing to take a mean of."""

LEAST_SHARE = 0.1
"""Of the square. A stack of modules without geometry is a strip, and no picture of anything: where
modules do not lie where they stood, nothing about them is round. Its score is 0."""

NEVER = -30.0
"""A logit."""


class DiffuseNet(nn.Module):
    """Textures (N, TEXTURES, CELLS, CELLS) → logits (N,) of diffuse scattering. `middle` and
    `spread` (1, TEXTURES, 1, 1) are what each channel usually is.
    """

    middle: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("middle", torch.zeros(1, TEXTURES, 1, 1))
        self.register_buffer("spread", torch.ones(1, TEXTURES, 1, 1))
        self.cell = nn.Conv2d(TEXTURES, CHANNELS, 1)
        self.beside = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.kind = nn.Conv2d(CHANNELS, CHANNELS, 1)
        self.hidden = nn.Linear(2 * CHANNELS, HIDDEN)
        self.verdict = nn.Linear(HIDDEN, 1)
        self.dropped = nn.Dropout(DROPPED)

    def forward(self, textures: Tensor) -> Tensor:
        """See the class."""
        there = textures[:, -1:]
        maps = F.relu(self.cell((textures - self.middle) / self.spread)) * there
        maps = F.relu(self.kind(F.relu(self.beside(maps))))
        total = there.sum((2, 3)).clamp(min=LEAST_SEEN)
        mean = (maps * there).sum((2, 3)) / total
        square = (maps * maps * there).sum((2, 3)) / total
        means = torch.cat([mean, torch.sqrt(square + LEAST_SQUARE)], 1)
        logits = self.verdict(F.relu(self.hidden(self.dropped(means))))[:, 0]
        return torch.where(there.mean((1, 2, 3)) >= LEAST_SHARE, logits, NEVER)


def diffuse_graph(net: DiffuseNet, description: str) -> ModelProto:
    """The network as a graph: `image` → `score`, and `relief` (N, SIDE, SIDE), the heights above
    the surroundings in units of the noise that were judged.
    """
    g = Graph()
    weights = {name: value.detach().numpy() for name, value in net.state_dict().items()}

    def parts(name: str) -> list[str]:
        return [g.named(f"{name}.{part}", weights) for part in ("weight", "bias")]

    features = relief(g, SIDE)
    heights = g.op("Slice", features, g.ints(0), g.ints(1), g.ints(1))
    g.op("Squeeze", heights, g.ints(1), name="relief")
    textures = texture(g, features)
    there = g.op("Slice", textures, g.ints(TEXTURES - 1), g.ints(TEXTURES), g.ints(1))
    away = g.op("Sub", textures, g.named("middle", weights))
    maps = g.op("Div", away, g.named("spread", weights))
    maps = g.op("Mul", g.op("Relu", g.op("Conv", maps, *parts("cell"))), there)
    maps = g.op("Relu", g.op("Conv", maps, *parts("beside"), pads=(1, 1, 1, 1)))
    maps = g.op("Relu", g.op("Conv", maps, *parts("kind")))
    total = g.op("Max", g.op("ReduceSum", there, g.ints(2, 3), keepdims=0), LEAST_SEEN)
    weighted = g.op("Mul", maps, there)
    mean, square = (
        g.op("Div", g.op("ReduceSum", each, g.ints(2, 3), keepdims=0), total)
        for each in (weighted, g.op("Mul", weighted, maps))
    )
    means = g.op("Concat", mean, g.op("Sqrt", g.op("Add", square, LEAST_SQUARE)), axis=1)
    hidden = g.op("Relu", g.op("Gemm", means, *parts("hidden"), transB=1))
    logits = g.op("Squeeze", g.op("Gemm", hidden, *parts("verdict"), transB=1), g.ints(1))
    share = g.op("ReduceMean", there, g.ints(1, 2, 3), keepdims=0)
    logits = g.op("Where", g.op("GreaterOrEqual", share, LEAST_SHARE), logits, NEVER)
    g.op("Sigmoid", logits, name="score")
    return g.model(
        "diffuse",
        {"image": ("N", "H", "W")},
        {"score": ("N",), "relief": ("N", SIDE, SIDE)},
        description,
    )
