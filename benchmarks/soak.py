"""Ten minutes of the demo's set-up at 120 Hz, cascade on: what is lost, late, and how memory grows.

    python -m benchmarks.soak --seconds 600
    python -m benchmarks.soak --seconds 30 --out DIR      a trial, that no page shows

1750 x 1750 uint16 as bslz4 over TCP, a fifth of it hits; service, sender and receivers share this
machine. Latency runs from arrival to the published verdict, which waits for its turn. Written are
the machine's record, a plot and the page (see `benchmarks.run`). Exits non-zero when a bar is
missed.
"""

import argparse
import itertools
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from benchmarks import machine
from benchmarks.record import Bar, Column, Plot, Row, Section, save_record, stamped
from benchmarks.rig import STOP_S, RigError, sending
from benchmarks.run import PARTS, add_place, publish, record_of, tell_bars
from benchmarks.sender import Order
from hitfinder.commands.demo import (
    KeptReceiver,
    configuration,
    demo_series,
    free_ports,
    receivers,
    started,
    wait_ready,
)
from hitfinder.errors import HitfinderError
from hitfinder.transport.sockets import Receiver
from hitfinder.verdict import Outcome
from hitfinder.wire.verdicts import Totals, VerdictMessage, decode

PART = "soak"
RATE_HZ = 120.0
LATE_MS = 15.0
GROWTH_MB = 30.0
SETTLED_S = 60.0
"""Buffers fill and threads make their arenas in the first minute; growth counts after it."""
BINS = 20
CATCH_UP_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What came by, in order: seconds since the first, latency, whether it was a hit; and the
    service's memory once a second.
    """

    at_s: list[float] = field(default_factory=list)
    latency_ms: list[float] = field(default_factory=list)
    is_hit: list[bool] = field(default_factory=list)
    memory_at_s: list[float] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Soaked:
    """A whole run."""

    sent: int
    seen: Seen
    totals: Totals
    kept_received: int
    status: int


def soak(seconds: float, rate_hz: float, data: Path) -> Soaked:
    """Raises HitfinderError, and TimeoutExpired where the service does not end."""
    seen = Seen()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hitfinder-soak-")))
        ports = free_ports()
        config = folder / "hitfinder.toml"
        config.write_text(configuration(ports))
        totals = folder / "totals.json"
        service = stack.enter_context(started("serve", str(config), "--summary-json", str(totals)))
        verdicts, kept = receivers(ports, stack)
        wait_ready(f"http://127.0.0.1:{ports.http}/readyz", service)
        ask = stack.enter_context(sending(data, ports.frames))
        sent: list[int] = []
        order = Order(rate_hz=rate_hz, seconds=seconds, series=1)
        sender = threading.Thread(target=lambda: sent.append(ask(order).sent))
        with Progress() as progress:
            task = progress.add_task(f"{rate_hz:g} frames/s", total=seconds)
            sender.start()
            begun = time.monotonic()
            end = None
            while end is None or time.monotonic() < end:
                _listen(verdicts, kept, service, seen, begun)
                progress.update(task, completed=time.monotonic() - begun)
                if not sender.is_alive() and end is None:
                    end = time.monotonic() + CATCH_UP_S
        if not sent:
            raise RigError("the sender failed; its message stands above")
        service.send_signal(signal.SIGTERM)
        patience = time.monotonic() + STOP_S
        while service.poll() is None and time.monotonic() < patience:
            kept.drain()
            verdicts.receive(20)
        kept.drain()
        return Soaked(
            sent=sent[0],
            seen=seen,
            totals=msgspec.json.decode(totals.read_bytes(), type=Totals),
            kept_received=kept.frames,
            status=service.wait(0),
        )


def _listen(
    verdicts: Receiver,
    kept: KeptReceiver,
    service: "subprocess.Popen[bytes]",
    seen: Seen,
    begun: float,
) -> None:
    """Take what is there, or wait a little for it."""
    if (parts := verdicts.receive(20)) is not None:
        message = decode(parts[0])
        if isinstance(message, VerdictMessage):
            seen.at_s.append(time.monotonic() - begun)
            seen.latency_ms.append(message.latency_ms)
            seen.is_hit.append(message.outcome is Outcome.KEPT)
    kept.drain()
    now_s = time.monotonic() - begun
    if not seen.memory_at_s or now_s >= seen.memory_at_s[-1] + 1:
        seen.memory_at_s.append(now_s)
        seen.memory_mb.append(machine.memory_bytes(service.pid) / 1e6)


def section(run: Soaked, seconds: float, rate_hz: float) -> Section:
    """A row for each twentieth of the time, and the bars."""
    seen, totals = run.seen, run.totals
    at_s, latency_ms = np.array(seen.at_s), np.array(seen.latency_ms)
    is_hit = np.array(seen.is_hit, np.bool_)
    memory_at_s, memory_mb = np.array(seen.memory_at_s), np.array(seen.memory_mb)
    rows = []
    for low, high in _bins(seconds):
        here = (at_s >= low) & (at_s < high)
        memory = memory_mb[(memory_at_s >= low) & (memory_at_s < high)]
        rows.append(
            Row(
                name=f"{low:g}–{high:g}",
                cells=(
                    (low + high) / 2,
                    *_tail(latency_ms[here]),
                    *_tail(latency_ms[here & is_hit]),
                    float(memory.max()) if memory.size else None,
                ),
            )
        )
    rows.append(Row(name="all", cells=(None, *_tail(latency_ms), *_tail(latency_ms[is_hit]), None)))
    lost = totals.lost + totals.dropped + run.sent - totals.received
    unjudged = Counter({reason: count for reason, count in totals.unjudged.items() if count})
    told = ", ".join(f"{reason} {count}" for reason, count in unjudged.items()) or "none"
    second = sum(totals.diffuse_unjudged.values())
    return Section(
        part=PART,
        title=f"{seconds:g} s at {rate_hz:g} frames/s, both models",
        says=(
            f"`python -m benchmarks.soak --seconds {seconds:g}`: 1750 × 1750 uint16, bslz4, the "
            f"demo's set-up; arrival to published verdict. {totals.received} received of "
            f"{run.sent} sent, {totals.kept} kept, {totals.vetoed} vetoed, unjudged: {told}; "
            f"{run.kept_received} kept frames arrived; {second} hits without a second score."
        ),
        first="seconds",
        columns=(
            Column(name="time", unit="s"),
            Column(name="p50", unit="ms"),
            Column(name="p99", unit="ms"),
            Column(name="hits p50", unit="ms"),
            Column(name="hits p99", unit="ms"),
            Column(name="memory", unit="MB"),
        ),
        rows=tuple(rows),
        bars=(
            Bar(what="frames lost or dropped", value=lost, most=0),
            Bar(what="frames unjudged", value=sum(unjudged.values()), most=0),
            Bar(
                what="kept frames that did not arrive",
                value=abs(totals.forwarded - run.kept_received),
                most=0,
            ),
            Bar(what="arrival to verdict, p99, ms", value=_tail(latency_ms)[1], most=LATE_MS),
            Bar(
                what="memory grown after the first minute, MB",
                value=_growth_mb(memory_at_s, memory_mb, seconds),
                most=GROWTH_MB,
            ),
            Bar(what="exit status of the service", value=run.status, most=0),
        ),
        plot=Plot(
            name="soak",
            kind="lines",
            x="time",
            y=("p50", "p99", "hits p50", "hits p99"),
            right="memory",
            log="y",
            level=LATE_MS,
            level_says=f"{LATE_MS:g} ms",
        ),
    )


def _bins(seconds: float) -> list[tuple[float, float]]:
    edges = np.linspace(0, seconds, BINS + 1).tolist()
    return list(itertools.pairwise(edges))


def _tail(latency_ms: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """p50 and p99; None where nothing came by."""
    if not latency_ms.size:
        return None, None
    p50, p99 = np.percentile(latency_ms, [50, 99]).tolist()
    return p50, p99


def _growth_mb(
    at_s: NDArray[np.float64], memory_mb: NDArray[np.float64], seconds: float
) -> float | None:
    """The most after the first minute (a quarter of a shorter run) less what it was then; None
    where the system does not tell.
    """
    later = memory_mb[at_s >= min(SETTLED_S, seconds / 4)]
    return float(later.max() - later[0]) if later.size and later.min() > 0 else None


def main() -> int:
    """Exit status 0 when every bar is met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--rate", type=float, default=RATE_HZ)
    add_place(parser)
    options = parser.parse_args()
    console = Console()
    load, begun = machine.load(), time.monotonic()
    try:
        run = soak(options.seconds, options.rate, demo_series(console))
    except (HitfinderError, OSError, subprocess.TimeoutExpired) as error:
        console.print(f"soak: {error}", style="red", markup=False)
        return 1
    (made,) = stamped(
        [section(run, options.seconds, options.rate)],
        machine.taken(load=load, seconds=time.monotonic() - begun),
    )
    path = options.out / f"{options.machine}.json"
    record = record_of(path).with_part([made], (*PARTS, PART))
    save_record(record, path)
    publish(options.out)
    tell_bars(console, record, PART)
    console.print(f"written: {path}")
    return 0 if all(bar.met for bar in made.bars) else 1


if __name__ == "__main__":
    sys.exit(main())
