"""`hitfinder models`: what judges, and whether it is what its card says."""

from pathlib import Path

import msgspec
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from hitfinder.errors import DeviceError
from hitfinder.inference.model_card import Precision, find_artifact, list_artifacts, load_card
from hitfinder.inference.onnx_model import OnnxModel

NEAR: dict[Precision, float] = {"fp32": 1e-3, "fp16": 0.02, "int8": 1e-3}
"""How far a score on a GPU may lie from the CPU's, where thresholds have come from."""

TRIAL_PX = 350
SPOTS = 40


def list_models() -> int:
    """Shipped artifacts."""
    table = Table(box=None)
    for column in ("name", "version", "task", "threshold", "description"):
        table.add_column(column)
    for name in list_artifacts():
        card = load_card(find_artifact(name, Path.cwd()))
        table.add_row(card.name, card.version, card.task, f"{card.threshold:g}", card.description)
    Console().print(table)
    return 0


def show_model(name: str) -> int:
    """The card as JSON."""
    card = load_card(find_artifact(name, Path.cwd()))
    typer.echo(msgspec.json.format(msgspec.json.encode(card)).decode())
    return 0


def verify_model(name: str) -> int:
    """Load (which checks the hash) and score a frame of nothing; where a GPU works, compare its
    scores with the CPU's. Raises DeviceError when they differ.
    """
    folder = find_artifact(name, Path.cwd())
    model = OnnxModel.load(folder, device="cpu", threads=1)
    score = float(model.score(np.zeros((1, 350, 350), np.float32))[0])
    card = model.card
    typer.echo(
        f"{folder}: matches its card (sha256 {card.onnx_sha256[:12]}…), for {card.task!r}; "
        f"an empty frame scores {score:.4f}, threshold {card.threshold:g}"
    )
    on_gpu = OnnxModel.load(folder)
    if on_gpu.device == "cuda":
        typer.echo(_compared(model, on_gpu))
    return 0


def _compared(on_cpu: OnnxModel, on_gpu: OnnxModel) -> str:
    """What to say of scores that agree. A convolution that a GPU computes in another way may
    smear what stands for pixels not measured over its neighbours.
    """
    images = trial_images()
    away = float(np.abs(on_gpu.score(images) - on_cpu.score(images)).max())
    if not away <= NEAR[on_cpu.card.precision]:
        raise DeviceError(
            f"model {on_cpu.card.name} scores otherwise on this GPU, by up to {away:.2g}: set "
            'device = "cpu", and please report it with the output of nvidia-smi'
        )
    return f"on the GPU it scores the same, but for {away:.1g}"


def trial_images() -> NDArray[np.float32]:
    """(4, 350, 350): noise on a high background, then with spots, each also with a part of it not
    measured.
    """
    rng = np.random.default_rng(1)
    images = rng.poisson(1000.0, (4, TRIAL_PX, TRIAL_PX)).astype(np.float32)
    for row, col in rng.integers(1, TRIAL_PX - 1, (SPOTS, 2)):
        images[1::2, row - 1 : row + 2, col - 1 : col + 2] += 300.0
    images[2:, 60:180, 40:230] = np.nan
    return images
