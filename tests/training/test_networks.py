"""Torch and ONNX are one network; what is fixed arithmetic keeps what it promises."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from hitfinder.inference.model_card import shipped_models
from hitfinder.inference.onnx_model import OnnxModel
from hitfinder.training.hit import load_weights
from hitfinder.training.networks.hit import HitNet, hit_graph
from hitfinder.training.networks.li2018 import SIDE, LiNet, li2018_graph
from tests.inference.artifacts import write_artifact
from tests.training.frames import Pixels, background, poisson, with_spots

SHAPES = [(128, 128), (350, 350), (351, 367), (1062, 1028), (26, 400), (7, 9)]


def photons(shape: tuple[int, int], mean: float = 2.0) -> Pixels:
    return np.random.default_rng(3).poisson(mean, shape).astype(np.float32)


def crystal(shape: tuple[int, int], spots: int = 30) -> Pixels:
    """Spots on photons; at shapes too small for any, photons alone."""
    if min(shape) < 40:
        return photons(shape)
    rng = np.random.default_rng(4)
    field = with_spots(background(2.0, *shape), rng, spots, snr=20.0, width_px=1.5)
    return poisson(field, rng)


def with_gaps(shape: tuple[int, int]) -> Pixels:
    frame = crystal(shape)
    frame[shape[0] // 3 : shape[0] // 3 + 11] = np.nan
    frame[np.random.default_rng(5).random(shape) < 0.02] = np.nan
    return frame


def single_counts(shape: tuple[int, int]) -> Pixels:
    return (np.random.default_rng(6).random(shape) < 1e-3).astype(np.float32)


def half_saturated(shape: tuple[int, int]) -> Pixels:
    return np.where(photons(shape) > 2, 65535, photons(shape)).astype(np.float32)


def noise(shape: tuple[int, int], offset: float) -> Pixels:
    return np.random.default_rng(7).normal(offset, 0.5, shape).astype(np.float32)


CONTENTS: dict[str, Callable[[tuple[int, int]], Pixels]] = {
    "crystal": crystal,
    "gaps": with_gaps,
    "nothing measured": lambda shape: np.full(shape, np.nan, np.float32),
    "constant": lambda shape: np.full(shape, 7.0, np.float32),
    "zeros": lambda shape: np.zeros(shape, np.float32),
    "saturated": lambda shape: np.full(shape, 65535.0, np.float32),
    "half saturated": half_saturated,
    "negative": lambda shape: crystal(shape) - np.float32(500),
    "huge offset": lambda shape: noise(shape, 1e4),
    "around zero": lambda shape: noise(shape, 0.0),
    "single counts": single_counts,
}

ROUNDED = {"negative": 3e-5, "huge offset": 3e-2}
"""How far float32 itself is off, on offsets of 400 and 20 000 times the noise."""


def loaded(folder: Path, graph: bytes) -> OnnxModel:
    write_artifact(folder, graph)
    return OnnxModel.load(folder, "cpu")


@pytest.fixture(scope="module")
def hit() -> HitNet:
    """Random weights, and a middle where scores are neither 0 nor 1."""
    torch.manual_seed(11)
    net = HitNet().eval()
    with torch.no_grad():
        _, count, _ = net(torch.from_numpy(photons((350, 350))[None]))
        net.middle.copy_(torch.log1p(count[0]))
        net.slope.fill_(1.0)
    return net


@pytest.fixture(scope="module")
def hit_onnx(hit: HitNet, tmp_path_factory: pytest.TempPathFactory) -> OnnxModel:
    graph = hit_graph(hit, "a test").SerializeToString()
    return loaded(tmp_path_factory.mktemp("hit"), graph)


@pytest.fixture(scope="module")
def li() -> LiNet:
    """Statistics of normalisation as training would leave them: of real images."""
    torch.manual_seed(12)
    net = LiNet()
    images = np.stack([crystal((SIDE, SIDE)), photons((SIDE, SIDE)), photons((SIDE, SIDE), 5.0)])
    with torch.no_grad():
        for _ in range(3):
            net(torch.from_numpy(images))
    return net.eval()


@pytest.fixture(scope="module")
def li_onnx(li: LiNet, tmp_path_factory: pytest.TempPathFactory) -> OnnxModel:
    graph = li2018_graph(li, "a test").SerializeToString()
    return loaded(tmp_path_factory.mktemp("li"), graph)


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_hit_is_the_same_in_torch_and_onnx(
    hit: HitNet, hit_onnx: OnnxModel, content: str, shape: tuple[int, int]
) -> None:
    """Torch in float64, for in float32 each rounds means in an order of its own."""
    image = CONTENTS[content](shape)[None]
    with torch.no_grad():
        exact = deepcopy(hit).double()(torch.from_numpy(image).double())
        score, count, spots = (each.numpy() for each in exact)
    outputs = hit_onnx.outputs(image)
    assert np.isfinite(score).all()
    assert 0 <= score[0] <= 1
    within = ROUNDED.get(content, 1e-5)
    np.testing.assert_allclose(outputs["score"], score, atol=within)
    np.testing.assert_allclose(outputs["count"], count, rtol=within, atol=within)
    np.testing.assert_allclose(outputs["spots"], spots, atol=within)


@pytest.mark.parametrize("offset", [-1e4, -50.0, 0.0])
def test_what_is_not_measured_stands_for_nothing_bright(
    hit: HitNet, hit_onnx: OnnxModel, offset: float
) -> None:
    """Also where all that is measured is negative, and at a dead pixel and one that is infinite."""
    frame = with_gaps((128, 150)) + np.float32(offset)
    frame[40:44, :] = np.nan
    with torch.no_grad():
        exact = deepcopy(hit).double()(torch.from_numpy(frame[None]).double())[2].numpy()
    np.testing.assert_allclose(hit_onnx.outputs(frame[None])["spots"], exact, atol=2e-4)
    frame[60, 60] = -1e9
    with torch.no_grad():
        exact = deepcopy(hit).double()(torch.from_numpy(frame[None]).double())[2].numpy()
    np.testing.assert_allclose(hit_onnx.outputs(frame[None])["spots"], exact, atol=2e-4)
    frame[80, 60] = np.inf
    assert np.isfinite(hit_onnx.outputs(frame[None])["spots"]).all()


def test_frames_of_a_batch_do_not_see_each_other(hit: HitNet, hit_onnx: OnnxModel) -> None:
    """In the graph, that is: `OnnxModel` on a CPU runs them one by one."""
    graph = hit_graph(hit, "a test").SerializeToString()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    frames = np.stack([make((128, 150)) for make in CONTENTS.values()])
    (together,) = session.run(["score"], {"image": frames})
    np.testing.assert_allclose(together, hit_onnx.score(frames), atol=1e-6)


@pytest.mark.parametrize("content", CONTENTS)
def test_li2018_is_the_same_in_torch_and_onnx(li: LiNet, li_onnx: OnnxModel, content: str) -> None:
    image = CONTENTS[content]((SIDE, SIDE))[None]
    with torch.no_grad():
        expected = torch.softmax(li(torch.from_numpy(image)), 1)[:, 1].numpy()
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(li_onnx.score(image), expected, atol=1e-5)


TABLE = [
    ("conv1", 200, (2, 4, 344, 344)),
    ("norm1", 688, (2, 4, 344, 344)),
    ("conv2", 788, (2, 4, 62, 62)),
    ("norm2", 124, (2, 4, 62, 62)),
    ("full1", 9232, (2, 16)),
    ("norm3", 32, (2, 16)),
    ("full2", 34, (2, 2)),
]
"""Li 2018, Table I: parameters, and what a layer gives."""


@pytest.mark.parametrize(("name", "parameters", "shape"), TABLE, ids=lambda each: str(each))
def test_li2018_has_the_layers_of_its_table(
    name: str, parameters: int, shape: tuple[int, ...]
) -> None:
    net = LiNet().eval()
    layer = net.get_submodule(name)
    seen: list[tuple[int, ...]] = []
    layer.register_forward_hook(lambda _, __, output: seen.append(tuple(output.shape)))
    with torch.no_grad():
        net(torch.zeros(2, SIDE, SIDE))
    assert sum(each.numel() for each in layer.parameters()) == parameters
    assert seen == [shape]


def test_li2018_has_no_other_parameters() -> None:
    assert sum(each.numel() for each in LiNet().parameters()) == sum(row[1] for row in TABLE)


def test_rows_are_normalised_each_on_its_own() -> None:
    net = LiNet().train()
    maps = torch.randn(3, 4, 344, 9) * torch.linspace(1, 50, 344)[:, None] + 8
    normalised = net.norm1(maps)
    torch.testing.assert_close(normalised.mean((0, 1, 3)), torch.zeros(344), atol=1e-4, rtol=0)
    torch.testing.assert_close(normalised.std((0, 1, 3)), torch.ones(344), atol=2e-2, rtol=0)


@pytest.fixture(scope="module")
def shipped() -> HitNet:
    """The network with the weights that hitfinder ships."""
    net = HitNet().eval()
    load_weights(net, shipped_models() / "hit")
    return net


def judged(net: HitNet, *images: NDArray[np.float32]) -> tuple[NDArray[np.float32], list[float]]:
    """Scores and counts."""
    with torch.no_grad():
        score, count, _ = net(torch.from_numpy(np.stack(images)))
    return score.numpy(), count.tolist()


def test_spots_are_counted(shipped: HitNet) -> None:
    _, counts = judged(shipped, crystal((350, 350)), photons((350, 350)))
    assert 10 < counts[0] < 40
    assert counts[1] < 2


def rescaled(net: HitNet, gain: float, offset: float) -> tuple[Pixels, Pixels]:
    """Scores of gain * frame + offset, and of the frames."""
    size = (350, 350)
    frames = [crystal(size), with_gaps(size), photons(size, 40.0)]
    images = [(gain * frame.astype(np.float64) + offset).astype(np.float32) for frame in frames]
    return judged(net, *images)[0], judged(net, *frames)[0]


@pytest.mark.parametrize(
    ("gain", "offset", "within"),
    [
        *((gain, 0.0, 1e-4) for gain in (1e-3, 1.0, 200.0)),
        *((gain, -100.0, 1e-4) for gain in (1.0, 200.0)),
        (200.0, 1e4, 1e-4),
        (1.0, 1e4, 1e-2),  # float32 holds a thousandth of the noise; the network allows for ten
    ],
)
def test_gain_and_offset_do_not_matter(
    shipped: HitNet, gain: float, offset: float, within: float
) -> None:
    score, expected = rescaled(shipped, gain, offset)
    np.testing.assert_allclose(score, expected, atol=within)


@pytest.mark.parametrize("offset", [-100.0, 1e4])
def test_what_float32_cannot_hold_is_no_spot(shipped: HitNet, offset: float) -> None:
    """A gain of 1/1000 on an offset: pixels are rounded to a hundredth of their noise, or all of
    it. That may hide a hit, and must not make one.
    """
    score, expected = rescaled(shipped, 1e-3, offset)
    assert (score <= expected + 1e-3).all()


def test_noise_around_a_frame_adds_no_spots(shipped: HitNet) -> None:
    """The count stays, though there is ten times as much to look at."""
    rng = np.random.default_rng(8)
    middle = poisson(with_spots(np.full((350, 350), 3.0), rng, 20, snr=30.0, width_px=1.5), rng)
    frame = rng.poisson(3.0, (1100, 1100)).astype(np.float32)
    frame[375:725, 375:725] = middle
    (_, (alone,)), (_, (within,)) = judged(shipped, middle), judged(shipped, frame)
    assert alone > 8
    assert abs(within - alone) < 2
