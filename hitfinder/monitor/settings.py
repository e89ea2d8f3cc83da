"""Settings of the live page."""

import ipaddress
from pathlib import Path

from pydantic import Field, model_validator

from hitfinder.settings import Settings


class MonitorSettings(Settings):
    """The live page, `hitfinder monitor`: numbers from the verdict stream, frames from the
    samples.
    """

    host: str = "127.0.0.1"
    """Address that the page listens on; anything but this machine's own needs token_file."""
    port: int = Field(default=8060, ge=0, le=65535)
    """Port that it listens on; 0 takes any free one."""
    token_file: Path | None = None
    """A file with a secret of 16 characters or more, asked for before anything is shown."""
    service_host: str = "127.0.0.1"
    """Where the service runs, for the addresses that it binds as "tcp://*:…"."""
    buffer_bytes: int = Field(default=256 * 2**20, ge=2**20, le=2**40)
    """Bound on the frames that the page holds; the oldest go first."""

    @model_validator(mode="after")
    def _strangers_need_a_token(self) -> "MonitorSettings":
        if self.token_file is None and not self.is_local:
            raise ValueError(
                f'host = "{self.host}" lets others look at frames, so it needs token_file'
            )
        return self

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the page."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
