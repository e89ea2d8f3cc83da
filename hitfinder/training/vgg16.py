"""The recipe of Su's report: VGG16's numbers, their principal components, logistic regression.

VGG16 is not trained on them: 500 frames are too few for it. A frame's relief goes through it as a
photograph would; of the 8192 numbers that come out, the 50 principal components are taken, and
scikit-learn fits a logistic regression with an L2 penalty to them. Not told, and chosen here: the
penalty, and that components keep their size: brought to the same variance, the smallest, which are
noise, count as much as the largest, and do not do for other detectors (docs/experiments.md).

What VGG16's weights are is said on the card: torchvision's, learned from photographs; taught here
on simulated frames, in a narrower network (`teaching`); or drawn from the seed. All is folded into
one graph, from pixels to score, in float32, in float16 for a GPU, or in 8-bit integers for a CPU;
what is fitted is fitted in float32.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import ModelProto, compose
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from hitfinder.evaluation.curves import Epoch
from hitfinder.inference.model_card import ModelCard, Precision
from hitfinder.training.artifact import hashed, write_artifact
from hitfinder.training.diffuse import NAMES
from hitfinder.training.fixed import lessons_of, pictures_of
from hitfinder.training.networks.colours import COLOURS, colours, magnified, picture_graph
from hitfinder.training.networks.pools import POOL
from hitfinder.training.networks.relief import relief
from hitfinder.training.networks.texture import SIDE
from hitfinder.training.networks.vgg16 import (
    DOUBLED,
    FILE,
    Vgg16,
    drawn,
    load_vgg16,
    random_vgg16,
    vgg16_numbers,
)
from hitfinder.training.onnx_graph import Graph
from hitfinder.training.samples import Material, Part, check_classes
from hitfinder.training.teaching import taught_vgg16

NARROW = 8
"""VGG16 is taught with so many times fewer channels: what a processor does in minutes."""

COMPONENTS = 50
PENALTY = 1.0
"""Weight of the fit beside the penalty: scikit-learn's C."""

BATCH = 8
CALIBRATED_ON = 64
"""Frames that 8-bit ranges are taken from."""

THRESHOLD = 0.5
"""The likelier class, as in the report."""

