"""Simulated frames are what their truth says."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from hitfinder.dataset.series import open_series
from hitfinder.simulation.background import Background, Shot
from hitfinder.simulation.crystal import Sample, draw_crystal, make_lattice
from hitfinder.simulation.experiment import FLAGGED, Experiment
from hitfinder.simulation.series import SimulatedFrame, simulate_series, write_demo_series

SAMPLE = Sample(resolution_angstrom=3.0)  # a quarter of the points: quick


@pytest.fixture(scope="module")
def frames() -> list[SimulatedFrame]:
    return list(simulate_series(10, 4, hit_share=0.4, sample=SAMPLE))


def test_labels_mean_what_they_say(frames: list[SimulatedFrame]) -> None:
    assert [frame.truth for frame in frames].count("hit") == 4
    for frame in frames:
        x, y, snr, _ = frame.spots.T
        central = (abs(x - 875) < 175) & (abs(y - 875) < 175)
        assert central.sum() == frame.central
        assert frame.central > 10 if frame.truth == "hit" else len(frame.spots) == 0
        assert (snr >= 5).all()


def test_spots_stand_where_the_truth_says(frames: list[SimulatedFrame]) -> None:
    """The 5 x 5 pixels about a spot hold its photons above the background around them."""
    hit = next(frame for frame in frames if frame.truth == "hit")
    pixels = np.where(hit.pixels == FLAGGED, np.nan, hit.pixels.astype(float))
    excess, photons = [], []
    for x, y, _, expected in hit.spots[hit.spots[:, 2] > 10]:
        row, col = int(y), int(x)
        near = pixels[row - 9 : row + 10, col - 9 : col + 10]
        box = pixels[row - 2 : row + 3, col - 2 : col + 3]
        if np.isfinite(box).all() and near.shape == (19, 19):
            excess.append(box.sum() - 25 * np.nanmedian(near))
            photons.append(expected)
    assert len(excess) > 20
    assert np.corrcoef(excess, photons)[0, 1] > 0.9
    assert 0.7 < np.sum(excess) / np.sum(photons) < 1.3


def test_flags_and_background(frames: list[SimulatedFrame]) -> None:
    experiment = Experiment()
    miss = next(frame for frame in frames if frame.truth == "miss").pixels
    assert (miss[experiment.mask] == FLAGGED).all()
    assert (miss[~experiment.mask] < FLAGGED).all()
    assert 0.03 < experiment.mask.mean() < 0.12
    assert 0.3 < np.mean(miss[~experiment.mask], dtype=float) < 5
    shadow = experiment.shadow & ~experiment.mask
    assert np.mean(miss[shadow], dtype=float) < 1


def test_usual_background_runs_from_a_few_photons_to_a_fraction() -> None:
    means = Background(Experiment()).means(Shot(beam=1.0, solvent=1.0))[:-1]
    assert 4 < means.max() < 11
    assert 0.1 < means.min() < 0.6


def test_equal_seeds_give_equal_frames(frames: list[SimulatedFrame]) -> None:
    again = next(simulate_series(10, 4, hit_share=0.4, sample=SAMPLE))
    np.testing.assert_array_equal(again.pixels, frames[0].pixels)
    other = next(simulate_series(10, 5, hit_share=0.4, sample=SAMPLE))
    assert (other.pixels != frames[0].pixels).any()


def test_spots_lie_on_the_ewald_sphere() -> None:
    """Bragg: the lattice vector that leads to a spot has a length that the cell allows."""
    experiment, sample = Experiment(), Sample(cell_angstrom=(60.0, 60.0, 60.0))
    rng = np.random.default_rng(1)
    lattice = make_lattice(sample, rng)
    spots = [draw_crystal(lattice, experiment, rng) for _ in range(10)]
    x = (np.concatenate([one.x_px for one in spots]) - experiment.beam_x_px) * experiment.pixel_mm
    y = (np.concatenate([one.y_px for one in spots]) - experiment.beam_y_px) * experiment.pixel_mm
    s = 2 * np.sin(np.arctan(np.hypot(x, y) / experiment.distance_mm) / 2)
    squares = (s * 60.0) ** 2  # h² + k² + l²
    low = squares < 60
    assert low.sum() > 20
    assert np.all(abs(squares[low] - np.rint(squares[low])) < 0.25)


def test_a_sample_too_weak_is_an_error() -> None:
    weak = Sample(resolution_angstrom=8.0, brightness=1e-3)
    with pytest.raises(ValueError, match="raise the sample's brightness"):
        next(simulate_series(1, 1, hit_share=1.0, sample=weak))


def test_the_demo_file(tmp_path: Path) -> None:
    path = tmp_path / "demo.h5"
    write_demo_series(path, frames=5, seed=1)
    (series,) = open_series([path])
    assert (series.shape, len(series.frames)) == ((1750, 1750), 5)
    assert sorted(str(frame.truth) for frame in series.frames) == ["hit", *["miss"] * 4]
    assert series.detector.mask is not None
    np.testing.assert_array_equal(series.detector.mask, Experiment().mask)
    assert series.detector.wavelength_angstrom == 1.0
    for frame in series.frames:
        payload = frame.load()
        assert payload.encoding == "bslz4"
        assert 0.6e6 < len(payload.data) < 2e6
    hit = next(frame.index for frame in series.frames if frame.truth == "hit")
    with h5py.File(path) as file:
        spots = file["entry/truth/spots"][()]
        assert (spots[:, 0] == hit).all()
        np.testing.assert_array_equal(
            file["entry/data/data"][hit, 700:1050], series.frames[hit].load().rows(700, 1050)
        )
