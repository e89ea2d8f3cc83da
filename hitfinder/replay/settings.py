"""Settings of a replay."""

from typing import Literal

from pydantic import Field

from hitfinder.settings import Settings


class ReplaySettings(Settings):
    """How a series is sent."""

    rate_hz: float | None = Field(default=None, gt=0, le=1e6)
    """Frames a second; none sends as fast as the receiver takes them."""
    loop: bool = False
    """Begin again with the first frame after the last, inside the same series: frame numbers go
    on rising, until `count` frames are sent or the replay is stopped."""
    count: int | None = Field(default=None, ge=1)
    """Most frames to send; none sends each frame once, or goes on for ever with `loop`."""
    announce: int | None = Field(default=None, ge=0)
    """Number of frames that the start message announces; none announces those that will be sent,
    where that is known."""
    encoding: Literal["raw", "lz4", "bslz4"] | None = "bslz4"
    """Encoding that every frame gets before the first is sent; none leaves frames as the file
    has them. array-1.0 carries only raw."""
    burst: int = Field(default=16, ge=1, le=100_000)
    """Most frames sent without a pause to catch up with the rate. A delay longer than this many
    periods moves the schedule instead: no frame is skipped, the rate falls short."""
    memory_limit_bytes: int = Field(default=2 * 2**30, ge=0)
    """Frames held in memory, loaded and encoded before the first is sent; the others are loaded
    each time they are due, which costs rate."""
