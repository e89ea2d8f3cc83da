"""A cold start on a GPU: a process of its own that loads the hit model, warms it, and tells.

What this file does not know: how much of a GPU's memory is free; whoever starts it asks.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from hitfinder.errors import HitfinderError
from hitfinder.inference.batcher import BATCH_SIZES
from hitfinder.inference.model_card import shipped_models
from hitfinder.inference.onnx_model import OnnxModel
from hitfinder.simulation.catalog import CENTRAL_PX


class StartError(HitfinderError):
    """The process did not come to its end."""


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


def start_cold(captures: bool, free_bytes: Callable[[], int]) -> Start:
    """A process that loads and warms the hit model; `free_bytes` asks the GPU while it lives."""
    before = free_bytes()
    command = [sys.executable, "-m", "benchmarks.gpu_start", "captures" if captures else ""]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        told = child.stdout.readline()
        held = before - free_bytes()
        child.stdin.close()
    if child.returncode or not told:
        raise StartError("the process that starts a model failed; its message stands above")
    found = json.loads(told)
    return msgspec.convert({**found, "held_bytes": float(held)}, Start)


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
