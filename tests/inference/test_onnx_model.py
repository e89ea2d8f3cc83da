"""Sessions: which device is really in use, and what happens to graphs that are no models."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto

from hitfinder.errors import ArtifactError, DeviceError
from hitfinder.inference import gpu
from hitfinder.inference.model_card import Precision, shipped_models
from hitfinder.inference.onnx_model import ModelRunError, OnnxModel
from hitfinder.inference.sessions import CPU, CUDA, Device, check_distributions
from tests.inference.artifacts import first_pixel, of_shape, write_artifact
from tests.inference.cuda import Runtime, on_cpu


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


@pytest.mark.parametrize("shape", [(1, -1), (-1, 1)])
def test_scores_of_another_shape_are_a_failure(tmp_path: Path, shape: tuple[int, int]) -> None:
    write_artifact(tmp_path, of_shape(*shape).SerializeToString())
    model = OnnxModel.load(tmp_path, "cpu")
    with pytest.raises(ModelRunError, match="one for each image is wanted"):
        model.score(batch(0.25, 0.5, 0.75, 1.0))


NO_DRIVER = (
    "/onnxruntime_src/cuda_call.cc:154 std::conditional_t<THRW, void, onnxruntime::common::Status> "
    "onnxruntime::CudaCall(ERRTYPE) [with ERRTYPE = cudaError] CUDA failure 35: CUDA driver version"
    " is insufficient for CUDA runtime version ; GPU=-1 ; hostname=x ; expr=cudaSetDevice(id);\n\n"
)
"""As ONNX Runtime 1.31 says it, shortened."""

_real_session = ort.InferenceSession


class Machine:
    """What starts where, in place of `ort.InferenceSession`: the real one, on the CPU, under the
    name that was asked for. `refuses` is raised where the CUDA provider has this option.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said = ""
        self.has_gpu = False
        self.refuses: dict[str, str] = {}
        self.options: list[dict[str, str]] = []
        monkeypatch.setattr(ort, "InferenceSession", self.start)
        monkeypatch.setattr(ort, "preload_dlls", lambda: sys.stdout.write(self.said), raising=False)
        monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])

    def start(self, graph: bytes, options: Any, providers: list[Any], enable_fallback: int) -> Any:
        assert not enable_fallback
        session = _real_session(graph, options, providers=[CPU])
        if providers == [CPU]:
            return session
        (name, wanted), _ = providers
        assert name == CUDA
        self.options.append(wanted)
        for option, error in self.refuses.items():
            if wanted[option] == "1":
                raise RuntimeError(error)
        if self.has_gpu:
            session.get_providers = lambda: [CUDA, CPU]
        return session


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    runtime = Runtime()
    monkeypatch.setattr(gpu, "_cuda_runtime", lambda: runtime)
    monkeypatch.setattr(gpu, "_on_gpu", on_cpu)
    return Machine(monkeypatch)


def test_auto_falls_back_and_says_why(
    tmp_path: Path, machine: Machine, capfd: pytest.CaptureFixture[str]
) -> None:
    machine.said = (
        "Failed to load libcublas.so.13: no such file.\nPlease follow the instructions.\n"
    )
    write_artifact(tmp_path)
    model = OnnxModel.load(tmp_path, "auto")
    assert (model.device, model.fell_back) == ("cpu", True)
    assert model.why == "Failed to load libcublas.so.13: no such file"
    assert model.score(batch(0.5)).tolist() == [0.5]
    assert capfd.readouterr() == ("", "")
    # As fast as one for which nobody wanted CUDA.
    assert model._session.get_session_options().enable_mem_pattern


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_driver_too_old_is_told_in_a_few_words(
    tmp_path: Path, machine: Machine, device: Device
) -> None:
    machine.refuses = {"use_tf32": NO_DRIVER}
    write_artifact(tmp_path, precision="fp16")
    why = "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version"
    if device == "auto":
        assert OnnxModel.load(tmp_path, device).why == why
    else:
        with pytest.raises(DeviceError, match=f"device is cuda, but {why}: in the checkout, pip"):
            OnnxModel.load(tmp_path, device)


def test_cuda_asked_for_and_absent_is_an_error_with_a_remedy(
    tmp_path: Path, machine: Machine
) -> None:
    machine.said = "Failed to load libcublas.so.13: no such file"
    write_artifact(tmp_path)
    with pytest.raises(DeviceError, match=r"libcublas.*pip install '\.\[cuda\]'"):
        OnnxModel.load(tmp_path, "cuda")


