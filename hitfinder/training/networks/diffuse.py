"""The compact diffuse network: a frame's relief, and a few convolutions that judge it.

    image (N, H, W) → relief (N, 4, 112, 112) → convolutions → means over what was measured → score

The relief (`relief`) is fixed arithmetic, a graph that training runs, too; so `DiffuseNet` holds
only what is learned. Its maps shrink to an eighth, which sees some quarter of the frame at once;
of each of the last two stages' channels the mean and the root mean square over the frame count,
not where in it anything lies. A place counts as much as of it was measured.

`diffuse_graph` writes relief and network as one graph; a test holds the two together.
"""

from typing import Any

import torch
from onnx import ModelProto
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from hitfinder.training.networks.relief import CHANNELS, relief
from hitfinder.training.onnx_graph import Graph

SIDE = 112
"""Places along the relief's side; 224 costs another 8 ms a frame of 1750 x 1750 pixels."""

LAYERS = ((12, 1), (24, 2), (24, 1), (32, 2), (32, 1), (48, 2), (48, 1))
"""Channels and step of the 3 x 3 convolutions."""

LOOKED_AT = {4: 4, 6: 8}
"""Layers whose channels are averaged, and how many places wide theirs are."""

HIDDEN = 32
DROPPED = 0.2
LEAST_SQUARE = 1e-6


class DiffuseNet(nn.Module):
    """A relief's features (N, CHANNELS, SIDE, SIDE) → logits (N,) of diffuse scattering."""

    def __init__(self) -> None:
        super().__init__()
        channels, layers = CHANNELS, []
        for wider, step in LAYERS:
            layers.append(nn.Conv2d(channels, wider, 3, step, 1))
            channels = wider
        self.layers = nn.ModuleList(layers)
        averages = 2 * sum(LAYERS[place][0] for place in LOOKED_AT)
        self.hidden = nn.Linear(averages, HIDDEN)
        self.verdict = nn.Linear(HIDDEN, 1)
        self.dropped = nn.Dropout(DROPPED)

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        maps, there, averages = features, features[:, -1:], []
        for place, layer in enumerate(self.layers):
            maps = F.relu(layer(maps))
            if place in LOOKED_AT:
                weight = F.avg_pool2d(there, LOOKED_AT[place])
                total = weight.sum((2, 3)).clamp(min=1e-3)
                averages.append((maps * weight).sum((2, 3)) / total)
                square = (maps * maps * weight).sum((2, 3)) / total
                averages.append(torch.sqrt(square + LEAST_SQUARE))
        hidden = F.relu(self.hidden(self.dropped(torch.cat(averages, 1))))
        logits: Tensor = self.verdict(hidden)[:, 0]
        return logits


def diffuse_graph(net: DiffuseNet, description: str) -> ModelProto:
    """The network as a graph: `image` → `score`, and `relief` (N, SIDE, SIDE), the heights above
    the surroundings in units of the noise that the network saw.
    """
    g = Graph()
    weights = {name: value.detach().numpy() for name, value in net.state_dict().items()}
    features = relief(g, SIDE)

    def parts(name: str) -> list[str]:
        return [g.named(f"{name}.{part}", weights) for part in ("weight", "bias")]

    def channel(place: int) -> str:
        return g.op("Slice", features, g.ints(place), g.ints(place + 1), g.ints(1))

    g.op("Squeeze", channel(0), g.ints(1), name="relief")
    maps, there, averages = features, channel(CHANNELS - 1), []
    for place, (_, step) in enumerate(LAYERS):
        layer: dict[str, Any] = {"strides": (step, step), "pads": (1, 1, 1, 1)}
        maps = g.op("Relu", g.op("Conv", maps, *parts(f"layers.{place}"), **layer))
        if place in LOOKED_AT:
            size = (LOOKED_AT[place],) * 2
            weight = g.op("AveragePool", there, kernel_shape=size, strides=size)
            total = g.op("Max", g.op("ReduceSum", weight, g.ints(2, 3), keepdims=0), 1e-3)
            weighted = g.op("Mul", maps, weight)
            mean, square = (
                g.op("Div", g.op("ReduceSum", each, g.ints(2, 3), keepdims=0), total)
                for each in (weighted, g.op("Mul", weighted, maps))
            )
            averages += [mean, g.op("Sqrt", g.op("Add", square, LEAST_SQUARE))]
    hidden = g.op("Gemm", g.op("Concat", *averages, axis=1), *parts("hidden"), transB=1)
    logits = g.op("Gemm", g.op("Relu", hidden), *parts("verdict"), transB=1)
    g.op("Squeeze", g.op("Sigmoid", logits), g.ints(1), name="score")
    return g.model(
        "diffuse",
        {"image": ("N", "H", "W")},
        {"score": ("N",), "relief": ("N", SIDE, SIDE)},
        description,
    )
