"""Settings of the live pipeline."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from hitfinder.settings import Settings


class BatchSettings(Settings):
    """How frames are gathered before the model sees them."""

    size: int = Field(default=4, ge=1, le=32)
    """Most frames judged at once. More than 4 outgrow the cache of a core, which judges them one by
    one; a GPU wants 16 or 32, and gets batches padded to 1, 2, 4, 8, 16 or 32. Any other number
    counts as the next smaller of these."""
    wait_ms: float = Field(default=0.0, ge=0.0, le=1000.0)
    """How long a batch waits for more frames after its first. With 0 it is what came while the one
    before was judged: none waits in vain, and under load batches fill by themselves."""
    workers: int = Field(default=1, ge=1, le=64)
    """Threads that judge, each a batch of its own; frames still leave in order of arrival. More
    than one pays where there are cores to spare, or frames to decode beside a GPU."""


class PressureSettings(Settings):
    """What the service may hold, and for how long, before it lets frames go on unjudged."""

    deadline_ms: float = Field(default=1000.0, ge=1.0, le=600_000.0)
    """A frame not judged this long after it arrived goes on unjudged."""
    max_in_flight_bytes: int = Field(default=2**30, ge=2**20, le=2**40)
    """Bound on all messages between arrival and publication. The sockets' own buffers come on
    top: high_water_mark messages each."""
    max_judge_queue_bytes: int = Field(default=2**28, ge=2**16, le=2**40)
    """Bound on the frames that wait for the model; beyond it frames go on unjudged."""
    drain_timeout_ms: float = Field(default=5000.0, ge=0.0, le=600_000.0)
    """How long a stopping service may take to judge and send what it holds."""

    @model_validator(mode="after")
    def _queue_fits(self) -> "PressureSettings":
        if self.max_judge_queue_bytes > self.max_in_flight_bytes:
            raise ValueError("max_judge_queue_bytes must not exceed max_in_flight_bytes")
        return self


class HotPixelSettings(Settings):
    """Pixels that stand out in most frames, learned from the stream."""

    mode: Literal["learn", "mask"] | None = "learn"
    """"learn" finds, tells and saves them, and changes no verdict; "mask" also hides them from
    the model; "off" does nothing."""
    file: Path | None = Path("hot_pixels.npz")
    """Where they are kept for the next start, an .npz file that detector.mask_file takes, too;
    "off" forgets them."""

    @field_validator("file")
    @classmethod
    def _is_npz(cls, file: Path | None) -> Path | None:
        if file is not None and file.suffix != ".npz":
            raise ValueError("must end in .npz")
        return file


class HttpSettings(Settings):
    """The page that Prometheus and supervisors ask: /metrics, /healthz, /readyz."""

    host: str = "127.0.0.1"
    """Address to listen on; "0.0.0.0" for every interface, "::" for IPv6 as well."""
    port: int | None = Field(default=9110, ge=0, le=65535)
    """Port to listen on; 0 takes any free one, "off" serves no page."""
