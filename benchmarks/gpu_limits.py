"""What a GPU can do at most: its bus, its memory, its tensor cores, measured in the same run as
what is held against them; and the arithmetic of shares.

torch is passed in, so that this file imports without it. What it does not know: models.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.record import Bar, Column, Row, Section, Spread, spread
from hitfinder.training.networks.vgg16 import SIDE, STAGES, WIDE

PART = "gpu"
TURNS = 20
COPIED_BYTES = 2**28
"""Across the bus: long enough that the start of a copy does not count."""

MOVED_BYTES = 2**30
"""Within the GPU: more than any cache holds."""

SQUARE = 8192
"""Side of the matrices: a size that fills the chip."""

FLOAT32_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of one GPU, a second. `bus` is host to GPU from page-locked memory, `memory` counts bytes
    read and written, `halves` are operations in float16 with tensor cores, `floats` in float32
    without.
    """

    bus_bytes: Spread
    memory_bytes: Spread
    halves: Spread
    floats: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one frame asks of the GPU at least: bytes across the bus, and operations in float16."""

    bus_bytes: float
    halves: float = 0.0


def measure_limits(torch: Any, turns: int = TURNS) -> Limits:
    """On the current device, random data: zeros run faster than anything real."""
    host = torch.randint(255, (COPIED_BYTES,), dtype=torch.uint8).pin_memory()
    there = torch.empty(COPIED_BYTES, dtype=torch.uint8, device="cuda")
    one = torch.randn(MOVED_BYTES // FLOAT32_BYTES, device="cuda")
    other = torch.empty_like(one)
    halves = [torch.randn(SQUARE, SQUARE, device="cuda", dtype=torch.float16) for _ in range(2)]
    floats = [each.float() for each in halves]
    torch.backends.cuda.matmul.allow_tf32 = False
    operations = 2.0 * SQUARE**3

    def rate(work: float, act: Callable[[], Any]) -> Spread:
        return spread([work / seconds for seconds in timed(torch, act, turns)])

    return Limits(
        bus_bytes=rate(COPIED_BYTES, lambda: there.copy_(host, non_blocking=True)),
        memory_bytes=rate(2 * MOVED_BYTES, lambda: other.copy_(one)),
        halves=rate(operations, lambda: halves[0] @ halves[1]),
        floats=rate(operations, lambda: floats[0] @ floats[1]),
    )


def timed(torch: Any, act: Callable[[], Any], turns: int) -> list[float]:
    """Seconds that the GPU takes for each of `turns`, after three that do not count."""
    seconds = []
    for turn in range(-3, turns):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        act()
        end.record()
        torch.cuda.synchronize()
        if turn >= 0:
            seconds.append(start.elapsed_time(end) / 1e3)
    return seconds


def crop_demand(side: int) -> Demand:
    """Of `side` x `side` float32 pixels."""
    return Demand(bus_bytes=float(side * side * FLOAT32_BYTES))


def vgg16_demand(frame_pixels: int) -> Demand:
    """VGG16 to its seventh layer on a square of SIDE, of a frame of so many float32 pixels.
    A multiplication and an addition are two operations.
    """
    products, channels, side = 0, 3, SIDE
    for stage in STAGES:
        for wider in stage:
            products += side * side * channels * wider * 9
            channels = wider
        side //= 2
    products += side * side * channels * WIDE + WIDE * WIDE
    return Demand(bus_bytes=float(frame_pixels * FLOAT32_BYTES), halves=2.0 * products)


def shares(rate: float, demand: Demand, limits: Limits) -> dict[str, float]:
    """Of each limit that a frame asks for, the share that `rate` frames a second take."""
    asked = {
        "bus": (demand.bus_bytes, limits.bus_bytes),
        "tensor cores": (demand.halves, limits.halves),
    }
    return {name: rate * each / most.median for name, (each, most) in asked.items() if each}


def told_shares(rate: float, demand: Demand, limits: Limits) -> str:
    """The shares in a cell."""
    found = shares(rate, demand, limits)
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in found.items())


def limits_section(limits: Limits, device: str) -> Section:
    """The limits as a table."""
    rows = {
        "bus, page-locked host memory to GPU, GB/s": (limits.bus_bytes, 1e9),
        "GPU memory, read and written, GB/s": (limits.memory_bytes, 1e9),
        f"float16 product of {SQUARE}² matrices, TFLOP/s": (limits.halves, 1e12),
        f"float32 product of {SQUARE}² matrices, no TF32, TFLOP/s": (limits.floats, 1e12),
    }
    return Section(
        part=PART,
        title=f"{device}: limits",
        says="PyTorch, in the same run as what follows; medians and quartiles.",
        first="limit",
        columns=(Column(name="measured"),),
        rows=tuple(
            Row(name=name, cells=(scaled(each, unit),)) for name, (each, unit) in rows.items()
        ),
    )


def scaled(each: Spread, unit: float) -> Spread:
    """In larger units."""
    return Spread(median=each.median / unit, low=each.low / unit, high=each.high / unit, n=each.n)


def rate_bar(what: str, rates: list[Spread], least: float) -> Bar:
    """The best of several rates against what is wanted."""
    best = max((each.median for each in rates), default=None)
    return Bar(what=what, value=best, least=least)
