"""The service on a GPU: from a cold start to ready, what it holds there, and how long a verdict
takes at 120 Hz.

Processes of their own, as `hitfinder demo`: sender, service, receiver. What is read is the
service's own ledger. What this file does not know: limits, and other runtimes.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console

from hitfinder.commands.demo import (
    DemoError,
    configuration,
    demo_series,
    free_ports,
    receivers,
    started,
    wait_ready,
)
from hitfinder.inference.batcher import BATCH_SIZES
from hitfinder.inference.model_card import shipped_models
from hitfinder.inference.onnx_model import OnnxModel
from hitfinder.ledger.report import COLUMNS, read_frames
from hitfinder.simulation.catalog import CENTRAL_PX

RATE_HZ = 120.0
AFTERWARDS_S = 20.0
"""How long what was sent may take to come out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Of one process: seconds for Python's imports, the session, and warming all sizes; the first
    batch after that and the median of the next; memory of the GPU, driver's included, with it.
    """

    import_s: float
    load_s: float
    warm_s: float
    first_ms: float
    usual_ms: float
    held_bytes: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Arrival to verdict, ms, of the frames of a run. `all_ms` (frames,), `misses_ms` those that
    the hit model alone judged.
    """

    ready_s: float
    sent: int
    unjudged: int
    lost: int
    all_ms: np.ndarray
    misses_ms: np.ndarray


def start_cold(captures: bool, free_bytes: Callable[[], int]) -> Start:
    """A process that loads and warms the hit model; `free_bytes` asks the GPU while it lives."""
    before = free_bytes()
    command = [sys.executable, "-m", "benchmarks.gpu_service", "captures" if captures else ""]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        told = child.stdout.readline()
        held = before - free_bytes()
        child.stdin.close()
    if child.returncode or not told:
        raise DemoError("the process that starts a model failed; its message stands above")
    found = json.loads(told)
    return msgspec.convert({**found, "held_bytes": float(held)}, Start)


def latency(seconds: float, console: Console) -> Latency:
    """The demo with both models on the GPU, for so long. Raises DemoError."""
    data = demo_series(console)
    count = round(seconds * RATE_HZ)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hitfinder-gpu-")))
        ports = free_ports()
        config = folder / "hitfinder.toml"
        config.write_text(on_gpu(configuration(ports)))
        began = time.monotonic()
        service = stack.enter_context(
            started("serve", str(config), "--summary-json", str(folder / "totals.json"))
        )
        _, kept = receivers(ports, stack)
        wait_ready(f"http://127.0.0.1:{ports.http}/readyz", service)
        ready_s = time.monotonic() - began
        frames = f"tcp://127.0.0.1:{ports.frames}"
        told = ["--bind", frames, "--rate", str(RATE_HZ), "--count", str(count), "--loop"]
        sender = stack.enter_context(started("replay", str(data), *told))
        end = time.monotonic() + seconds + AFTERWARDS_S
        while sender.poll() is None and time.monotonic() < end:
            kept.drain()
            time.sleep(0.005)
        service.terminate()
        while service.poll() is None and time.monotonic() < end + AFTERWARDS_S:
            kept.drain()
            time.sleep(0.005)
        totals = json.loads((folder / "totals.json").read_text())
        rows = list(read_frames(folder / "ledger.sqlite"))
    outcome = np.array([row[COLUMNS.index("outcome")] for row in rows])
    ms = np.array([row[COLUMNS.index("latency_us")] for row in rows]) / 1e3
    return Latency(
        ready_s=ready_s,
        sent=count,
        unjudged=sum(totals["unjudged"].values()),
        lost=totals["lost"] + count - totals["received"],
        all_ms=ms,
        misses_ms=ms[outcome == "vetoed"],
    )


def on_gpu(configured: str) -> str:
    """The demo's configuration, with its models on the GPU and on nothing else."""
    return configured.replace('device = "cpu"', 'device = "cuda"')


def _start(captures: bool, imported_s: float) -> Start:
    began = time.perf_counter()
    model = OnnxModel.load(shipped_models() / "hit", "cuda", captures=captures)
    loaded = time.perf_counter()
    model.warm((size, CENTRAL_PX, CENTRAL_PX) for size in BATCH_SIZES)
    warmed = time.perf_counter()
    batch = model.buffer((BATCH_SIZES[-1], CENTRAL_PX, CENTRAL_PX))
    times = []
    for _ in range(50):
        at = time.perf_counter()
        model.score(batch)
        times.append(1e3 * (time.perf_counter() - at))
    return Start(
        import_s=imported_s,
        load_s=loaded - began,
        warm_s=warmed - loaded,
        first_ms=times[0],
        usual_ms=float(np.median(times[1:])),
    )


def _since_process_began_s() -> float:
    """Linux: the process's own start, in ticks since boot."""
    ticks = float(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / 100.0


if __name__ == "__main__":
    found = _start("captures" in sys.argv, _since_process_began_s())
    print(msgspec.json.encode(found).decode(), flush=True)
    sys.stdin.read()  # until it has been asked what it holds
