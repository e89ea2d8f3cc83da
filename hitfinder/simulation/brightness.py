"""How bright a run's crystals must be for its hits to show a wanted number of spots."""

from dataclasses import replace

import numpy as np

from hitfinder.simulation.draws import Purpose, stream
from hitfinder.simulation.run import Artefacts, Run
from hitfinder.simulation.scattering import Shot
from hitfinder.simulation.simulator import STRONG_SNR, Simulator
from hitfinder.simulation.spots import photons_for

_PROBES = 8

_TOO_BRIGHT_PHOTONS = 1e5
"""A run whose median hit would need an average reflection of this much is no sensible run."""

_FEWEST_SPOTS = 18
"""Reflections that a crystal must have in the window, be they ever so faint."""


def brightness_for(run: Run, wanted: int) -> float | None:
    """The brightness at which the median crystal of a run shows `wanted` strong spots in the
    window at the beam's usual strength; at most half of the spots that it has there. None where
    crystals cannot give hits.
    """
    simulator = Simulator(replace(run, artefacts=Artefacts(), diffuse=None, unevenness=None))
    means = simulator.background.means(Shot())
    rng = stream(run.seed, Purpose.PROBE)
    needed, counts = [], []
    for _ in range(_PROBES):
        spots, background = simulator.countable(simulator.crystals.draw(rng), means)
        variance = spots.area_px * (background + simulator.response.pixel_variance)
        photons = photons_for(np.full(len(spots), STRONG_SNR), variance)
        needed.append(np.sort(photons / (spots.photons + 1e-30)))
        counts.append(len(spots))
    if np.median(counts) < _FEWEST_SPOTS:
        return None
    wanted = min(wanted, int(np.median(counts)) // 2)
    at = [each[wanted - 1] if len(each) >= wanted else np.inf for each in needed]
    brightness = float(np.median(at))
    return brightness if brightness < _TOO_BRIGHT_PHOTONS else None
