"""What a model costs a frame on one core: artifacts side by side, in turns, in one run.

    python -m benchmarks.models hit spotcount /tmp/li2018 [--side 350] [--rounds 50] [--turn 8]

Every round scores a turn of frames with each model, one by one, so that whatever else the machine
does hits all alike. Eight are a live batch; in turns of one, each model finds the cache full of the
others' weights. Prints medians with quartiles, and ratios to the first.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from hitfinder.frame import array_payload
from hitfinder.images.region import RegionSettings, plan_region
from hitfinder.inference.model_card import find_artifact
from hitfinder.inference.onnx_model import OnnxModel
from hitfinder.simulation.catalog import DEMO, central
from hitfinder.simulation.simulator import Simulator

FRAMES = 16
WARM = 5


def frames(side: int) -> list[np.ndarray]:
    """Frames (1, side, side) float32 of the demo's run, as a model sees them."""
    simulator = Simulator(central(DEMO, side))
    reader = plan_region(RegionSettings(kind="whole"), (side, side), simulator.detector, None)
    found = []
    for number in range(FRAMES):
        image = np.empty((1, side, side), np.float32)
        reader.read(array_payload(simulator.shot(number).pixels), image[0])
        found.append(image)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", help="artifact folders or shipped names")
    parser.add_argument("--side", type=int, default=350)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--turn", type=int, default=8)
    options = parser.parse_args()
    loaded = {
        name: OnnxModel.load(find_artifact(name, Path.cwd()), "cpu") for name in options.models
    }
    images = frames(options.side)
    times_us: dict[str, list[float]] = {name: [] for name in loaded}
    for turn in range(WARM + options.rounds):
        for name, model in loaded.items():
            for number in range(options.turn):
                image = images[(turn * options.turn + number) % FRAMES]
                started = time.perf_counter()
                model.score(image)
                if turn >= WARM:
                    times_us[name].append(1e6 * (time.perf_counter() - started))
    first = np.median(times_us[options.models[0]])
    print(f"| model | ms a frame of {options.side} x {options.side} | quartiles | ratio |")
    print("|---|---|---|---|")
    for name, times in times_us.items():
        low, middle, high = np.percentile(times, [25, 50, 75]) / 1e3
        ratio = middle * 1e3 / first
        print(f"| {Path(name).name} | {middle:.2f} | {low:.2f}–{high:.2f} | {ratio:.1f} |")


if __name__ == "__main__":
    main()
