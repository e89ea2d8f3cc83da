"""The networks that `benchmarks.gpu` measures: as artifacts, and as PyTorch runs them.

Weights are random: speed does not depend on them. What this file does not know: time.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from hitfinder.inference.model_card import GRAPH, ModelCard, sha256, write_card
from hitfinder.training.networks.hit import HitNet
from hitfinder.training.networks.vgg16 import NUMBERS, Vgg16, random_vgg16, vgg16_numbers
from hitfinder.training.onnx_graph import Graph
from hitfinder.training.vgg16 import COMPONENTS, Head, vgg16_graph

Scores = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""(N, H, W) float32 in host memory → (N,) in host memory."""


def hit_net() -> Any:
    """The hit model's network."""
    return HitNet()


def vgg16_net(narrow: int = 1) -> Vgg16:
    """VGG16, random weights; with `narrow`, so many times fewer channels."""
    return random_vgg16(1, narrow)


def vgg16_alone(folder: Path, narrow: int = 1) -> None:
    """An artifact of VGG16 in float16 on grey images of its own size: the network and nothing
    else, `image` (N, 224, 224) → `score` (N,).
    """
    g = Graph()
    grey = g.op("Unsqueeze", "image", g.ints(1))
    numbers = vgg16_numbers(
        g, g.op("Concat", grey, grey, grey, axis=1), vgg16_net(narrow), half=True
    )
    mean = g.op("ReduceMean", numbers, g.ints(1), keepdims=0)
    g.op("Sigmoid", mean, name="score")
    made = g.model("vgg16", {"image": ("N", "H", "W")}, {"score": ("N",)}, "for a benchmark")
    _write(folder, made)


def relieved_vgg16(folder: Path, narrow: int = 1) -> None:
    """An artifact as `hitfinder train diffuse --method vgg16 --precision fp16` makes it."""
    rng = np.random.default_rng(1)
    numbers = NUMBERS // narrow
    head = Head(
        mean=np.zeros(numbers, np.float32),
        axes=rng.standard_normal((numbers, COMPONENTS), np.float32) / np.float32(numbers),
        slope=rng.standard_normal(COMPONENTS, np.float32),
        middle=0.0,
    )
    _write(folder, vgg16_graph(vgg16_net(narrow), head, "fp16", np.empty(0, np.float32)))


def eager_scores(torch: Any, net: Any, *, half: bool = False, device: str = "cuda") -> Scores:
    """A network on the GPU, as PyTorch runs it unasked."""
    return _scores(torch, _placed(net, half=half, device=device), half=half, device=device)


def compiled_scores(torch: Any, net: Any, *, half: bool = False) -> Scores:
    """Likewise by torch.compile, made for few shapes that come again: with CUDA graphs."""
    placed = _placed(net, half=half, device="cuda")
    made = torch.compile(placed, mode="reduce-overhead", dynamic=False)
    return _scores(torch, made, half=half, device="cuda")


def _placed(net: Any, *, half: bool, device: str) -> Any:
    placed = net.to(device).eval()
    return placed.half() if half else placed


def _scores(torch: Any, net: Any, *, half: bool, device: str) -> Scores:
    torch.backends.cudnn.allow_tf32 = False

    def score(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        # Page-locked already: the driver knows, and copies at full speed.
        images = torch.from_numpy(batch).to(device, non_blocking=True)
        if half:
            images = images.half()[:, None].expand(-1, 3, -1, -1).contiguous()
        with torch.inference_mode():
            found = net(images)
        scores = found[0] if isinstance(found, tuple) else found.mean(1)
        out: NDArray[np.float32] = scores.float().cpu().numpy()
        return out

    return score


def _write(folder: Path, graph: ModelProto) -> None:
    content = graph.SerializeToString()
    (folder / GRAPH).write_bytes(content)
    card = ModelCard(
        name="vgg16",
        version="1",
        task="diffuse",
        description="for a benchmark",
        region="whole frames",
        threshold=0.5,
        threshold_from="nothing",
        outputs={"score": "nothing"},
        onnx_sha256=sha256(content),
        weights_origin="random, from the seed",
        data="none",
        created_by="benchmarks.gpu",
        precision="fp16",
    )
    write_card(folder, card)
