"""The service's models, and what each goes on with when its GPU fails.

`device = "auto"` goes on on the CPU and says so; who set "cuda" gets no CPU, but frames unjudged,
which the reports and metrics of failures tell.
"""

from functools import partial
from pathlib import Path
from typing import Protocol

from hitfinder.config import DiffuseSettings, ModelSettings
from hitfinder.errors import ArtifactError
from hitfinder.inference.fallback import LastingModel, Spare
from hitfinder.inference.model_card import Task, find_artifact
from hitfinder.inference.onnx_model import OnnxModel
from hitfinder.inference.sessions import Device
from hitfinder.serving.metrics import Metrics
from hitfinder.serving.reports import Reports


class _Load(Protocol):
    """Loads a section's model anew."""

    def __call__(self, device: Device, *, captures: bool = False) -> OnnxModel: ...


def load_hit(
    settings: ModelSettings, folder: Path, metrics: Metrics, reports: Reports
) -> tuple[OnnxModel, LastingModel]:
    """The model that judges, as it starts and as it lasts. Raises ArtifactError, DeviceError."""
    load = _loader("model", "hit", settings, folder)
    model = load(settings.device, captures=settings.cuda_graphs)
    if model.no_capture:
        reports.add("no CUDA graphs", f"judging on the GPU without: {model.no_capture}")

    def moved(now: OnnxModel, why: str) -> None:
        if now.device == "cuda":
            reports.add("no CUDA graphs", f"judging on the GPU without: {why}")
            return
        metrics.device.labels("cuda").set(0)
        metrics.device.labels("cpu").set(1)
        metrics.device_fallback.set(1)
        reports.add("GPU failed", f"judging on the CPU until the next start: {why}")

    spares = _spares(load, model, settings.device, captures=settings.cuda_graphs)
    return model, LastingModel(model, spares, moved)


def load_diffuse(
    settings: DiffuseSettings, folder: Path, metrics: Metrics, reports: Reports
) -> tuple[OnnxModel, LastingModel]:
    """Likewise the second step's, which takes bins where it can."""
    load = _loader("diffuse", "diffuse", settings, folder, binned=True)
    model = load(settings.device)

    def moved(now: OnnxModel, why: str) -> None:
        metrics.diffuse_model.info(about(now) | {"device": now.device})
        reports.add("GPU failed", f"the second step runs on the CPU until the next start: {why}")

    return model, LastingModel(model, _spares(load, model, settings.device), moved)


def about(model: OnnxModel) -> dict[str, str]:
    """What the metrics say of a model."""
    card = model.card
    return {
        "name": card.name,
        "version": card.version,
        "sha256": card.onnx_sha256,
        "task": card.task,
    }


def _loader(
    section: str,
    task: Task,
    settings: ModelSettings | DiffuseSettings,
    folder: Path,
    *,
    binned: bool = False,
) -> _Load:
    artifact = find_artifact(settings.artifact, folder)

    def load(device: Device, *, captures: bool = False) -> OnnxModel:
        model = OnnxModel.load(
            artifact,
            device=device,
            threads=settings.threads,
            captures=captures,
            binned=binned,
        )
        if model.card.task != task:
            raise ArtifactError(
                f"{artifact} is a model for {model.card.task!r}; [{section}] needs one for {task!r}"
            )
        return model

    return load


def _spares(
    load: _Load, model: OnnxModel, device: Device, *, captures: bool = False
) -> list[Spare]:
    if model.device == "cpu":
        return []
    without_graphs: list[Spare] = []
    if captures and not model.no_capture:
        without_graphs.append(partial(load, "cuda"))
    return without_graphs + ([partial(load, "cpu")] if device == "auto" else [])
