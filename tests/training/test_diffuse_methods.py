"""What the compared methods see: anisotropy, common lines, maps."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray

from hitfinder.errors import DataFileError
from hitfinder.frame import Detector
from hitfinder.simulation.crystal import random_rotation
from hitfinder.simulation.diffuse import DiffuseField
from hitfinder.simulation.maps import make_maps
from hitfinder.simulation.run import Diffuse, Geometry, Run, Window
from hitfinder.training.diffuse_methods.diffusion_map import embedded
from hitfinder.training.diffuse_methods.methods import METHODS
from hitfinder.training.diffuse_methods.prepared import (
    GRID,
    RINGS,
    SECTORS,
    Prepared,
    Preparer,
    joined,
)
from hitfinder.training.diffuse_methods.similarity import (
    arcs,
    common_line,
    correlation,
    euclidean,
)
from tests.simulation.runs import PLAIN

SIDE = 240
RUN = replace(
    PLAIN,
    geometry=Geometry(
        shape=(SIDE, SIDE), pixel_mm=0.8, distance_mm=140.0, beam_x_px=118.0, beam_y_px=123.0
    ),
    window=Window(top=0, left=0, rows=SIDE, cols=SIDE),
    beam=replace(PLAIN.beam, wavelength_angstrom=1.2),
    sample=replace(PLAIN.sample, cell_angstrom=(40.0, 46.0, 52.0), symmetry="-1"),
    diffuse=Diffuse(gamma_angstrom=12.0, strength=0.3, contrast=0.5),
)

BACKGROUND = np.full((SIDE, SIDE), 100.0, np.float32)


def detector_of(run: Run) -> Detector:
    geometry = run.geometry
    return Detector(
        shape=geometry.shape,
        beam_x_px=geometry.beam_x_px,
        beam_y_px=geometry.beam_y_px,
        pixel_x_mm=geometry.pixel_mm,
        pixel_y_mm=geometry.pixel_mm,
        distance_mm=geometry.distance_mm,
        wavelength_angstrom=run.beam.wavelength_angstrom,
    )


def light(seed: int, rotation: NDArray[np.float64]) -> NDArray[np.float32]:
    """A crystal's diffuse light on a round background, polarised, without noise."""
    found = field_of(seed).light([rotation], [1.0], structured=True, means=BACKGROUND, variance=0.0)
    image: NDArray[np.float32] = (found.photons + BACKGROUND) * make_maps(RUN).arriving
    return image


@lru_cache
def field_of(seed: int) -> DiffuseField:
    assert RUN.diffuse
    return DiffuseField(
        replace(RUN, seed=seed),
        RUN.diffuse,
        BACKGROUND,
        arriving=np.ones_like(BACKGROUND),
        mask=np.zeros(BACKGROUND.shape, np.bool_),
    )


def prepared(*images: NDArray[np.float32]) -> Prepared:
    preparer = Preparer(detector_of(RUN))
    return joined([preparer.one(image) for image in images])


def round_image() -> NDArray[np.float32]:
    maps = make_maps(RUN)
    image: NDArray[np.float32] = np.float32(200) * np.exp(-((maps.s / 0.4) ** 2)) * maps.arriving
    return image


def test_a_round_background_leaves_nothing() -> None:
    image = round_image()
    image[100:112] = np.nan
    image[:, 60:70] = np.nan
    light_left = prepared(image)
    # 1 % is what the profile's slope leaves in rings one block wide; it comes to 1.03 %.
    assert light_left.anisotropy[0] < 0.0105 * np.nanmean(image)
    uneven = image * (1 + np.float32(0.2) * np.sin(np.arange(SIDE, dtype=np.float32) / 9))
    assert prepared(uneven).anisotropy[0] > 4 * light_left.anisotropy[0]
    assert light_left.polar.shape == (1, SECTORS, RINGS)
    assert light_left.grid.shape == (1, GRID, GRID)
    assert np.isnan(light_left.polar).any()
    assert np.isfinite(light_left.grid).all()


