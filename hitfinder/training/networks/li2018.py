"""The network of Li 2018 ("Data classification for diffraction images"), layer by layer.

His Table I, with its numbers of parameters: 200, 688, 788, 124, 9232, 32, 34. Layers 3 and 7 are
normalised by row: 344 and 62 rows, with a scale and a shift each, are 688 and 124 parameters. The
last layer has two outputs (16 x 2 + 2 = 34), though the table prints 16, and a ReLU after it. His
rates of dropout are not told; these are the usual ones.

What it does not know: any other size than 350 x 350, and masks: pixels without a measurement
become 0, as in the images that he trained on.
"""

from typing import Any

import numpy as np
import torch
from onnx import ModelProto
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from hitfinder.training.onnx_graph import Graph

SIDE = 350
DROPPED_MAPS = 0.25
DROPPED = 0.5


class RowNorm(nn.BatchNorm1d):
    """Batch normalisation of (N, C, H, W) by row: mean and variance over frames, channels and
    columns; H scales and H shifts.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """See the class."""
        by_row = maps.transpose(1, 2)  # (N, H, C, W)
        return super().forward(by_row.flatten(2)).reshape(by_row.shape).transpose(1, 2)


class LiNet(nn.Module):
    """`image` (N, 350, 350) float32 → logits (N, 2) of miss and hit."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 7)
        self.drop1 = nn.Dropout(DROPPED_MAPS)
        self.norm1 = RowNorm(344)
        self.conv2 = nn.Conv2d(4, 4, 7)
        self.norm2 = RowNorm(62)
        self.drop2 = nn.Dropout(DROPPED_MAPS)
        self.full1 = nn.Linear(576, 16)
        self.norm3 = nn.BatchNorm1d(16)
        self.drop3 = nn.Dropout(DROPPED)
        self.full2 = nn.Linear(16, 2)

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        maps = torch.where(torch.isnan(image), 0.0, image)[:, None]  # (N, 1, 350, 350)
        maps = F.relu(self.norm1(self.drop1(self.conv1(maps))))  # (N, 4, 344, 344)
        maps = F.max_pool2d(maps, 5)  # (N, 4, 68, 68)
        maps = F.relu(self.norm2(self.conv2(maps)))  # (N, 4, 62, 62)
        maps = self.drop2(F.max_pool2d(maps, 5))  # (N, 4, 12, 12)
        full = self.drop3(F.relu(self.norm3(self.full1(maps.flatten(1)))))  # (N, 16)
        logits: Tensor = F.relu(self.full2(full))
        return logits


def li2018_graph(net: LiNet, description: str) -> ModelProto:
    """The trained network as a graph: `image` → `score`, the probability of a hit."""
    g = Graph()
    weights = {name: value.detach().numpy() for name, value in net.state_dict().items()}

    def layer(kind: str, maps: str, name: str, **attributes: Any) -> str:
        parts = [g.named(f"{name}.{part}", weights) for part in ("weight", "bias")]
        return g.op(kind, maps, *parts, **attributes)

    def normalised(maps: str, name: str, norm: nn.BatchNorm1d, shape: tuple[int, ...]) -> str:
        """Scale and shift by what was learned of mean and variance; `shape` holds the features."""
        spread = np.sqrt(weights[f"{name}.running_var"] + np.float32(norm.eps))
        scale = weights[f"{name}.weight"] / spread
        shift = weights[f"{name}.bias"] - weights[f"{name}.running_mean"] * scale
        scaled = g.op("Mul", maps, g.constant(scale.reshape(shape)))
        return g.op("Add", scaled, g.constant(shift.reshape(shape)))

    pool: dict[str, Any] = {"kernel_shape": (5, 5), "strides": (5, 5)}
    image = g.op("Unsqueeze", "image", g.ints(1))
    maps = g.op("Where", g.op("IsNaN", image), 0.0, image)
    maps = normalised(layer("Conv", maps, "conv1"), "norm1", net.norm1, (1, 1, 344, 1))
    maps = g.op("MaxPool", g.op("Relu", maps), **pool)
    maps = normalised(layer("Conv", maps, "conv2"), "norm2", net.norm2, (1, 1, 62, 1))
    maps = g.op("MaxPool", g.op("Relu", maps), **pool)
    full = layer("Gemm", g.op("Flatten", maps), "full1", transB=1)
    full = g.op("Relu", normalised(full, "norm3", net.norm3, (1, 16)))
    logits = g.op("Relu", layer("Gemm", full, "full2", transB=1))
    chances = g.op("Softmax", logits, axis=1)
    g.op("Gather", chances, g.integer(1), axis=1, name="score")
    return g.model("li2018", {"image": ("N", SIDE, SIDE)}, {"score": ("N",)}, description)
