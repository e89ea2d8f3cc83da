"""Diffuse light is the crystal's own intensities blurred, turned with it, and as strong as said."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from scipy.stats import spearmanr

from hitfinder.simulation.crystal import cell_vectors, intensities, random_rotation
from hitfinder.simulation.diffuse import DiffuseField
from hitfinder.simulation.maps import Image
from hitfinder.simulation.run import Diffuse, Run, Sample
from hitfinder.simulation.simulator import Simulator
from tests.simulation.runs import PLAIN

CELL = replace(PLAIN.sample, cell_angstrom=(40.0, 46.0, 52.0), cell_deg=(90.0, 90.0, 90.0))
CLOUDY = Diffuse(share=1.0, strength=0.1, spread=0.0, gamma_angstrom=12.0, contrast=0.3)
RUN = replace(
    PLAIN,
    sample=replace(CELL, volume_spread=0.0, extra_crystals=0.0, symmetry="-1"),
    scattering=replace(PLAIN.scattering, photons=500.0),
    diffuse=CLOUDY,
    hit_share=1.0,
)
ROTATION = random_rotation(np.random.default_rng(5))


@lru_cache
def field_of(run: Run) -> DiffuseField:
    simulator = Simulator(run)
    assert run.diffuse
    shape = simulator.maps.shape
    return DiffuseField(
        run,
        run.diffuse,
        np.full(shape, 10.0, np.float32),
        arriving=np.ones(shape, np.float32),
        mask=np.zeros(shape, np.bool_),
    )


def light_of(run: Run, rotation: np.ndarray = ROTATION, *, structured: bool = True) -> Image:
    means = np.full((run.window.rows, run.window.cols), 10.0, np.float32)
    return (
        field_of(run)
        .light([rotation], [1.0], structured=structured, means=means, variance=0.0)
        .photons
    )


def test_the_field_is_the_intensities_blurred() -> None:
    """In the order of a direct sum of them: the field is that sum to some power."""
    field = field_of(RUN)
    assert field.field.mean() == pytest.approx(1.0, abs=1e-3)
    assert field.field.std() == pytest.approx(0.3, rel=0.02)
    real = cell_vectors(RUN.sample)
    rng = np.random.default_rng(1)
    per_index = field.per_index.astype(np.int64)
    asked = rng.integers(-6 * per_index, 6 * per_index, (60, 3))
    reach = np.arange(-16, 17)
    hkl = np.stack(np.meshgrid(reach, reach, reach, indexing="ij")).reshape(3, -1)
    strong = intensities(hkl.astype(float), "-1", RUN.seed)
    sums = []
    for point in asked / per_index:
        away = np.linalg.norm(np.linalg.inv(real).T @ (hkl - point[:, None]), axis=0)
        # The transform of exp(-r / gamma).
        sums.append((strong / (1 + (2 * np.pi * 12.0 * away) ** 2) ** 2).sum())
    found = field.field[tuple((asked % field.field.shape).T)]
    assert spearmanr(sums, found).statistic > 0.98


def test_light_turns_with_the_crystal_and_is_smooth() -> None:
    light = light_of(RUN)
    other = light_of(RUN, random_rotation(np.random.default_rng(6)))
    assert np.corrcoef(light.ravel(), other.ravel())[0, 1] < 0.99
    half_turn = ROTATION @ np.diag([-1.0, -1.0, 1.0])  # about c: another cut of this field
    assert abs(light_of(RUN, half_turn) - light).max() > 0.1 * light.std()
    np.testing.assert_allclose(light_of(RUN, ROTATION), light)
    steps = np.diff(light, axis=1)
    assert abs(steps).max() < 0.35 * np.ptp(light)


def test_symmetry_of_the_crystal_is_that_of_its_light() -> None:
    run = replace(RUN, sample=replace(RUN.sample, symmetry="mmm"))
    half_turn = ROTATION @ np.diag([-1.0, -1.0, 1.0])
    np.testing.assert_allclose(light_of(run, half_turn), light_of(run), rtol=1e-3)


def test_light_is_as_strong_as_said() -> None:
    """Root of the mean square of what is not round, over the background, where it is strongest."""
    found = []
    for seed in range(6):
        rotation = random_rotation(np.random.default_rng(seed))
        even = light_of(RUN, rotation, structured=False)
        uneven = light_of(RUN, rotation) - even
        bright = even > 0.6 * even.max()
        found.append(float(np.sqrt(np.mean(uneven[bright] ** 2))) / 10.0)
    assert np.mean(found) == pytest.approx(0.1, rel=0.15)


def test_uncorrelated_motions_give_round_light() -> None:
    simulator = Simulator(RUN)
    light = light_of(RUN, structured=False)
    order = np.argsort(simulator.maps.s, axis=None)
    along = light.ravel()[order].reshape(-1, 100)
    assert (np.ptp(along, axis=1) < 0.03 * light.max()).all()


def test_streaks_gather_light_in_sheets() -> None:
    streaky = replace(CLOUDY, streaks=0.9, streak_axis=1, streak_width=0.1)
    run = replace(RUN, diffuse=streaky, sample=replace(RUN.sample, cell_angstrom=(30, 24, 26)))
    simulator = Simulator(run)
    light = light_of(run) / light_of(run, structured=False)
    # Index along b of every pixel, from the maps alone.
    wave = 1 / run.beam.wavelength_angstrom
    distance_px = run.geometry.distance_mm / run.geometry.pixel_mm
    maps = simulator.maps
    out = np.stack([maps.x_px, maps.y_px, np.full(maps.shape, distance_px)])
    out /= np.linalg.norm(out, axis=0)
    point = wave * (out - np.array([0, 0, 1])[:, None, None])
    k = np.tensordot((ROTATION @ cell_vectors(run.sample))[:, 1], point, axes=1)
    off = abs(k - np.rint(k))
    assert light[off < 0.05].mean() > 3 * light[off > 0.4].mean()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"diffuse": CLOUDY}, True),
        ({"diffuse": replace(CLOUDY, strength=1e-5)}, None),
        ({"diffuse": replace(CLOUDY, share=0.0)}, False),
        ({"hit_share": 0.0}, False),
        ({"diffuse": None}, None),
    ],
)
def test_labels(change: dict[str, object], said: bool | None) -> None:
    frame = Simulator(replace(RUN, **change)).shot(3)  # type: ignore[arg-type]
    assert frame.label.diffuse is said
    assert (frame.diffuse_strength > 0) == (change.get("diffuse", RUN.diffuse) is not None) & (
        said is not False
    )


def test_diffuse_light_changes_nothing_else_in_a_run() -> None:
    """Spots lie where they lay without it."""
    spots = Simulator(replace(RUN, diffuse=None)).shot(4).spots
    with_light = Simulator(RUN).shot(4).spots
    strong = spots[spots[:, 2] > 20, :2]
    assert len(strong) > 4
    assert {tuple(place) for place in strong} <= {tuple(place) for place in with_light[:, :2]}


@pytest.mark.parametrize(
    ("symmetry", "alike"),
    [
        ("1", []),
        ("-1", [(-3, -2, -5)]),
        ("2/m", [(-3, -2, -5), (-3, 2, -5), (3, -2, 5)]),
        ("mmm", [(-3, 2, 5), (3, -2, 5), (3, 2, -5)]),
        ("4/mmm", [(2, 3, 5), (-2, 3, 5), (2, 3, -5)]),
    ],
)
def test_reflections_alike_are_equally_strong(
    symmetry: str, alike: list[tuple[int, int, int]]
) -> None:
    hkl = np.array([(3, 2, 5), *alike, (3, 5, 2), (-3, 2, 6)], float).T
    values = intensities(hkl, symmetry, 1)
    np.testing.assert_array_equal(values[: 1 + len(alike)], values[0])
    assert len(set(values.tolist())) == 3


def test_every_symmetry_is_known_to_random_runs() -> None:
    for symmetry in ("1", "-1", "2/m", "mmm", "4/mmm"):
        run = replace(RUN, sample=Sample(cell_angstrom=(30, 30, 40), symmetry=symmetry))
        assert np.isfinite(light_of(run)).all()