def test_spots_are_no_anisotropy() -> None:
    detector = replace(
        detector_of(RUN),
        shape=(8 * SIDE, 8 * SIDE),
        pixel_x_mm=0.1,
        pixel_y_mm=0.1,
        beam_x_px=8 * 118.0,
        beam_y_px=8 * 123.0,
    )
    preparer = Preparer(detector)
    rng = np.random.default_rng(1)
    means = np.repeat(np.repeat(round_image() / 20, 8, 0), 8, 1)
    image: NDArray[np.float32] = rng.poisson(means).astype(np.float32)
    spotty = image.copy()
    spotty.reshape(-1)[rng.integers(0, image.size, 6000)] += 100
    before, after = (float(preparer.one(each).anisotropy[0]) for each in (image, spotty))
    assert after < 1.2 * before
    uncut = spotty.reshape(SIDE, 8, SIDE, 8).mean(axis=(1, 3)) - round_image() / 20
    assert abs(uncut).mean() > 1.5 * before


def test_a_detector_that_says_nothing_is_refused() -> None:
    with pytest.raises(DataFileError, match="does not say its beam centre"):
        Preparer(Detector(shape=(100, 100)))


def test_two_cuts_agree_along_the_arcs_where_their_spheres_meet() -> None:
    rng = np.random.default_rng(3)
    turned = [random_rotation(rng) for _ in range(4)]
    frames = prepared(*(light(1, rotation) for rotation in turned))
    agreed, mistaken = [], []
    for one in range(4):
        for other in range(one):
            ours, theirs = turned[one].T[:, 2], turned[other].T[:, 2]  # beams, in the crystal
            towards = [turned[one] @ theirs, turned[other] @ ours]
            sector = [
                int(np.floor(np.arctan2(at[1], at[0]) / (2 * np.pi) * SECTORS)) for at in towards
            ]
            lines = arcs(frames, float(np.rad2deg(np.arccos(ours @ theirs))))
            first, second = lines[one, sector[0]], lines[other, sector[1]]
            agreed.append(first @ np.roll(second, RINGS))
            mistaken.append(first @ second)
    assert np.mean(agreed) > 0.7
    assert np.mean(mistaken) < 0.3


def test_cuts_of_one_crystal_agree_along_a_common_line() -> None:
    """More than cuts of crystals that differ, however they lie; pictures as they lie do not."""
    rng = np.random.default_rng(3)
    frames = prepared(*(light(seed, random_rotation(rng)) for seed in (1, 2, 3) for _ in range(5)))
    crystal = np.repeat([1, 2, 3], 5)
    same = (crystal[:, None] == crystal) & ~np.eye(15, dtype=bool)
    other = crystal[:, None] != crystal
    alike = np.log(common_line(frames))
    assert alike[same].mean() > alike[other].mean() + 0.02
    assert np.median(alike[same]) > np.percentile(alike[other], 65)
    pictures = np.log(correlation(frames))
    assert abs(pictures[same].mean() - pictures[other].mean()) < 0.1


def test_similarities_are_symmetric_and_highest_with_oneself() -> None:
    rng = np.random.default_rng(4)
    frames = prepared(*(light(1, random_rotation(rng)) for _ in range(4)))
    for similarity in (euclidean, correlation, common_line):
        alike = similarity(frames)
        np.testing.assert_allclose(alike, alike.T, rtol=1e-5)
        assert (alike > 0).all()
        assert (alike.argmax(axis=1) == np.arange(4)).all()


def test_a_map_parts_what_is_not_alike() -> None:
    kind = np.arange(40) % 2 == 0
    alike = np.exp(np.where(kind[:, None] == kind, 0.8, 0.1))
    alike += 1e-3 * np.ones((40, 40))
    points = embedded(alike, 3)
    assert points.shape == (40, 3)
    first = points[:, 0]
    assert first[kind].std() < 1e-6
    assert abs(first[kind].mean() - first[~kind].mean()) > 0.1
    with pytest.raises(ValueError, match="too few"):
        embedded(alike[:3, :3], 3)


def test_every_method_learns_from_frames_that_differ_clearly() -> None:
    rng = np.random.default_rng(5)
    plain = round_image()

    def frames(count: int) -> tuple[Prepared, NDArray[np.bool_]]:
        labels = np.arange(count) % 2 == 0
        images = [
            rng.poisson(light(7, random_rotation(rng)) if said else plain + 60).astype(np.float32)
            for said in labels
        ]
        return prepared(*images), labels

    train, known = frames(24)
    test, truth = frames(16)
    right = {}
    for name, method in METHODS.items():
        judged = method(train, known, test)
        scores = judged.scores
        assert (judged.points is None) == (name == "anisotropy")
        assert scores.shape == (16,)
        assert ((scores >= 0) & (scores <= 1)).all()
        right[name] = float(((scores >= 0.5) == truth).mean())
    assert right["anisotropy"] > 0.9
    assert right["diffusion map, common line"] > 0.8
