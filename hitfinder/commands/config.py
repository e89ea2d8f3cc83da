"""`hitfinder config`: check a file before beamtime, and its schema for editors."""

import json
import time
from pathlib import Path
from typing import Any

import typer

from hitfinder.assemble import build_judging, known_region, warm
from hitfinder.commands.targets import check_home
from hitfinder.config import ServeConfig, load_config
from hitfinder.ledger.report import check_ledger


def check(path: Path) -> int:
    """Read the file, load and run what it names, and look whether it can write where it is to."""
    config, folder = load_config(path), path.resolve().parent
    judging = build_judging(config, folder, time.monotonic_ns)
    region = known_region(config.region, config.detector, judging.plan)
    warm(judging, config)
    _check_places(config, folder)
    model, card = judging.model, judging.model.card
    typer.echo(f"{path}: good")
    typer.echo(f"input    {config.input.protocol} {config.input.mode} {config.input.endpoint}")
    if region is not None:
        size = " x ".join(map(str, region.shape))
        typer.echo(f"region   {size} pixels, {region.measured:.1%} of them measured")
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


def _check_places(config: ServeConfig, folder: Path) -> None:
    """Raises ConfigError and LedgerError."""
    ledger = folder / config.ledger.path
    check_ledger(ledger)
    check_home(ledger.parent)
    for name, settings in config.streams.items():
        if settings is None or settings.spill_folder is None:
            continue
        if config.on_stall(name) == "spill":
            check_home(folder / settings.spill_folder)


def schema() -> int:
    """JSON schema on standard output."""
    typer.echo(json.dumps(_as_toml(ServeConfig.model_json_schema()), indent=1))
    return 0


def _as_toml(schema: Any) -> Any:
    """The same for a file that has no null: "off" stands there."""
    if isinstance(schema, list):
        return [_as_toml(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema == {"type": "null"}:
        return {"const": "off"}
    return {key: _as_toml(value) for key, value in schema.items() if value is not None}
