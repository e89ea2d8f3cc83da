"""A simulated series: hits and misses with known truth, and the demo's file.

A hit has more than 10 spots of S/N >= 5 in the centred 350 x 350 pixels; a miss has no crystal.
Nothing between is drawn here. Artefacts that are not spots (hot pixels, cosmic tracks) come in
hits and misses alike.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hitfinder.dataset.frames import Truth
from hitfinder.dataset.hdf5_writer import series_writer
from hitfinder.frame import array_payload
from hitfinder.simulation.background import Background, draw_shot
from hitfinder.simulation.crystal import Lattice, Sample, Spots, draw_crystal, make_lattice
from hitfinder.simulation.experiment import FLAGGED, Experiment
from hitfinder.wire.compression import recoded

SPOT_SNR = 5.0
SPOTS_OF_A_HIT = 11
_STAMP = np.arange(-4, 5)  # pixels about a spot's centre that its light reaches
_BOX_PX = 25  # the 5 x 5 pixels over which S/N is taken
_COSMIC_SHARE = 0.04
_MOST_TRIES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedFrame:
    """pixels (rows, cols) uint16. spots (k, 4) float32: x_px, y_px, S/N, expected photons of
    those with S/N >= 5 that no gap and no beamstop hides; `central` of them lie in the centre.
    """

    pixels: NDArray[np.uint16]
    truth: Truth
    spots: NDArray[np.float32]
    central: int


def simulate_series(
    n: int,
    seed: int,
    *,
    hit_share: float = 0.2,
    experiment: Experiment | None = None,
    sample: Sample | None = None,
) -> Iterator[SimulatedFrame]:
    """Yield n frames, round(n * hit_share) of them hits, in random order. Equal arguments
    give equal frames.

    Raises ValueError when the sample is too weak ever to give a hit in this experiment.
    """
    experiment = experiment or Experiment()
    rng = np.random.Generator(np.random.SFC64(seed))
    background = Background(experiment)
    hits = rng.permutation(n) < round(n * hit_share)
    lattice = make_lattice(sample or Sample(), rng) if hits.any() else None
    for is_hit in hits:
        means = background.means(draw_shot(rng))
        pixels = background.draw(means, rng)
        spots, central = np.empty((0, 4), np.float32), 0
        if is_hit and lattice is not None:
            drawn, spots, central = _draw_hit(lattice, background, means, experiment, rng)
            _add_spots(pixels, drawn, rng)
        _add_artefacts(pixels, experiment, rng)
        pixels[experiment.mask] = FLAGGED
        truth: Truth = "hit" if is_hit else "miss"
        yield SimulatedFrame(pixels=pixels, truth=truth, spots=spots, central=central)


def write_demo_series(path: Path, frames: int = 60, seed: int = 20) -> None:
    """Write a series of `frames` to one HDF5 file, labels and spots included.

    Raises DataFileError when it cannot be written.
    """
    experiment = Experiment()
    with series_writer(
        path, shape=experiment.shape, dtype=np.dtype(np.uint16), detector=experiment.detector
    ) as writer:
        for frame in simulate_series(frames, seed, experiment=experiment):
            payload = recoded(array_payload(frame.pixels), carried=("bslz4",), encoding="bslz4")
            writer.add(payload, truth=frame.truth, spots=frame.spots)


def _draw_hit(
    lattice: Lattice,
    background: Background,
    means: NDArray[np.float64],
    experiment: Experiment,
    rng: np.random.Generator,
) -> tuple[Spots, NDArray[np.float32], int]:
    """A crystal with enough spots in the centre; weaker ones are drawn again, so that every
    frame's truth is beyond doubt.
    """
    for _ in range(_MOST_TRIES):
        spots = _on_detector(draw_crystal(lattice, experiment, rng), experiment)
        table = _visible(spots, background, means)
        central = int(experiment.central(table[:, 0], table[:, 1]).sum())
        if central >= SPOTS_OF_A_HIT:
            return spots, table.astype(np.float32), central
    raise ValueError(
        f"no crystal in {_MOST_TRIES} gave {SPOTS_OF_A_HIT} spots in the centre: raise the "
        "sample's brightness or cell, or the experiment's wavelength"
    )


def _on_detector(spots: Spots, experiment: Experiment) -> Spots:
    """Spots whose stamps fit on the detector and whose centre no gap hides; the beamstop dims."""
    rows, cols = experiment.shape
    edge = len(_STAMP) // 2 + 1
    inside = (spots.x_px > edge) & (spots.x_px < cols - edge)
    inside &= (spots.y_px > edge) & (spots.y_px < rows - edge) & (spots.photons > 0.3)
    x, y, photons = spots.x_px[inside], spots.y_px[inside], spots.photons[inside]
    at = y.astype(np.intp), x.astype(np.intp)
    seen = ~experiment.mask[at]
    photons = np.where(experiment.shadow[at], experiment.beamstop_transmission, 1.0) * photons
    return Spots(x_px=x[seen], y_px=y[seen], photons=photons[seen], sigma_px=spots.sigma_px)


def _visible(
    spots: Spots, background: Background, means: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(k, 4): x_px, y_px, S/N, photons of the spots with S/N >= 5. The signal is what 5 x 5
    pixels hold of the spot's expected photons, the noise that of all photons there.
    """
    rows, cols = spots.y_px.astype(np.intp), spots.x_px.astype(np.intp)
    reach = np.exp(-(np.arange(-2, 3) ** 2) / (2 * spots.sigma_px**2))
    full = np.exp(-(_STAMP**2) / (2 * spots.sigma_px**2))
    signal = spots.photons * (reach.sum() / full.sum()) ** 2
    snr = signal / np.sqrt(signal + _BOX_PX * background.at(means, rows, cols))
    table = np.stack([spots.x_px, spots.y_px, snr, spots.photons], axis=1)
    visible: NDArray[np.float64] = table[snr >= SPOT_SNR]
    return visible


