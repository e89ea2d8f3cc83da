"""Small artifacts for tests: a graph whose score is a pixel, and a card that fits it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

from hitfinder.inference.model_card import GRAPH, ModelCard, sha256, write_card

Constant = NDArray[np.float32] | NDArray[np.int64]


def card(**changes: object) -> ModelCard:
    fields: dict[str, object] = {
        "name": "toy",
        "version": "1",
        "task": "hit",
        "description": "the first pixel",
        "region": "any",
        "threshold": 0.5,
        "threshold_from": "set",
        "outputs": {"score": "the first pixel"},
        "onnx_sha256": "0" * 64,
        "weights_origin": "none",
        "data": "none",
        "created_by": "a test",
    }
    return ModelCard(**(fields | changes))  # type: ignore[arg-type]


def first_pixel(
    image: str = "image", score: str = "score", rank: int = 3, dtype: int = TensorProto.FLOAT
) -> ModelProto:
    """score (N,) = image[:, 0, 0]."""
    names = ["N", "H", "W"][:rank]
    graph = helper.make_graph(
        [
            helper.make_node("Slice", [image, "zero", "one", "axes"], ["first"]),
            helper.make_node("Reshape", ["first", "flat"], [score]),
        ],
        "toy",
        [helper.make_tensor_value_info(image, dtype, names)],
        [helper.make_tensor_value_info(score, dtype, ["N"])],
        [
            numpy_helper.from_array(np.zeros(rank - 1, np.int64), "zero"),
            numpy_helper.from_array(np.ones(rank - 1, np.int64), "one"),
            numpy_helper.from_array(np.arange(1, rank), "axes"),
            numpy_helper.from_array(np.array([-1]), "flat"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    checker.check_model(model)
    return model


def no_number() -> ModelProto:
    """score (N,) = NaN, whatever the image."""
    return _after_first_pixel(
        [
            helper.make_node("Mul", ["pixel", "nothing"], ["zero_each"]),
            helper.make_node("Div", ["zero_each", "zero_each"], ["score"]),
        ],
        {"nothing": np.zeros(1, np.float32)},
    )


def of_shape(*shape: int) -> ModelProto:
    """The first pixels, in another shape than (N,)."""
    return _after_first_pixel(
        [helper.make_node("Reshape", ["pixel", "shape"], ["score"])],
        {"shape": np.array(shape, np.int64)},
    )


def slow(repeats: int) -> ModelProto:
    """score (N,) = the first pixel / 100, after so many convolutions of the whole image."""
    kernel = np.zeros((1, 1, 5, 5), np.float32)
    kernel[0, 0, 2, 2] = 1.0
    nodes = [helper.make_node("Unsqueeze", ["image", "channel"], ["image 0"])]
    for number in range(repeats):
        names = [f"image {number}", "kernel"]
        nodes.append(helper.make_node("Conv", names, [f"image {number + 1}"], pads=[2] * 4))
    return _made(
        [
            *nodes,
            helper.make_node("Slice", [f"image {repeats}", "zero", "one", "axes"], ["first"]),
            helper.make_node("Reshape", ["first", "flat"], ["pixel"]),
            helper.make_node("Div", ["pixel", "hundred"], ["score"]),
        ],
        {
            "channel": np.array([1]),
            "kernel": kernel,
            "zero": np.zeros(2, np.int64),
            "one": np.ones(2, np.int64),
            "axes": np.array([2, 3]),
            "flat": np.array([-1]),
            "hundred": np.full(1, 100, np.float32),
        },
    )


def _after_first_pixel(nodes: list[NodeProto], constants: dict[str, Constant]) -> ModelProto:
    first = [
        helper.make_node("Slice", ["image", "zero", "one", "axes"], ["first"]),
        helper.make_node("Reshape", ["first", "flat"], ["pixel"]),
    ]
    own: dict[str, Constant] = {
        "zero": np.zeros(2, np.int64),
        "one": np.ones(2, np.int64),
        "axes": np.arange(1, 3),
        "flat": np.array([-1]),
    }
    return _made([*first, *nodes], own | constants)


def _made(nodes: list[NodeProto], constants: dict[str, Constant]) -> ModelProto:
    """From `image` (N, H, W) to `score` (N,)."""
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", "H", "W"])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N"])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    checker.check_model(model)
    return model


def write_artifact(folder: Path, graph: bytes | None = None, **changes: object) -> ModelCard:
    """An artifact whose card vouches for its graph, whatever that graph is."""
    folder.mkdir(parents=True, exist_ok=True)
    content = first_pixel().SerializeToString() if graph is None else graph
    (folder / GRAPH).write_bytes(content)
    made = card(**({"onnx_sha256": sha256(content)} | changes))
    write_card(folder, made)
    return made
