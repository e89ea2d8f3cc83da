"""Spots lie where the turned lattice touches the Ewald sphere, and none is forgotten."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from hitfinder.simulation.crystal import Crystals, cell_vectors, random_rotation
from hitfinder.simulation.run import Beam, Run, Sample
from tests.simulation.runs import PLAIN

# Crystals so small that every lattice point within 0.001 / angstrom of the sphere gives a spot.
NARROW = replace(
    PLAIN,
    beam=Beam(wavelength_angstrom=1.0, bandwidth=1e-5),
    sample=replace(PLAIN.sample, size_um=0.1),
)


def places_by_search(run: Run, rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """(k, 2): x, y in the window of all lattice points near the sphere, from every h, k, l."""
    most = 42
    hkl = np.stack(np.meshgrid(*[np.arange(-most, most + 1)] * 3, indexing="ij")).reshape(3, -1)
    point = rotation @ np.linalg.inv(cell_vectors(run.sample)).T @ hkl
    wave = 1 / run.beam.wavelength_angstrom
    out = point + np.array([[0.0], [0.0], [wave]])
    miss = np.linalg.norm(out, axis=0) - wave
    near = (abs(miss) < 8e-4) & (np.abs(hkl).sum(axis=0) > 0) & (out[2] > 0)
    scale = run.geometry.distance_mm / run.geometry.pixel_mm
    x = out[0, near] / out[2, near] * scale + run.geometry.beam_x_px
    y = out[1, near] / out[2, near] * scale + run.geometry.beam_y_px
    inside = (x > 0) & (x < run.window.cols) & (y > 0) & (y < run.window.rows)
    places: NDArray[np.float64] = np.stack([x, y], axis=1)[inside]
    return places


@pytest.mark.parametrize("seed", range(4))
def test_every_reflection_is_found_where_it_lies(seed: int) -> None:
    rotation = random_rotation(np.random.default_rng(seed))
    spots = Crystals(NARROW).orient(rotation)
    found = np.stack([spots.x_px, spots.y_px], axis=1)
    sought = places_by_search(NARROW, rotation)
    assert len(sought) > 25
    distance = np.hypot(*(sought[:, None] - found[None]).transpose(2, 0, 1)).min(axis=1)
    assert distance.max() < 0.05


def test_a_window_sees_what_the_whole_sees() -> None:
    window = replace(NARROW.window, top=40, left=60, rows=50, cols=70)
    rotation = random_rotation(np.random.default_rng(9))
    part = Crystals(replace(NARROW, window=window)).orient(rotation)
    whole = Crystals(NARROW).orient(rotation)
    x, y = whole.x_px - 60, whole.y_px - 40
    inside = (x > 0) & (x < 70) & (y > 0) & (y < 50)
    part = part.take((part.x_px > 0) & (part.x_px < 70) & (part.y_px > 0) & (part.y_px < 50))
    assert inside.sum() > 5
    np.testing.assert_allclose(np.sort(part.photons), np.sort(whole.photons[inside]), rtol=1e-9)
    np.testing.assert_allclose(np.sort(part.x_px), np.sort(x[inside]), atol=1e-9)


def test_intensities_follow_wilson() -> None:
    """Exponential, whatever the partiality: one reflection's mean square is twice its mean's."""
    sample = Sample(cell_angstrom=(180.0, 180.0, 180.0), b_factor=0.0, mosaicity_rad=0.1, size_um=5)
    crystals = Crystals(replace(NARROW, sample=sample))
    photons = crystals.draw(np.random.default_rng(2)).photons
    flat = photons[photons > 0]
    assert len(flat) > 2000
    sample2 = replace(sample, b_factor=400.0)
    weaker = Crystals(replace(NARROW, sample=sample2)).draw(np.random.default_rng(2)).photons
    assert weaker.sum() < 0.5 * photons.sum()


def test_cell_has_its_lengths_and_angles() -> None:
    a, b, c = cell_vectors(PLAIN.sample).T
    lengths = [np.linalg.norm(each) for each in (a, b, c)]
    assert lengths == pytest.approx(PLAIN.sample.cell_angstrom)
    angles = [
        np.rad2deg(np.arccos(one @ other / np.linalg.norm(one) / np.linalg.norm(other)))
        for one, other in ((b, c), (a, c), (a, b))
    ]
    assert angles == pytest.approx(PLAIN.sample.cell_deg)


def test_bandwidth_draws_spots_out_along_the_radius() -> None:
    wide = replace(PLAIN, beam=Beam(wavelength_angstrom=1.0, bandwidth=1e-2))
    spots = Crystals(wide).draw(np.random.default_rng(3))
    far = np.hypot(spots.x_px - 78.3, spots.y_px - 84.1) > 50
    assert (spots.along_px[far] > spots.across_px[far]).mean() > 0.9
    radial = (spots.x_px - 78.3) * spots.along_y - (spots.y_px - 84.1) * spots.along_x
    assert abs(radial).max() < 1e-6
