"""What a peak is; see `hitfinder.peaks.finder` for how it is found."""

from typing import Self

from pydantic import Field, model_validator

from hitfinder.settings import Settings


class PeakSettings(Settings):
    """What counts as a peak. Without `threshold` nothing here has the unit of a pixel."""

    threshold: float | None = Field(default=None, ge=-1e12, le=1e12)
    """Pixels at or below this value are never part of a peak, in the unit of the pixels. `off`:
    the background's noise alone decides, which suits every gain."""
    min_snr: float = Field(default=5.0, ge=1.0, le=1000.0)
    """Signal to noise that each pixel of a peak must have over the background at its radius, and
    the whole peak over the background around it."""
    min_pixels: int = Field(default=2, ge=1, le=10_000)
    """Connected pixels, diagonals included; 2 leaves out single hot pixels and most cosmics."""
    max_pixels: int = Field(default=200, ge=1, le=1_000_000)
    """Larger blobs are rings, jets or panels, not spots."""
    local_background_radius_px: int = Field(default=5, ge=2, le=50)
    """The local background comes from the square that reaches so far from a peak's brightest
    pixel, without what belongs to peaks."""
    min_radius_px: float | None = Field(default=None, ge=0.0, le=200_000.0)
    """Nearer to the beam is no peak."""
    max_radius_px: float | None = Field(default=None, ge=0.0, le=200_000.0)
    """Farther from the beam is no peak."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_pixels > self.max_pixels:
            raise ValueError("min_pixels is greater than max_pixels")
        if (
            self.min_radius_px is not None
            and self.max_radius_px is not None
            and self.min_radius_px >= self.max_radius_px
        ):
            raise ValueError("min_radius_px is not below max_radius_px")
        return self
