"""Particles from elsewhere: straight tracks, wound ones, and blobs, as silicon records them."""

import numpy as np

from hitfinder.simulation.maps import Image

_LONGEST_PX = 120.0


def add_cosmics(photons: Image, per_mpx: float, rng: np.random.Generator) -> float:
    """Add a shot's particles to `photons` (rows, cols), in place, and say what the strongest of
    them leaves in a pixel; 0 without any.
    """
    rows, cols = photons.shape
    strongest = 0.0
    for _ in range(int(rng.poisson(per_mpx * photons.size / 1e6))):
        y, x = rng.uniform(0, rows), rng.uniform(0, cols)
        # Photons' worth of charge a pixel: a particle leaves far more than one photon does.
        deposit = rng.lognormal(np.log(40.0), 1.2)
        kind = rng.random()
        if kind < 0.25:
            _add_blob(photons, y, x, deposit, rng)
            strongest = max(strongest, deposit / 2)  # at its rim, where all blobs reach
            continue
        length = min(2.0 + rng.exponential(18.0), _LONGEST_PX)
        steps = np.arange(0.0, length, 0.7)
        turn = rng.normal(0.0, 0.25 if kind > 0.7 else 0.004, len(steps))
        heading = rng.uniform(0, 2 * np.pi) + np.cumsum(turn)
        track_y = (y + np.cumsum(0.7 * np.sin(heading))).astype(np.intp)
        track_x = (x + np.cumsum(0.7 * np.cos(heading))).astype(np.intp)
        on = (track_y >= 0) & (track_y < rows) & (track_x >= 0) & (track_x < cols)
        left = rng.gamma(2.0, deposit / 2.0, int(on.sum()))
        strongest = max(strongest, float(left.max(initial=0.0)))
        np.add.at(photons, (track_y[on], track_x[on]), np.rint(left).astype(np.float32))
    return strongest


def _add_blob(photons: Image, y: float, x: float, deposit: float, rng: np.random.Generator) -> None:
    """A round cloud of charge with a sharp rim."""
    radius = rng.uniform(1.0, 4.0)
    top, left = max(int(y - radius) - 1, 0), max(int(x - radius) - 1, 0)
    part = photons[top : int(y + radius) + 3, left : int(x + radius) + 3]
    dy = np.arange(part.shape[0], dtype=np.float32)[:, None] + np.float32(top + 0.5 - y)
    dx = np.arange(part.shape[1], dtype=np.float32)[None, :] + np.float32(left + 0.5 - x)
    part += np.rint(deposit / (1 + np.exp(4 * (np.hypot(dy, dx) - radius)))).astype(np.float32)
