"""What `--region` takes, for every command that has it."""

from hitfinder.errors import ConfigError
from hitfinder.images.region import RegionSettings

REGIONS = {"center": RegionSettings(kind="center"), "whole": RegionSettings(kind="whole")}


def check_region(name: str) -> None:
    """Raises ConfigError for a region that no command knows."""
    if name not in REGIONS:
        raise ConfigError(f"--region {name}: known are {', '.join(REGIONS)}")
