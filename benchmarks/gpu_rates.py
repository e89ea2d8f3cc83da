"""Frames a second on a GPU: the hit model and VGG16 as served, beside PyTorch, in turns.

Each figure is from page-locked host memory to scores in host memory, and stands with the share of
the GPU's limits that it reaches. What this file does not know: where the limits come from.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu_limits import (
    PART,
    Demand,
    Limits,
    crop_demand,
    rate_bar,
    told_shares,
    vgg16_demand,
)
from benchmarks.gpu_networks import (
    Scores,
    compiled_scores,
    eager_scores,
    hit_net,
    relieved_vgg16,
    vgg16_alone,
    vgg16_net,
)
from benchmarks.material import regions, shots
from benchmarks.record import Column, Row, Section, Spread, Tell, spread
from hitfinder.errors import HitfinderError
from hitfinder.inference.batcher import BATCH_SIZES
from hitfinder.inference.model_card import shipped_models
from hitfinder.inference.onnx_model import OnnxModel
from hitfinder.simulation.catalog import CENTRAL_PX
from hitfinder.training.networks.vgg16 import SIDE

SIZES = (*BATCH_SIZES, 128)
"""Batches: those that are served, and a larger one, to see what the GPU would give. PyTorch
compiles one network for eight shapes at most, and then goes on without."""

VGG16_SIZES = (1, 8, 32, 64)
WHOLE_SIZES = (1, 4, 8)
"""Whole frames: 12 MB each as float32."""

TURN_S = 0.2
TURNS = 9

CROPS_PER_S, VGG16_PER_S = 20_000.0, 4_000.0
"""What is wanted on an H100 or H200."""

RATES = (Column(name="frames/s"), Column(name="ms a batch"), Column(name="share of limit"))


def hit_rates(torch: Any, limits: Limits, tell: Tell) -> Section:
    """The hit model on central crops, by size of batch."""
    folder = shipped_models() / "hit"
    plain = OnnxModel.load(folder, "cuda")
    graphs = OnnxModel.load(folder, "cuda", captures=True)
    ways: dict[str, Scores] = {"ONNX Runtime": plain.score}
    if not graphs.no_capture:
        ways["ONNX Runtime, CUDA graphs"] = graphs.score
    ways["PyTorch, eager"] = eager_scores(torch, hit_net())
    ways["PyTorch, compiled"] = compiled_scores(torch, hit_net())
    crops = crops_of(max(SIZES), plain.buffer)
    rows, served = in_turns(ways, crops, SIZES, crop_demand(CENTRAL_PX), limits, tell)
    said = f" No CUDA graphs: {graphs.no_capture}." if graphs.no_capture else ""
    return Section(
        part=PART,
        title=f"{torch.cuda.get_device_name()}: hit model, crops of {CENTRAL_PX} x {CENTRAL_PX}",
        says=f"Page-locked host memory to scores in host memory, float32 without TF32.{said}",
        first="runtime, size of batch",
        columns=RATES,
        rows=rows,
        bars=(rate_bar("crops/s, hit model, ONNX Runtime", served, CROPS_PER_S),),
    )


def vgg16_rates(torch: Any, limits: Limits, tell: Tell) -> Section:
    """VGG16 in float16, by size of batch."""
    with tempfile.TemporaryDirectory() as folder:
        vgg16_alone(Path(folder))
        plain = OnnxModel.load(Path(folder), "cuda")
        graphs = OnnxModel.load(Path(folder), "cuda", captures=True)
    ways: dict[str, Scores] = {"ONNX Runtime": plain.score}
    if not graphs.no_capture:
        ways["ONNX Runtime, CUDA graphs"] = graphs.score
    ways["PyTorch, eager"] = eager_scores(torch, vgg16_net(), half=True)
    ways["PyTorch, compiled"] = compiled_scores(torch, vgg16_net(), half=True)
    images = plain.buffer((max(VGG16_SIZES), SIDE, SIDE))
    images[:] = np.random.default_rng(1).standard_normal(images.shape, np.float32)
    demand = vgg16_demand(SIDE * SIDE)
    rows, served = in_turns(ways, images, VGG16_SIZES, demand, limits, tell)
    return Section(
        part=PART,
        title=f"{torch.cuda.get_device_name()}: VGG16 in float16, {SIDE} x {SIDE}",
        says="To its seventh layer, random weights; page-locked host memory to host memory.",
        first="runtime, size of batch",
        columns=RATES,
        rows=rows,
        bars=(rate_bar("frames/s, VGG16 float16, ONNX Runtime", served, VGG16_PER_S),),
    )


def whole_rates(limits: Limits, tell: Tell) -> Section:
    """The whole graph from a raw frame: relief, VGG16, head."""
    with tempfile.TemporaryDirectory() as folder:
        relieved_vgg16(Path(folder))
        model = OnnxModel.load(Path(folder), "cuda")
    found = shots(max(WHOLE_SIZES))
    reader = found.reader("whole")
    frames = model.buffer((len(found.pixels), *reader.shape))
    frames[:] = regions(reader, found.pixels)
    demand = vgg16_demand(frames[0].size)
    rows, _ = in_turns({"ONNX Runtime": model.score}, frames, WHOLE_SIZES, demand, limits, tell)
    return Section(
        part=PART,
        title=f"VGG16 artifact in float16, frames of {frames.shape[1]} x {frames.shape[2]}",
        says="Raw pixels to a score, the relief in float32 included.",
        first="runtime, size of batch",
        columns=RATES,
        rows=rows,
    )


def in_turns(
    ways: dict[str, Scores],
    images: NDArray[np.float32],
    sizes: Sequence[int],
    demand: Demand,
    limits: Limits,
    tell: Tell,
) -> tuple[tuple[Row, ...], list[Spread]]:
    """Rows for every way and size; and the rates, in frames a second, of what is served. A way
    that fails is left out from then on, and its row says why.
    """
    rows: list[Row] = []
    served: list[Spread] = []
    works = dict(ways)
    for size in sizes:
        batch = images[:size]
        for name in list(works):
            tell(f"{name}, {size} at once")
            try:  # everything compiles and warms, and does not count
                batch_seconds(works[name], batch)
            except (HitfinderError, RuntimeError) as error:
                rows.append(Row(name=f"{name}, {size}", problem=str(error).partition("\n")[0]))
                del works[name]
        seconds: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(TURNS):
            for name, score in works.items():
                tell(f"{name}, {size} at once")
                seconds[name].append(batch_seconds(score, batch))
        for name, each in seconds.items():
            rate = spread([size / taken for taken in each])
            rows.append(
                Row(
                    name=f"{name}, {size}",
                    cells=(
                        rate,
                        spread([1e3 * taken for taken in each]),
                        told_shares(rate.median, demand, limits),
                    ),
                )
            )
            if name.startswith("ONNX") and size in BATCH_SIZES:
                served.append(rate)
    return tuple(rows), served


def batch_seconds(score: Scores, batch: NDArray[np.float32]) -> float:
    """Of one batch, on average over TURN_S: scores are in host memory when a call returns."""
    score(batch)
    batches, taken, began = 0, 0.0, time.perf_counter()
    while not batches or taken < TURN_S:
        score(batch)
        batches += 1
        taken = time.perf_counter() - began
    return taken / batches


def crops_of(
    count: int, buffer: Callable[[tuple[int, int, int]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """So many central crops of the demo's run, few of them different, in memory from `buffer`."""
    found = shots(8)
    crops = regions(found.reader("center"), found.pixels)
    out = buffer((count, *crops.shape[1:]))
    out[:] = crops[np.arange(count) % len(crops)]
    return out
