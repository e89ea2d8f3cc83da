"""The two tables' frames: the same for every method that stands in them.

The first is one experiment, 500 frames to learn from and 500 to be judged on, as in Su's report;
the second judges the same methods on other crystals, conditions and another detector.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hitfinder.frame import Detector, array_payload
from hitfinder.images.region import plan_region
from hitfinder.simulation.diffuse_runs import OTHERS, REPAIR
from hitfinder.simulation.run import Run
from hitfinder.simulation.series import diffuse_hits
from hitfinder.simulation.simulator import SimulatedFrame, Simulator
from hitfinder.training.samples import LEARNED_FROM, WHOLE

FRAMES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """`count` hits of a run, sought from shot `first` on."""

    run: Run
    count: int
    first: int = 0


TRAIN = (Portion(run=REPAIR, count=FRAMES, first=LEARNED_FROM),)
TEST = (Portion(run=REPAIR, count=FRAMES),)
OTHER_TEST = tuple(
    Portion(run=run, count=count) for run, count in zip(OTHERS, (167, 167, 166), strict=True)
)


def frames_of(
    portions: tuple[Portion, ...],
) -> Iterator[tuple[NDArray[np.float32], Detector, SimulatedFrame]]:
    """Each frame as a model sees it, (H, W) float32 with NaN where nothing was measured, its
    detector, and what is known of it. The array is used again for the next frame of a portion.
    """
    for portion in portions:
        simulator = Simulator(portion.run)
        reader = plan_region(WHOLE, simulator.maps.shape, simulator.detector, None)
        image = np.empty(reader.shape, np.float32)
        for frame in diffuse_hits(simulator, portion.count, portion.first):
            reader.read(array_payload(frame.pixels), image)
            yield image, simulator.detector, frame
