"""Runs other projects' peak finders in a Python of their own, one frame at a time, and says how
long each took; started by `benchmarks.peers`, imports nothing of this project.

    python peer_worker.py om | psana | dials

Says its version as a JSON line, then answers a JSON line with a JSON line:

    {"frames": "frames.npy", "radius": "radius.npy"}      -> ["finder", ...]
    {"finder": "finder", "frame": 3}                      -> {"ms": 12.3, "peaks": 40}

frames (n, rows, cols) float32, NaN = no measurement: given to the finders as masked and 0. radius
(rows, cols) float32 in pixels. Timed, in processor time, is a finder that has just searched the
frames after this one for SETTLE_S, one at least: as in a process that does nothing else. What a
finder wants its frames to be (its mask's type, DIALS's doubles) is made beforehand and not timed;
the list of peaks it makes of a frame is.
"""

import importlib.metadata
import json
import sys
import sysconfig
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SETTLE_S = 0.03
"""As `benchmarks.finders` gives to its own."""

ADC_THRESHOLD = 5.0
"""Photons. Without one OM looks at many more pixels: this is to its advantage."""
MIN_SNR = 5.0
MIN_PIXELS = 2
MAX_PIXELS = 200

Find = Callable[[int], int]
"""The number of peaks in a frame, by its number."""


def om(frames: Any, measured: Any, radius: Any) -> dict[str, Find]:
    """peakfinder8 as OM calls it."""
    from om_worker import finder  # type: ignore[import-not-found]

    def find(number: int, detection: Any) -> int:
        return int(detection.find_peaks(data=frames[number])["num_peaks"])

    detections = {}
    for name, fast in (("exact", False), ("fast", True)):
        detections[name] = finder(radius, (ADC_THRESHOLD, MIN_SNR, MIN_PIXELS), fast)
        detections[name].set_bad_pixel_map(measured.astype(np.int8))
    return {
        "exact": lambda number: find(number, detections["exact"]),
        "fast": lambda number: find(number, detections["fast"]),
    }


def psana(frames: Any, measured: Any, radius: Any) -> dict[str, Find]:
    """peakFinderV3r3, with the radii of psana's own example."""
    from psana import psalg_ext  # type: ignore[import-not-found]

    finder = psalg_ext.peak_finder_algos(seg=0, pbits=0)
    finder.set_peak_selection_parameters(
        npix_min=MIN_PIXELS, npix_max=MAX_PIXELS, amax_thr=0, atot_thr=0, son_min=MIN_SNR
    )
    mask = measured.astype(np.uint16)
    search = finder.peak_finder_v3r3_d2
    return {
        "v3r3": lambda number: len(
            search(frames[number], mask, rank=5, r0=7.0, dr=2.0, nsigm=MIN_SNR)
        )
    }


def dials(frames: Any, measured: Any, radius: Any) -> dict[str, Find]:
    """The thresholds of `dials.find_spots` at its settings, and the spots' centres."""
    from dials.algorithms.spot_finding.threshold import (  # type: ignore[import-not-found]
        DispersionExtendedThresholdStrategy,
        DispersionThresholdStrategy,
    )
    from dials.array_family import flex  # type: ignore[import-not-found]
    from dials.model.data import (  # type: ignore[import-not-found]
        PixelList,
        PixelListLabeller,
    )

    images = [flex.double(frame.astype(np.float64)) for frame in frames]
    mask = flex.bool(measured)

    def find(number: int, threshold: Any) -> int:
        image = images[number]
        labeller = PixelListLabeller()
        labeller.add(PixelList(0, image, threshold(image, mask)))
        if not labeller.num_pixels():
            return 0
        creator = flex.PixelListShoeboxCreator(labeller, 0, 0, True, 3, 1000, False)
        boxes = creator.result()
        spots = boxes.select(boxes.is_allocated())
        spots.summed_intensity()
        return len(spots.centroid_valid())

    simple, extended = DispersionThresholdStrategy(), DispersionExtendedThresholdStrategy()
    return {
        "dispersion": lambda number: find(number, simple),
        "dispersion_extended": lambda number: find(number, extended),
    }


PEERS = {"om": om, "psana": psana, "dials": dials}
DISTRIBUTIONS = {"om": "ondamonitor", "psana": "psana", "dials": "dials"}


def version(peer: str) -> str:
    """What is installed."""
    if peer == "dials":  # Debian's metadata names a development version
        from dials.util.version import dials_version  # type: ignore[import-not-found]

        return str(dials_version()).replace("DIALS ", "")
    return importlib.metadata.version(DISTRIBUTIONS[peer])


def without_its_framework(name: str) -> None:
    """Let a package's modules be imported without its `__init__`: psana's wants MPI, Kafka and
    Kerberos, of which its peak finder needs nothing.
    """
    package = types.ModuleType(name)
    package.__path__ = [str(Path(sysconfig.get_path("purelib")) / name)]
    sys.modules[name] = package


def load(peer: str, frames_file: str, radius_file: str) -> tuple[dict[str, Find], int]:
    """The peer's finders for these frames, and the number of frames."""
    frames, radius = np.load(frames_file), np.load(radius_file)
    measured = np.isfinite(frames).all(axis=0)
    # One mask for all frames, as a detector has one.
    return PEERS[peer](np.where(measured, frames, np.float32(0)), measured, radius), len(frames)


def settle(find: Find, number: int, count: int) -> None:
    """Search the frames after this one of `count`, until caches and clock are as in a loop."""
    end = time.perf_counter() + SETTLE_S
    searched = 0
    while not searched or time.perf_counter() < end:
        searched += 1
        find((number + searched) % count)


def main() -> None:
    """Answer until stdin ends."""
    peer = sys.argv[1]
    if peer == "psana":
        without_its_framework(peer)
    print(json.dumps(version(peer)), flush=True)
    finders: dict[str, Find] = {}
    count = 0
    for line in sys.stdin:
        request = json.loads(line)
        if "frames" in request:
            finders, count = load(peer, request["frames"], request["radius"])
            print(json.dumps(list(finders)), flush=True)
            continue
        find, number = finders[request["finder"]], request["frame"]
        settle(find, number, count)
        started = time.process_time()
        peaks = find(number)
        ms = 1e3 * (time.process_time() - started)
        print(json.dumps({"ms": ms, "peaks": peaks}), flush=True)


if __name__ == "__main__":
    main()
