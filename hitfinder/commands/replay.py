"""`hitfinder replay`: files onto a socket as a detector would send them."""

import json
import signal
from dataclasses import asdict
from pathlib import Path

import typer

from hitfinder.commands.targets import check_target
from hitfinder.dataset.frames import Series
from hitfinder.dataset.series import open_series
from hitfinder.errors import ConfigError
from hitfinder.replay.replayer import Replayer, ReplaySummary
from hitfinder.replay.replayer import run as send
from hitfinder.replay.settings import ReplaySettings
from hitfinder.settings import checked
from hitfinder.transport.settings import SenderSettings
from hitfinder.transport.sockets import Sender, new_context
from hitfinder.wire import PROTOCOLS
from hitfinder.wire.protocol import Encoder

_ENCODINGS = {"array-1.0": "raw"}

LINGER_MS = 10_000
"""How long the last messages may take to reach a slow receiver."""


def run(
    files: list[Path],
    *,
    protocol: str,
    bind: str | None,
    connect: str | None,
    rate_hz: float | None,
    loop: bool,
    count: int | None,
    encoding: str | None,
    publish: bool,
    first_series: int,
    summary_json: Path | None,
) -> int:
    """Exit status 0 when every message was taken."""
    check_target(summary_json, ".json")
    if protocol not in PROTOCOLS:
        raise ConfigError(f"--protocol {protocol}: known are {', '.join(PROTOCOLS)}")
    if (bind is None) == (connect is None):
        raise ConfigError("replay needs --bind ADDRESS or --connect ADDRESS, one of them")
    socket = {
        "endpoint": bind or connect,
        "mode": "bind" if bind else "connect",
        "socket": "pub" if publish else "push",
    }
    sending = {
        "rate_hz": rate_hz,
        "loop": loop,
        "count": count,
        "encoding": encoding or _ENCODINGS.get(protocol, "bslz4"),
    }
    settings = checked(ReplaySettings, sending, "replay")
    sender_settings = checked(SenderSettings, socket, "replay")
    series = open_series(files)
    stop: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: stop.append(number))
    sender = Sender(sender_settings, new_context())
    sender.open()
    summaries: list[ReplaySummary] = []
    try:
        for offset, one in enumerate(series):
            encoder, series_id = _encoder(protocol, one), str(first_series + offset)
            replayer = Replayer(one, encoder, sender, settings, series_id=series_id)
            summaries.append(send(replayer, stop=lambda: bool(stop)))
            typer.echo(_line(summaries[-1]))
            if stop:
                break
    finally:
        sender.close(0 if stop else LINGER_MS)
    if summary_json is not None:
        summary_json.write_text(json.dumps([asdict(one) for one in summaries], indent=1))
    return 0 if all(one.complete for one in summaries) else 1


def _encoder(protocol: str, series: Series) -> Encoder:
    encoder = PROTOCOLS[protocol].encoder
    # Only stream v2 announces the pixels' type before the first frame.
    return encoder(image_dtype=series.dtype.name) if protocol == "dectris-v2" else encoder()


def _line(summary: ReplaySummary) -> str:
    rate = "" if summary.rate_hz is None else f" at {summary.rate_hz:.1f} frames/s"
    tail = "" if summary.complete else "; stopped before the end was taken"
    return (
        f"{summary.series}: sent {summary.sent} frames, {summary.sent_bytes / 1e6:.1f} MB, "
        f"in {summary.seconds:.2f} s{rate}, {summary.late} late{tail}"
    )
