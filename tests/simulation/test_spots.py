"""A spot's light lies where it should, and its S/N is what repeated exposures show."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitfinder.simulation.noise import draw_photons
from hitfinder.simulation.spots import (
    FOOTPRINT_SIGMA,
    PIXEL_VARIANCE,
    Spots,
    add_light,
    joined,
    merged,
    photons_for,
    signal_to_noise,
)


def spot(
    x_px: float = 20.3,
    y_px: float = 21.8,
    photons: float = 300.0,
    along_px: float = 1.0,
    across_px: float = 1.0,
    angle_rad: float = 0.0,
) -> Spots:
    values = x_px, y_px, photons, along_px, across_px, np.cos(angle_rad), np.sin(angle_rad)
    names = "x_px", "y_px", "photons", "along_px", "across_px", "along_x", "along_y"
    return Spots(**{name: np.array([value]) for name, value in zip(names, values, strict=True)})


@settings(max_examples=40, deadline=None)
@given(
    x_px=st.floats(15, 25),
    y_px=st.floats(15, 25),
    photons=st.floats(200, 1e5),
    along_px=st.floats(0.45, 2.5),
    across_px=st.floats(0.45, 2.5),
    angle_rad=st.floats(0, 7),
)
def test_light_has_the_spots_photons_centre_and_shape(
    x_px: float, y_px: float, photons: float, along_px: float, across_px: float, angle_rad: float
) -> None:
    image = np.zeros((41, 41), np.float32)
    add_light(image, spot(x_px, y_px, photons, along_px, across_px, angle_rad))
    light = image.astype(float)
    # What lies where a pixel would get almost nothing is left out.
    assert light.sum() == pytest.approx(photons, rel=0.03, abs=8)
    y, x = np.indices(light.shape) + 0.5
    assert (light * x).sum() / light.sum() == pytest.approx(x_px, abs=0.06)
    assert (light * y).sum() / light.sum() == pytest.approx(y_px, abs=0.06)
    along = (x - x_px) * np.cos(angle_rad) + (y - y_px) * np.sin(angle_rad)
    variance = (light * along**2).sum() / light.sum()
    assert variance == pytest.approx(along_px**2 + PIXEL_VARIANCE, rel=0.15, abs=0.05)


@pytest.mark.parametrize(
    ("one", "background"),
    [
        (spot(photons=40.0), 0.5),
        (spot(photons=900.0, along_px=2.0, across_px=1.2, angle_rad=0.7), 12.0),
        (spot(photons=12.0, along_px=0.5, across_px=0.5), 0.02),
    ],
)
def test_signal_to_noise_is_that_of_repeated_exposures(one: Spots, background: float) -> None:
    """Mean over standard deviation of what the footprint holds, less the background."""
    means = np.full((44, 44), background, np.float32)
    add_light(means, one)
    rng = np.random.default_rng(5)
    y, x = np.indices(means.shape) + 0.5
    cos, sin = one.along_x[0], one.along_y[0]
    dx, dy = x - one.x_px[0], y - one.y_px[0]
    along = np.sqrt(one.along_px[0] ** 2 + PIXEL_VARIANCE)
    across = np.sqrt(one.across_px[0] ** 2 + PIXEL_VARIANCE)
    far = np.hypot((dx * cos + dy * sin) / along, (dy * cos - dx * sin) / across)
    # The footprint has the stated number of pixels: those nearest to the spot.
    area = float(one.area_px[0])
    inside = np.argsort(far, axis=None)[: round(area)]
    held = np.array([draw_photons(means, rng).reshape(-1)[inside].sum() for _ in range(6000)])
    measured = (held.mean() - background * len(inside)) / held.std()
    stated = signal_to_noise(one, np.array([background]))[0]
    assert measured == pytest.approx(stated, rel=0.06)


def test_a_small_spot_is_judged_over_3_x_3_pixels() -> None:
    assert spot(along_px=0.3, across_px=0.3).area_px[0] == 9
    wide = spot(along_px=2.0, across_px=1.0)
    assert wide.area_px[0] == pytest.approx(np.pi * FOOTPRINT_SIGMA**2 * 2.02 * 1.04, rel=0.01)


@given(st.floats(3, 1000), st.floats(0, 1e5))
def test_photons_for_is_signal_to_noise_backwards(snr: float, background: float) -> None:
    one = spot()
    photons = photons_for(np.array([snr]), np.array([background]))
    again = signal_to_noise(replace(one, photons=photons), background / one.area_px)
    assert again[0] == pytest.approx(snr, rel=1e-6)


def test_close_spots_are_one() -> None:
    parts = [
        spot(10.0, 10.0, 100.0),
        spot(11.5, 10.0, 300.0),
        spot(10.0, 12.5, 50.0),
        spot(30.0, 10.0, 70.0),
    ]
    whole = merged(joined(parts))
    assert sorted(whole.photons.tolist()) == [50.0, 70.0, 400.0]
    assert whole.x_px[np.argmax(whole.photons)] == 11.5


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 60), st.integers(0, 2**31))
def test_merging_loses_no_photons(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = [
        spot(rng.uniform(0, 25), rng.uniform(0, 25), rng.exponential(100)) for _ in range(count)
    ]
    many = joined([*parts, spot()])
    whole = merged(many)
    assert whole.photons.sum() == pytest.approx(many.photons.sum())
    assert 1 <= len(whole) <= len(many)
