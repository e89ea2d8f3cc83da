"""`hitfinder serve`: run the service until it is told to stop."""

import contextlib
import os
import signal
import sys
from pathlib import Path

import msgspec
import typer

from hitfinder.assemble import build_service
from hitfinder.commands.targets import check_target
from hitfinder.config import load_config
from hitfinder.serving.log import set_up
from hitfinder.transport.memory import keep_freed_memory
from hitfinder.wire.verdicts import Totals

STDERR = 2


def run(config_path: Path, summary_json: Path | None, workers: int | None = None) -> int:
    """Exit status: 0 after a stop that was asked for, with totals that balance and are recorded."""
    config = load_config(config_path)
    if workers is not None:
        batch = config.batch.model_copy(update={"workers": workers})
        config = config.model_copy(update={"batch": batch})
    check_target(summary_json, ".json")
    keep_freed_memory()
    # Closed before anything else is said, so that what was logged stands above it.
    with contextlib.closing(set_up(config.log.level, config.log.format, STDERR)):
        service = build_service(config, config_path.resolve().parent)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: service.request_stop())
        is_running = service.start()
        asked_for = service.wait()
        totals = service.stop() if is_running else service.totals()
    typer.echo(summary(totals) if is_running else "stopped before it was ready; no frame was taken")
    if summary_json is not None:
        summary_json.write_bytes(msgspec.json.format(msgspec.json.encode(totals)))
    status = 0 if asked_for and service.is_recorded and balances(totals) else 1
    if service.hangs:
        # A thread that comes back from C while the interpreter ends would abort the process.
        sys.stdout.flush()
        os._exit(status)
    return status


def balances(totals: Totals) -> bool:
    """Every frame received has exactly one outcome."""
    outcomes = totals.kept + totals.vetoed + sum(totals.unjudged.values())
    return totals.received == outcomes + totals.in_flight


def summary(totals: Totals) -> str:
    """The final totals for a person."""
    unjudged = ", ".join(f"{reason} {count}" for reason, count in totals.unjudged.items() if count)
    rows = {
        "received": totals.received,
        "kept": totals.kept,
        "vetoed": totals.vetoed,
        "unjudged": unjudged or 0,
        "forwarded": totals.forwarded,
        "dropped": totals.dropped,
        "spilled": totals.spilled,
        "lost upstream": totals.lost,
        "duplicates": totals.duplicates,
        "bad messages": totals.bad_messages,
    }
    if second_step := _second_step(totals):
        rows["diffuse"] = second_step
    return "\n".join(f"{name:<14}{value}" for name, value in rows.items())


def _second_step(totals: Totals) -> str:
    """What the second step came to; nothing where it was asked nothing."""
    unjudged = {reason: count for reason, count in totals.diffuse_unjudged.items() if count}
    if not (totals.diffuse or totals.not_diffuse or unjudged):
        return ""
    told = ", ".join(f"{reason} {count}" for reason, count in unjudged.items())
    return f"{totals.diffuse} yes, {totals.not_diffuse} no, unjudged {told or 0}"
