"""What the cascade's second step costs a frame on one core, stage by stage, in turns.

    python -m benchmarks.whole_frame diffuse [/path/to/another ...] [--side 1750] [--rounds 40]

A demo hit, 16 bits, bslz4: decoding all of it, reading its region (decoding included; mask, rings
of ice, saturation), and scoring it with each model; for models that take bins, as the live service
gives them, those are read and scored as well. Prints the fastest and the median of the
rounds, and ratios of the fastest to decoding, which tells how fast the machine is at the time.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from hitfinder.images.binning import binned
from hitfinder.images.region import RegionSettings, plan_region
from hitfinder.inference.model_card import find_artifact
from hitfinder.inference.onnx_model import OnnxModel
from hitfinder.simulation.catalog import DEMO, central
from hitfinder.simulation.simulator import Simulator
from hitfinder.wire.compression import CODECS, encoded_payload

WARM = 3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", help="artifact folders or shipped names")
    parser.add_argument("--side", type=int, default=1750)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    simulator = Simulator(central(DEMO, options.side))
    pixels = next(shot.pixels for shot in map(simulator.shot, range(100)) if len(shot.spots))
    payload = encoded_payload(
        CODECS["bslz4"].encode(pixels), dtype=pixels.dtype, shape=pixels.shape, encoding="bslz4"
    )
    reader = plan_region(
        RegionSettings(kind="whole"), payload.shape, simulator.detector, gather=None
    )
    batch = np.empty((1, *reader.shape), np.float32)
    stages: dict[str, Callable[[], object]] = {
        "decode": payload.whole,
        "read": lambda: reader.read(payload, batch[0]),
    }
    for name in options.models:
        folder = find_artifact(name, Path.cwd())
        model = OnnxModel.load(folder, "cpu")
        stages[f"score, {name}"] = partial(model.score, batch)
        size = model.card.binning
        if size > 1:
            in_bins = binned(reader, size)
            bins = np.empty((1, *in_bins.shape), np.float32)
            stages[f"read in bins of {size}"] = partial(in_bins.read, payload, bins[0])
            model = OnnxModel.load(folder, "cpu", binned=True)
            stages[f"score bins, {name}"] = partial(model.score, bins)
    times_ms: dict[str, list[float]] = {name: [] for name in stages}
    for turn in range(WARM + options.rounds):
        for name, stage in stages.items():
            started = time.perf_counter()
            stage()
            if turn >= WARM:
                times_ms[name].append(1e3 * (time.perf_counter() - started))
    first = min(times_ms["decode"])
    print("| stage | fastest, ms | median, ms | ratio |")
    print("|---|---|---|---|")
    for name, each in times_ms.items():
        print(f"| {name} | {min(each):.2f} | {np.median(each):.2f} | {min(each) / first:.2f} |")


if __name__ == "__main__":
    main()
