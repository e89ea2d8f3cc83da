"""`hitfinder config`: check a file before beamtime, and its schema for editors."""

import json
import time
from pathlib import Path

import typer

from hitfinder.assemble import build_judging
from hitfinder.config import ServeConfig, load_config


def check(path: Path) -> int:
    """Read the file, load the model, mask and geometry that it names."""
    config = load_config(path)
    judging = build_judging(config, path.resolve().parent, time.monotonic_ns)
    model, card = judging.model, judging.model.card
    typer.echo(f"{path}: good")
    typer.echo(f"input    {config.input.protocol} {config.input.mode} {config.input.endpoint}")
    threshold = f"threshold {judging.threshold:g}"
    typer.echo(f"model    {card.name} {card.version}, {threshold}, {model.device}")
    if judging.second is not None:
        model, card = judging.second.model, judging.second.model.card
        threshold = f"threshold {judging.second.threshold:g}"
        typer.echo(f"diffuse  {card.name} {card.version}, {threshold}, {model.device}")
    for name, settings in config.streams.items():
        if settings is None:
            # Without a second step nothing could be sent there.
            if name != "diffuse" or judging.second is not None:
                typer.echo(f"{name:<8} not sent on")
        else:
            socket = f"{settings.socket} {settings.mode} {settings.endpoint}"
            typer.echo(f"{name:<8} {socket}, on stall {config.on_stall(name)}")
    return 0


def schema() -> int:
    """JSON schema on standard output."""
    typer.echo(json.dumps(ServeConfig.model_json_schema(), indent=1))
    return 0