def test_on_a_gpu_every_batch_has_its_scores(tmp_path: Path, machine: Machine) -> None:
    machine.has_gpu = True
    write_artifact(tmp_path)
    model = OnnxModel.load(tmp_path, "cuda")
    assert (model.device, model.fell_back, model.why) == ("cuda", False, "")
    model.warm([(1, 4, 6), (2, 4, 6)])
    assert model.score(batch(0.25, 0.75)).tolist() == [0.25, 0.75]
    assert model.score(batch(0.5)).tolist() == [0.5]
    assert model.score(batch(0.75, 0.25)).tolist() == [0.75, 0.25]
    assert model.outputs(batch(0.5))["score"].tolist() == [0.5]
    with pytest.raises(ModelRunError, match=r"failed on a batch of shape \(4, 6\) on cuda"):
        model.score(batch(0.5)[0])
    buffer = model.buffer((2, 4, 6))
    buffer[:] = batch(1.0, 0.125)
    assert model.score(buffer[:1]).tolist() == [1.0]


def rough(seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A frame and its bins; none is of a whole number of bins."""
    rng = np.random.default_rng(seed)
    frame = rng.poisson(20, (1, 302, 417)).astype(np.float32)
    frame[rng.random(frame.shape) < 0.002] = np.nan
    frame[:, 100:110] = np.nan
    bins = frame[:, :300, :416].reshape(1, 75, 4, 104, 4).mean((2, 4), dtype=np.float64)
    return frame, bins.astype(np.float32)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_bins_give_the_score_of_their_pixels(machine: Machine, device: Device) -> None:
    machine.has_gpu = True
    folder = shipped_models() / "diffuse"
    of_pixels = OnnxModel.load(folder, "cpu")
    of_bins = OnnxModel.load(folder, device, binned=True)
    assert (of_pixels.binned, of_bins.binned, of_bins.device) == (False, True, device)
    for seed in range(3):
        frame, bins = rough(seed)
        assert of_bins.score(bins) == pytest.approx(of_pixels.score(frame), abs=1e-4)
        assert of_bins.score(bins) != of_pixels.score(bins)
        found, wanted = (
            model.outputs(each)["relief"] for model, each in ((of_bins, bins), (of_pixels, frame))
        )
        np.testing.assert_allclose(found, wanted, atol=1e-2)


def test_a_model_without_bins_takes_pixels_whatever_is_asked(tmp_path: Path) -> None:
    write_artifact(tmp_path)
    model = OnnxModel.load(tmp_path, "cpu", binned=True)
    assert not model.binned
    assert model.score(batch(0.25)).tolist() == [0.25]


def test_a_card_that_claims_bins_of_a_graph_without_is_refused(tmp_path: Path) -> None:
    write_artifact(tmp_path, binning=4)
    with pytest.raises(ArtifactError, match=r"no optional input `binned`.*card says binning 4"):
        OnnxModel.load(tmp_path, "cpu")


@pytest.mark.parametrize(("precision", "tf32"), [("fp32", "0"), ("fp16", "1"), ("int8", "0")])
def test_tensor_cores_are_for_halves_only(
    tmp_path: Path, machine: Machine, precision: Precision, tf32: str
) -> None:
    machine.has_gpu = True
    write_artifact(tmp_path, precision=precision)
    OnnxModel.load(tmp_path, "auto")
    assert machine.options[0]["use_tf32"] == tf32
    assert machine.options[0]["cudnn_conv_algo_search"] == "HEURISTIC"


@pytest.mark.parametrize("why", ["", "nodes have not been partitioned to CUDA.\nmore"])
def test_cuda_graphs_are_made_where_they_can_be(tmp_path: Path, machine: Machine, why: str) -> None:
    machine.has_gpu = True
    machine.refuses = {"enable_cuda_graph": why} if why else {}
    write_artifact(tmp_path)
    model = OnnxModel.load(tmp_path, "auto", captures=True)
    assert (model.device, model.fell_back) == ("cuda", False)
    assert model.no_capture == why.partition(".")[0]
    assert machine.options[-1]["enable_cuda_graph"] == ("0" if why else "1")
    assert model.score(batch(0.25, 0.75)).tolist() == [0.25, 0.75]


def test_runtime_without_cuda_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CPU])
    write_artifact(tmp_path)
    model = OnnxModel.load(tmp_path, "auto", captures=True)
    assert model.fell_back
    assert "has no CUDA support" in model.why
    assert model.no_capture == ""
    with pytest.raises(DeviceError, match="has no CUDA support"):
        OnnxModel.load(tmp_path, "cuda")


def test_this_machine_tells_the_truth(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_artifact(tmp_path)
    model = OnnxModel.load(tmp_path, "auto")
    assert (model.device == "cpu") == model.fell_back == bool(model.why)
    assert "\n" not in model.why
    assert capfd.readouterr() == ("", "")


def test_both_distributions_are_one_too_many() -> None:
    check_distributions(["numpy", "onnxruntime-gpu"])
    check_distributions(["numpy", "onnxruntime"])
    with pytest.raises(DeviceError, match="pip uninstall"):
        check_distributions(["onnxruntime", "numpy", "ONNXRuntime_GPU"])
