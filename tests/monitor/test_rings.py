"""Rings lie where Bragg's law has them."""

import math
from itertools import pairwise

import pytest

from hitfinder.frame import Detector
from hitfinder.monitor.rings import radius_of, view_of

DETECTOR = Detector(pixel_x_mm=0.1, distance_mm=100.0, wavelength_angstrom=1.0)


def test_a_spacing_lies_at_twice_its_bragg_angle() -> None:
    # sin(theta) = 1 / (2 * 1) -> 2 theta = 60 degrees
    assert radius_of(1.0, DETECTOR) == pytest.approx(1000 * math.tan(math.radians(60)))
    assert radius_of(2.0, DETECTOR) == pytest.approx(1000 * math.tan(2 * math.asin(0.25)))


@pytest.mark.parametrize("spacing", [0.4, 0.5, 0.6])
def test_what_is_not_scattered_forwards_has_no_ring(spacing: float) -> None:
    assert radius_of(spacing, DETECTOR) is None


def test_rings_are_apart_and_within_the_region() -> None:
    view = view_of((400, 400), (200.0, 200.0), DETECTOR)
    radii = [ring.radius_px for ring in view.rings]
    assert len(radii) >= 2
    assert all(later - earlier >= 0.11 * 400 for earlier, later in pairwise(radii))
    assert max(radii) < math.hypot(200, 200)
    assert (view.beam_x_px, view.beam_y_px) == (200.0, 200.0)


def test_a_beam_outside_has_only_the_rings_that_cross_the_region() -> None:
    view = view_of((400, 400), (-500.0, 200.0), DETECTOR)
    assert view.rings
    assert all(500 < ring.radius_px < math.hypot(900, 200) for ring in view.rings)


@pytest.mark.parametrize("detector", [Detector(), Detector(pixel_x_mm=0.1, distance_mm=100.0)])
def test_without_geometry_there_are_no_rings(detector: Detector) -> None:
    assert view_of((400, 400), (200.0, 200.0), detector).rings == ()
    assert view_of((400, 400), None, DETECTOR).rings == ()