DESCRIPTION = (
    "VGG16 (Simonyan & Zisserman 2014) on a frame's relief, 224 x 224, its heights at three "
    "coarsenesses for colours; of what its sixth and seventh layers give, 50 principal components "
    "and a logistic regression, as in Su's report on diffuse images. To compare with."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What was fitted, folded: `embedding` is (numbers - mean) @ axes, (8192,) and (8192, k);
    `score` the logistic function of embedding @ slope + middle, (k,) and one number.
    """

    mean: NDArray[np.float32]
    axes: NDArray[np.float32]
    slope: NDArray[np.float32]
    middle: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """What VGG16 itself, so many times narrower, is taught with: the training part of `material`,
    for so many `epochs`. `done` hears of frames, `told` of every epoch.
    """

    material: Material
    epochs: int
    narrow: int = NARROW
    done: Callable[[int], None]
    told: Callable[[Epoch], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """VGG16, where its weights come from, in words, and how learning them went."""

    net: Vgg16
    origin: str
    curves: Sequence[Epoch] = ()


def weights_for(source: Path | Lessons | None, seed: int) -> Weights:
    """From torchvision's file, taught, or random.

    Raises ArtifactError, DataFileError and OSError.
    """
    if source is None:
        return Weights(net=random_vgg16(seed), origin="random, from the seed, and never trained")
    if isinstance(source, Path):
        return Weights(
            net=load_vgg16(source),
            origin=f"torchvision's {FILE}, learned from photographs (ImageNet)",
        )
    samples = source.material.load("training", lessons_of, source.done)
    net, curves = taught_vgg16(
        samples, seed=seed, epochs=source.epochs, narrow=source.narrow, told=source.told
    )
    origin = (
        f"{source.narrow} times narrower than described, taught by a compact diffuse model on "
        f"{source.material.described()}"
    )
    return Weights(net=net, origin=origin, curves=curves)


def train_vgg16(
    folder: Path,
    material: Material,
    *,
    seed: int,
    source: Path | Lessons | None,
    precision: Precision,
    created_by: str,
    done: Callable[[Part, int], None],
    fitted: Callable[[int], None],
) -> ModelCard:
    """Fit, test, and write the artifact to `folder`. The material's hits are diffuse frames, its
    misses other hits; the weights' `source` is torchvision's file, lessons, or nothing. `done`
    hears of frames by stage, `fitted` of frames that went through VGG16.

    Raises ArtifactError, DataFileError and OSError.
    """
    weights = weights_for(source, seed)
    net = weights.net
    samples = material.load("training", pictures_of, partial(done, "training"))
    check_classes(samples, NAMES)
    clear = [each.truths >= 0 for each in samples]
    parts = list(zip(samples, clear, strict=True))
    pictures = np.concatenate([each.inputs[some] for each, some in parts])
    truths = np.concatenate([each.truths[some] for each, some in parts])
    numbers = numbers_of(net, pictures, fitted)
    head = folded(fit(numbers, truths, seed))
    draft = ModelCard(
        name=folder.name,
        version="1",
        task="diffuse",
        description=DESCRIPTION,
        region="whole frames of any size, of one module or of many",
        threshold=THRESHOLD,
        threshold_from="the likelier of two classes, as in the report",
        outputs={
            "score": "(N,) probability that the hit's crystal shows diffuse scattering",
            "embedding": f"(N, {len(head.slope)}) principal components of VGG16's numbers",
            "relief": f"(N, {COLOURS}, {SIDE}, {SIDE}) what VGG16 saw of the frame, its sides in "
            "proportion: heights above the surroundings, coarser in each colour",
        },
        onnx_sha256="",
        binning=POOL,
        weights_origin=f"VGG16: {weights.origin}; {precision}",
        data=material.described(),
        data_sha256=hashed(samples),
        seed=seed,
        created_by=created_by,
        precision=precision,
    )
    graph = vgg16_graph(net, head, precision, pictures[:CALIBRATED_ON])
    curves = weights.curves
    return write_artifact(folder, graph, draft, material, curves, promise=None, done=done)


def numbers_of(
    net: Vgg16, pictures: NDArray[np.float32], fitted: Callable[[int], None] = lambda frames: None
) -> NDArray[np.float32]:
    """Pictures (k, COLOURS, SIDE, SIDE) to VGG16's (k, 8192)."""
    found = []
    with torch.no_grad():
        for start in range(0, len(pictures), BATCH):
            some = torch.from_numpy(pictures[start : start + BATCH])
            found.append(net(drawn(some)).numpy())
            fitted(len(some))
    return np.concatenate(found)


def fit(numbers: NDArray[np.float32], truths: NDArray[np.int8], seed: int) -> Pipeline:
    """Components and regression, by scikit-learn."""
    count = min(COMPONENTS, len(numbers) - 1)
    pipeline = make_pipeline(
        PCA(count, svd_solver="full"),
        LogisticRegression(C=PENALTY, max_iter=1000, random_state=seed),
    )
    return pipeline.fit(numbers.astype(np.float64), truths)


def folded(pipeline: Pipeline) -> Head:
    """The pipeline as two products of matrices."""
    components, regression = pipeline[0], pipeline[1]
    return Head(
        mean=components.mean_.astype(np.float32),
        axes=components.components_.T.astype(np.float32),
        slope=regression.coef_[0].astype(np.float32),
        middle=float(regression.intercept_[0]),
    )


def vgg16_graph(
    net: Vgg16, head: Head, precision: Precision, pictures: NDArray[np.float32]
) -> ModelProto:
    """The whole as one graph: `image` → `score`, `embedding`, `relief`. Ranges for 8 bits are those
    of the `pictures` (k, COLOURS, SIDE, SIDE).
    """
    g = Graph()
    shape: Sequence[str | int] = ("N", COLOURS, SIDE, SIDE)
    outputs: dict[str, Sequence[str | int]] = {"score": ("N",), "embedding": ("N", len(head.slope))}
    if precision != "int8":
        picture = g.op("Identity", colours(g, relief(g, SIDE)), name="relief")
        _judge(g, picture, net, head, half=precision == "fp16")
        outputs["relief"] = shape
        return g.model("vgg16", {"image": ("N", "H", "W")}, outputs, DESCRIPTION)
    _judge(g, "relief", net, head, half=False)
    judge = g.model("judge", {"relief": shape}, outputs, DESCRIPTION)
    second = compose.add_prefix(
        _in_8_bits(judge, pictures), "judge.", rename_inputs=False, rename_outputs=False
    )
    return compose.merge_models(
        onnx.load_from_string(picture_graph()),
        second,
        io_map=[("relief", "relief")],
        outputs=[*outputs, "relief"],
    )


def _judge(g: Graph, pictures: str, net: Vgg16, head: Head, *, half: bool) -> None:
    numbers = vgg16_numbers(g, magnified(g, pictures, DOUBLED), net, half=half)
    away = g.op("Sub", numbers, g.constant(head.mean))
    embedding = g.op("MatMul", away, g.constant(head.axes), name="embedding")
    logit = g.op("Add", g.op("MatMul", embedding, g.constant(head.slope)), head.middle)
    g.op("Sigmoid", logit, name="score")


class _Pictures(CalibrationDataReader):  # type: ignore[misc]
    """Frames one by one, as the quantiser asks for them."""

    def __init__(self, pictures: NDArray[np.float32]) -> None:
        self._left: Iterator[NDArray[np.float32]] = iter(pictures)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next frame, (1, COLOURS, SIDE, SIDE); None when there is none."""
        frame = next(self._left, None)
        return None if frame is None else {"relief": frame[np.newaxis]}


def _in_8_bits(judge: ModelProto, pictures: NDArray[np.float32]) -> ModelProto:
    """VGG16's layers in 8-bit integers: weights by channel, what flows between layers by layer.
    What follows stays as it is.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "judge.onnx"
        quantize_static(
            judge,
            path,
            _Pictures(pictures),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Gemm", "MaxPool"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(path)
