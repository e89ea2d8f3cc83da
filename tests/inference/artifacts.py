"""Small artifacts for tests: a graph whose score is a pixel, and a card that fits it."""

from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper

from hitfinder.inference.model_card import GRAPH, ModelCard, sha256, write_card


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


def write_artifact(folder: Path, graph: bytes | None = None, **changes: object) -> ModelCard:
    """An artifact whose card vouches for its graph, whatever that graph is."""
    folder.mkdir(parents=True, exist_ok=True)
    content = first_pixel().SerializeToString() if graph is None else graph
    (folder / GRAPH).write_bytes(content)
    made = card(**({"onnx_sha256": sha256(content)} | changes))
    write_card(folder, made)
    return made
