"""Made-up hits for diffuse models: a round background about any centre, spots, and for diffuse ones
a texture some pixels wide. Only as much physics as the tests need.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from hitfinder.dataset.frames import Label
from hitfinder.dataset.hdf5_writer import series_writer
from hitfinder.frame import Detector, array_payload

SIDE = 256
DIFFUSE = Label(truth="hit", diffuse=True)
OTHER = Label(truth="hit", diffuse=False)


def rough(
    seed: int,
    *,
    strength: float = 0.0,
    shape: tuple[int, int] = (SIDE, SIDE),
    centre: tuple[float, float] = (0.5, 0.5),
    spots: int = 20,
) -> NDArray[np.float32]:
    """Photons (rows, cols). `strength` is the texture's root mean square as a share of the
    background, `centre` the beam's (row, col) as a share of the sides.
    """
    rng = np.random.default_rng(seed)
    rows, cols = shape
    y, x = np.mgrid[:rows, :cols]
    radius = np.hypot(y - centre[0] * rows, x - centre[1] * cols) / max(shape)
    expected = 30 * np.exp(-radius / 0.3) + 20 * np.exp(-(((radius - 0.25) / 0.05) ** 2))
    texture = gaussian_filter(rng.standard_normal(shape), 0.02 * max(shape))
    expected *= np.maximum(1 + strength * texture / texture.std(), 0.1)
    photons: NDArray[np.float32] = rng.poisson(expected).astype(np.float32)
    for row, col in rng.integers(2, (rows - 2, cols - 2), (spots, 2)):
        photons[row - 1 : row + 2, col - 1 : col + 2] += 500
    return photons


def write_rough(path: Path, frames: int, seed: int) -> Path:
    """A file of frames, every other one diffuse, with labels that say so."""
    detector = Detector(
        shape=(SIDE, SIDE),
        beam_x_px=SIDE / 2,
        beam_y_px=SIDE / 2,
        pixel_x_mm=0.5,
        pixel_y_mm=0.5,
        distance_mm=100.0,
        wavelength_angstrom=1.0,
    )
    with series_writer(
        path, shape=(SIDE, SIDE), dtype=np.dtype(np.uint16), detector=detector
    ) as writer:
        for number in range(frames):
            diffuse = number % 2 == 0
            photons = rough(100 * seed + number, strength=0.3 if diffuse else 0.0)
            payload = array_payload(photons.astype(np.uint16))
            writer.add(payload, label=DIFFUSE if diffuse else OTHER)
    return path
