"""Settings of the finder."""

from typing import Any

import pytest

from hitfinder.errors import ConfigError
from hitfinder.peaks.settings import PeakSettings
from hitfinder.settings import checked


def test_no_setting_has_a_unit_by_default() -> None:
    assert PeakSettings().threshold is None


@pytest.mark.parametrize(
    "table",
    [
        {"min_snr": 0.0},
        {"min_pixels": 0},
        {"min_pixels": 9, "max_pixels": 8},
        {"local_background_radius_px": 1},
        {"min_radius_px": 20.0, "max_radius_px": 20.0},
        {"snr": 5.0},
    ],
)
def test_mistakes_are_told(table: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        checked(PeakSettings, table, "options")
