"""VGG16 up to its seventh layer with weights of its own, as a maker of 8192 numbers a frame.

The network is that of Simonyan & Zisserman (arXiv:1409.1556), configuration D; its weights bear the
names that torchvision gives them, so that its file of weights learned from photographs fits. As in
Su's report, what counts is what comes out of the two wide layers (fc6 and fc7, 4096 numbers each,
after their ReLU); the last layer, a thousand kinds of photographs, is left out.

Red, green and blue are those of `colours`, which vary about as much as a photograph's when they
are normalised; each of their places is drawn as 2 x 2 pixels. What it does not know: where weights
come from (`training.teaching`), and what is made of the numbers (`training.vgg16`).
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from onnx import TensorProto
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from hitfinder.errors import ArtifactError
from hitfinder.training.networks.colours import COLOURS
from hitfinder.training.networks.texture import SIDE as PLACES
from hitfinder.training.onnx_graph import Graph

SIDE = 224
DOUBLED = SIDE // PLACES
NUMBERS = 8192
STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of the 3 x 3 convolutions; each stage ends with a maximum over 2 x 2."""

WIDE = 4096
FILE = "vgg16-397923af.pth"
FILE_SHA256 = "397923af"
"""torchvision's file of weights and how its SHA-256 begins; the name says it."""


class Vgg16(nn.Module):
    """Pictures (N, COLOURS, 224, 224) → (N, 8192): fc6's 4096 numbers, then fc7's. With `narrow`
    every layer has so many times fewer channels: the same shape, for less.
    """

    def __init__(self, narrow: int = 1) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = COLOURS
        for stage in STAGES:
            for full in stage:
                wider = full // narrow
                layers += [nn.Conv2d(channels, wider, 3, padding=1), nn.ReLU()]
                channels = wider
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        # torchvision's places: 1 and 4 are ReLU, 2 and 5 drop out while it learns.
        self.width = wide = WIDE // narrow
        self.classifier = nn.ModuleDict(
            {"0": nn.Linear(channels * (SIDE // 32) ** 2, wide), "3": nn.Linear(wide, wide)}
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """See the class."""
        maps = self.features(pictures)  # (N, channels, 7, 7)
        sixth = F.relu(self.classifier["0"](maps.flatten(1)))
        seventh = F.relu(self.classifier["3"](sixth))
        return torch.cat([sixth, seventh], 1)


def drawn(pictures: Tensor) -> Tensor:
    """(N, COLOURS, 112, 112) → (N, COLOURS, 224, 224)."""
    return F.interpolate(pictures, scale_factor=DOUBLED, mode="nearest")


def random_vgg16(seed: int, narrow: int = 1) -> Vgg16:
    """Weights drawn so that no layer's numbers grow or shrink on average (He et al. 2015,
    arXiv:1502.01852).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Vgg16(narrow)
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
    return net


def load_vgg16(path: Path) -> Vgg16:
    """The network with torchvision's weights.

    Raises ArtifactError when it is another file, and OSError.
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(FILE_SHA256):
        raise ArtifactError(
            f"--weights {path}: not torchvision's {FILE} (SHA-256 {found[:8]}…, that file's is "
            f"{FILE_SHA256}…); get it from download.pytorch.org/models/{FILE}, or leave --weights "
            "out"
        )
    return from_state(torch.load(path, map_location="cpu", weights_only=True))


def from_state(stored: dict[str, Tensor]) -> Vgg16:
    """The network with weights under torchvision's names; others, the last layer's, are left.

    Raises ArtifactError when some are missing or have another shape.
    """
    net = Vgg16()
    wanted = net.state_dict()
    for name, value in wanted.items():
        if name not in stored or stored[name].shape != value.shape:
            raise ArtifactError(
                f"weights {name} of shape {tuple(value.shape)} are missing: these are not VGG16's"
            )
    net.load_state_dict({name: stored[name] for name in wanted})
    return net


def vgg16_numbers(g: Graph, pictures: str, net: Vgg16, *, half: bool = False) -> str:
    """Add the network to a graph: `pictures` (N, COLOURS, 224, 224) → (N, 8192) float32. With
    `half` its weights and all that it computes are float16.
    """
    kind = np.float16 if half else np.float32
    weights = {
        name: value.detach().numpy().astype(kind) for name, value in net.state_dict().items()
    }
    maps = pictures
    if half:
        maps = g.op("Cast", maps, to=TensorProto.FLOAT16)

    def parts(name: str) -> list[str]:
        return [g.named(f"{name}.{part}", weights) for part in ("weight", "bias")]

    for what, name in _places():
        if what == "pool":
            maps = g.op("MaxPool", maps, kernel_shape=(2, 2), strides=(2, 2))
        else:
            maps = g.op("Relu", g.op("Conv", maps, *parts(name), pads=(1, 1, 1, 1)))
    flat = g.op("Flatten", maps)
    wide = []
    for place in ("0", "3"):
        flat = g.op("Relu", g.op("Gemm", flat, *parts(f"classifier.{place}"), transB=1))
        wide.append(flat)
    numbers = g.op("Concat", *wide, axis=1)
    return g.number(numbers) if half else numbers


def _places() -> Iterator[tuple[str, str]]:
    """Each convolution with its name, and each pool, in order."""
    place = 0
    for stage in STAGES:
        for _ in stage:
            yield "conv", f"features.{place}"
            place += 2
        yield "pool", f"features.{place}"
        place += 1
