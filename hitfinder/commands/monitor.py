"""`hitfinder monitor`: the live page, until it is told to stop."""

import logging
import os
import signal
from pathlib import Path

import typer

from hitfinder.config import load_config
from hitfinder.serving.log import text_lines

NICENESS = 10
"""Whoever only watches must not take time from whom it watches."""


def run(config_path: Path, port: int | None) -> int:
    """Exit status 0 after SIGTERM or Ctrl-C."""
    os.nice(NICENESS)
    # A second of imports, which belongs behind the line above.
    from hitfinder.assemble.monitor import build_monitor

    config = load_config(config_path)
    to_terminal = logging.StreamHandler()
    to_terminal.setFormatter(text_lines())
    logging.basicConfig(level=config.log.level.upper(), handlers=[to_terminal])
    watch, server = build_monitor(config, config_path.resolve().parent, port)
    server.open()
    watch.start()
    # The server stops at a signal, then raises it once more for whoever was here before.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    typer.echo(f"live page: {server.url}")
    if config.samples is None:
        typer.echo("it shows numbers only: the configuration has no [samples] for frames")
    try:
        server.run()
    finally:
        watch.stop()
    return 0
