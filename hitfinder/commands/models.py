"""`hitfinder models`: what judges, and whether it is what its card says."""

from pathlib import Path

import msgspec
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from hitfinder.inference.model_card import find_artifact, list_artifacts, load_card
from hitfinder.inference.onnx_model import OnnxModel


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
    """Load (which checks the hash) and score a frame of nothing."""
    folder = find_artifact(name, Path.cwd())
    model = OnnxModel.load(folder, device="cpu", threads=1)
    score = float(model.score(np.zeros((1, 350, 350), np.float32))[0])
    card = model.card
    typer.echo(
        f"{folder}: matches its card (sha256 {card.onnx_sha256[:12]}…), for {card.task!r}; "
        f"an empty frame scores {score:.4f}, threshold {card.threshold:g}"
    )
    return 0
