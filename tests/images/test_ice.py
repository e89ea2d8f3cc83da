"""Where ice scatters, and that regions leave it out."""

import math

import numpy as np
import pytest

from hitfinder.frame import Detector, array_payload
from hitfinder.images.ice import ICE_ANGSTROM, ice_rings
from hitfinder.images.region import RegionSettings, plan_region

SHAPE = (400, 300)
DETECTOR = Detector(
    shape=SHAPE,
    beam_x_px=120.0,
    beam_y_px=180.0,
    pixel_x_mm=0.1,
    pixel_y_mm=0.1,
    distance_mm=60.0,
    wavelength_angstrom=1.0,
)


def radius_px(spacing_angstrom: float) -> float:
    """By Bragg's law."""
    return math.tan(2 * math.asin(0.5 / spacing_angstrom)) * 60.0 / 0.1


def region(settings: RegionSettings, detector: Detector) -> np.ndarray:
    reader = plan_region(settings, SHAPE, detector, None)
    out = np.empty(reader.shape, np.float32)
    reader.read(array_payload(np.ones(SHAPE, np.uint16)), out)
    return out


@pytest.mark.parametrize("spacing", ICE_ANGSTROM)
def test_a_ring_is_masked_where_bragg_says(spacing: float) -> None:
    rings = ice_rings(SHAPE, (180.0, 120.0), DETECTOR)
    assert rings is not None
    reached = radius_px(spacing)
    for angle in np.linspace(0, 2 * np.pi, 60):
        row, col = 180.0 + reached * math.sin(angle), 120.0 + reached * math.cos(angle)
        if 0 <= row < SHAPE[0] and 0 <= col < SHAPE[1]:
            assert rings[int(row), int(col)]


def test_between_the_rings_all_is_seen() -> None:
    rings = ice_rings(SHAPE, (180.0, 120.0), DETECTOR)
    assert rings is not None
    between = (radius_px(3.438) + radius_px(2.667)) / 2
    assert not rings[180, 120]
    assert not rings[int(180 + between), 120]
    assert not rings[: int(180 - radius_px(3.895)) + 30, :].all()


@pytest.mark.parametrize(
    "unknown", ["pixel_x_mm", "distance_mm", "wavelength_angstrom", "beam_x_px"]
)
def test_without_geometry_nothing_is_masked(unknown: str) -> None:
    said = {
        name: getattr(DETECTOR, name) for name in DETECTOR.__dataclass_fields__ if name != unknown
    }
    assert np.isfinite(region(RegionSettings(kind="whole"), Detector(**said))).all()


def test_regions_leave_rings_out_unless_told_otherwise() -> None:
    whole = region(RegionSettings(kind="whole"), DETECTOR)
    rings = ice_rings(SHAPE, (180.0, 120.0), DETECTOR)
    np.testing.assert_array_equal(np.isnan(whole), rings)
    box = RegionSettings(kind="box", top=40, left=30, rows=200, cols=220)
    np.testing.assert_array_equal(region(box, DETECTOR), whole[40:240, 30:250])
    assert np.isfinite(region(RegionSettings(kind="whole", ice_rings="keep"), DETECTOR)).all()


def test_a_ring_beyond_backscattering_is_no_ring() -> None:
    long_waves = Detector(
        pixel_x_mm=0.1, distance_mm=60.0, wavelength_angstrom=10.0, beam_x_px=1.0, beam_y_px=1.0
    )
    rings = ice_rings(SHAPE, (1.0, 1.0), long_waves)
    assert rings is not None
    assert not rings.any()