def _add_spots(pixels: NDArray[np.uint16], spots: Spots, rng: np.random.Generator) -> None:
    """Add each spot's photons, Poisson distributed over a Gaussian."""
    rows = spots.y_px.astype(np.intp)[:, None] + _STAMP  # (k, 9)
    cols = spots.x_px.astype(np.intp)[:, None] + _STAMP
    profile_y = _profile(rows + 0.5 - spots.y_px[:, None], spots.sigma_px)
    profile_x = _profile(cols + 0.5 - spots.x_px[:, None], spots.sigma_px)
    expected = (
        spots.photons[:, None, None] * profile_y[:, :, None] * profile_x[:, None, :]
    )  # (k, 9, 9)
    photons = np.minimum(rng.poisson(expected), FLAGGED // 2).astype(np.uint16)
    np.add.at(pixels, (rows[:, :, None], cols[:, None, :]), photons)


def _profile(offset_px: NDArray[np.float64], sigma_px: float) -> NDArray[np.float64]:
    """(k, 9): the share of a spot's photons in each row or column; sums to 1."""
    profile = np.exp(-((offset_px / sigma_px) ** 2) / 2)
    normal: NDArray[np.float64] = profile / profile.sum(axis=1, keepdims=True)
    return normal


def _add_artefacts(
    pixels: NDArray[np.uint16], experiment: Experiment, rng: np.random.Generator
) -> None:
    """Hot pixels in every frame, a cosmic track in a few."""
    places, means = experiment.hot
    pixels.reshape(-1)[places] = rng.poisson(means)
    if rng.random() < _COSMIC_SHARE:
        length = int(rng.uniform(5, 90))
        angle = rng.uniform(0, 2 * np.pi)
        start = rng.uniform(0, 1, 2) * pixels.shape
        steps = np.arange(length)
        rows = (start[0] + steps * np.sin(angle)).astype(np.intp)
        cols = (start[1] + steps * np.cos(angle)).astype(np.intp)
        on = (rows >= 0) & (rows < pixels.shape[0]) & (cols >= 0) & (cols < pixels.shape[1])
        pixels[rows[on], cols[on]] += rng.poisson(rng.uniform(8, 60), int(on.sum())).astype(
            np.uint16
        )
