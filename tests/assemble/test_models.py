"""What the service's models go on with when a GPU dies, and what is told of it."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hitfinder.assemble.models import load_diffuse, load_hit
from hitfinder.config import DiffuseSettings, ModelSettings
from hitfinder.inference import onnx_model
from hitfinder.inference.fallback import IN_A_ROW, LastingModel
from hitfinder.inference.onnx_model import ModelRunError, OnnxModel
from hitfinder.serving.metrics import Metrics
from hitfinder.serving.reports import Reports
from tests.inference.artifacts import write_artifact

ONE = np.full((1, 2, 2), 0.5, np.float32)


class DeadSession:
    """On a GPU that is gone."""

    def run(self, *_: Any) -> None:
        raise RuntimeError("x.cc CUDA failure 719: unspecified launch failure ; GPU=0")


@pytest.fixture
def alive() -> set[tuple[str, bool]]:
    """Devices and captures that run; the CPU does."""
    return {("cpu", False)}


@pytest.fixture
def loaded(alive: set[tuple[str, bool]], monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """Devices and captures that were asked for; what is not alive fails at every run."""
    real = OnnxModel.load
    asked: list[tuple[str, bool]] = []

    def load(
        folder: Path,
        device: str = "auto",
        threads: int = 1,
        *,
        captures: bool = False,
        binned: bool = False,
    ) -> OnnxModel:
        asked.append((device, captures))
        model = real(folder, "cpu", threads, binned=binned)
        model = replace(model, device="cpu" if device == "cpu" else "cuda")
        return model if (device, captures) in alive else replace(model, _session=DeadSession())

    monkeypatch.setattr(onnx_model.OnnxModel, "load", load)
    return asked


def fail(model: LastingModel) -> None:
    for _ in range(IN_A_ROW):
        with pytest.raises(ModelRunError):
            model.score(ONE)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def reports() -> Reports:
    return Reports(time.monotonic_ns)


def told(reports: Reports) -> list[tuple[str, str]]:
    return [(kind, text) for kind, text, _ in reports.collect()]


def test_the_judge_goes_on_on_the_cpu_and_says_so(
    tmp_path: Path, loaded: list[tuple[str, bool]], metrics: Metrics, reports: Reports
) -> None:
    write_artifact(tmp_path)
    settings = ModelSettings(artifact=str(tmp_path))
    started, model = load_hit(settings, tmp_path, metrics, reports)
    assert started.device == "cuda"
    metrics.device.labels("cuda").set(1)
    fail(model)
    assert model.score(ONE).tolist() == [0.5]
    assert loaded == [("auto", False), ("cpu", False)]
    value = metrics.registry.get_sample_value
    assert value("hitfinder_device", {"device": "cuda"}) == 0
    assert value("hitfinder_device", {"device": "cpu"}) == 1
    assert value("hitfinder_device_fallback") == 1
    ((kind, text),) = told(reports)
    assert kind == "GPU failed"
    assert "judging on the CPU until the next start" in text
    assert "CUDA failure 719: unspecified launch failure" in text


def test_who_asked_for_cuda_gets_no_cpu(
    tmp_path: Path, loaded: list[tuple[str, bool]], metrics: Metrics, reports: Reports
) -> None:
    write_artifact(tmp_path)
    settings = ModelSettings(artifact=str(tmp_path), device="cuda")
    _, model = load_hit(settings, tmp_path, metrics, reports)
    fail(model)
    fail(model)
    assert loaded == [("cuda", False)]
    assert told(reports) == []


@pytest.mark.parametrize(("gpu_runs", "kind"), [(True, "no CUDA graphs"), (False, "GPU failed")])
def test_without_cuda_graphs_it_is_tried_before_the_cpu(
    tmp_path: Path,
    loaded: list[tuple[str, bool]],
    alive: set[tuple[str, bool]],
    metrics: Metrics,
    reports: Reports,
    gpu_runs: bool,
    kind: str,
) -> None:
    if gpu_runs:
        alive.add(("cuda", False))
    write_artifact(tmp_path)
    settings = ModelSettings(artifact=str(tmp_path), cuda_graphs=True)
    _, model = load_hit(settings, tmp_path, metrics, reports)
    model.warm([(1, 2, 2)])
    tried = [("auto", True), ("cuda", False), ("cpu", False)]
    assert loaded == (tried[:2] if gpu_runs else tried)
    assert [kind for kind, _ in told(reports)] == [kind]


def test_the_second_step_goes_on_on_the_cpu_and_says_so(
    tmp_path: Path, loaded: list[tuple[str, bool]], metrics: Metrics, reports: Reports
) -> None:
    card = write_artifact(tmp_path, task="diffuse")
    settings = DiffuseSettings(artifact=str(tmp_path))
    _, model = load_diffuse(settings, tmp_path, metrics, reports)
    fail(model)
    assert model.score(ONE).tolist() == [0.5]
    about = {"name": "toy", "version": "1", "sha256": card.onnx_sha256, "task": "diffuse"}
    value = metrics.registry.get_sample_value
    assert value("hitfinder_diffuse_model_info", about | {"device": "cpu"}) == 1
    assert value("hitfinder_device_fallback") == 0
    ((kind, text),) = told(reports)
    assert (kind, text.partition(":")[0]) == (
        "GPU failed",
        "the second step runs on the CPU until the next start",
    )


def test_the_second_steps_spare_takes_bins_like_the_one_before_it(
    tmp_path: Path, loaded: list[tuple[str, bool]], metrics: Metrics, reports: Reports
) -> None:
    model, lasting = load_diffuse(DiffuseSettings(), tmp_path, metrics, reports)
    assert model.binned
    fail(lasting)
    assert lasting.device == "cpu"
    assert lasting._model.binned
