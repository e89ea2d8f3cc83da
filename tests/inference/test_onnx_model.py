"""Sessions: which device is really in use, and what happens to graphs that are no models."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto

from hitfinder.errors import ArtifactError, DeviceError
from hitfinder.inference.onnx_model import (
    CPU,
    CUDA,
    ModelRunError,
    OnnxModel,
    check_distributions,
)
from tests.inference.artifacts import first_pixel, write_artifact


def batch(*first: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    images = np.full((len(first), 4, 6), np.nan, np.float32)
    images[:, 0, 0] = first
    return images


def test_scores_a_batch_in_order(tmp_path: Path) -> None:
    write_artifact(tmp_path)
    model = OnnxModel.load(tmp_path, "cpu")
    model.warm([(1, 4, 6), (2, 4, 6)])
    scores = model.score(batch(0.25, 0.75, 0.5))
    np.testing.assert_array_equal(scores, np.array([0.25, 0.75, 0.5], np.float32))
    assert list(model.outputs(batch(0.25))) == ["score"]
    assert (model.device, model.fell_back, model.why) == ("cpu", False, "")
    assert model.card.name == "toy"


def test_failure_on_a_batch_is_one_line_and_not_the_end(tmp_path: Path) -> None:
    write_artifact(tmp_path)
    model = OnnxModel.load(tmp_path, "cpu")
    with pytest.raises(ModelRunError, match=r"toy failed on a batch of shape \(4, 6\)") as caught:
        model.score(batch(0.5)[0])
    assert "\n" not in str(caught.value)
    assert model.score(batch(0.5)).tolist() == [0.5]


@pytest.mark.parametrize("graph", [b"", b"no graph", first_pixel().SerializeToString()[:100]])
def test_damaged_graph_is_an_artifact_error(tmp_path: Path, graph: bytes) -> None:
    write_artifact(tmp_path, graph)
    with pytest.raises(ArtifactError, match="cannot be loaded") as caught:
        OnnxModel.load(tmp_path, "cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"image": "picture"},
        {"score": "mark"},
        {"rank": 2},
        {"dtype": TensorProto.DOUBLE},
    ],
)
def test_graph_with_another_interface_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    write_artifact(tmp_path, first_pixel(**wrong).SerializeToString())
    with pytest.raises(ArtifactError, match="a model takes `image`"):
        OnnxModel.load(tmp_path, "cpu")


def test_graph_is_not_loaded_when_its_card_is_another_s(tmp_path: Path) -> None:
    write_artifact(tmp_path, onnx_sha256="0" * 64)
    with pytest.raises(ArtifactError, match="vouches"):
        OnnxModel.load(tmp_path, "cpu")


class CpuSession:
    """What ONNX Runtime makes when CUDA was wanted and its libraries are missing."""

    def __init__(self, graph: bytes, options: object, providers: list[Any]) -> None:
        self._real = _real_session(graph, options, providers=[CPU])
        print("EP Error: libcublas.so is missing.\nFalling back.")  # noqa: T201

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


_real_session = ort.InferenceSession


@pytest.fixture
def without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "InferenceSession", CpuSession)
    monkeypatch.setattr(ort, "preload_dlls", lambda: None, raising=False)
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])


@pytest.mark.usefixtures("without_cuda")
def test_auto_falls_back_and_says_why(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_artifact(tmp_path)
    model = OnnxModel.load(tmp_path, "auto")
    assert (model.device, model.fell_back) == ("cpu", True)
    assert "libcublas.so is missing" in model.why
    assert model.score(batch(0.5)).tolist() == [0.5]
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("without_cuda")
def test_cuda_asked_for_and_absent_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    write_artifact(tmp_path)
    with pytest.raises(DeviceError, match=r"libcublas.*pip install 'hitfinder\[cuda\]'"):
        OnnxModel.load(tmp_path, "cuda")


def test_runtime_without_cuda_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CPU])
    write_artifact(tmp_path)
    model = OnnxModel.load(tmp_path, "auto")
    assert model.fell_back
    assert "has no CUDA support" in model.why
    with pytest.raises(DeviceError, match="has no CUDA support"):
        OnnxModel.load(tmp_path, "cuda")


def test_this_machine_tells_the_truth(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_artifact(tmp_path)
    model = OnnxModel.load(tmp_path, "auto")
    assert (model.device == "cpu") == model.fell_back == bool(model.why)
    assert capfd.readouterr() == ("", "")


def test_both_distributions_are_one_too_many() -> None:
    check_distributions(["numpy", "onnxruntime-gpu"])
    check_distributions(["numpy", "onnxruntime"])
    with pytest.raises(DeviceError, match="pip uninstall"):
        check_distributions(["onnxruntime", "numpy", "ONNXRuntime_GPU"])
