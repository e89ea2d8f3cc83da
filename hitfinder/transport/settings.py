"""Settings of sockets: where they are, and what they do under pressure."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from hitfinder.settings import Settings

_HOST = r"(\[[0-9a-fA-F:.%]+\]|[^:]+)"
# libzmq takes a larger one modulo 65536.
_PORT = r"(\d{1,4}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5]|\*)"
_ENDPOINT = rf"^(tcp://{_HOST}:{_PORT}|ipc://.+)$"


def _endpoint(text: str) -> str:
    if re.fullmatch(_ENDPOINT, text) is None:
        raise ValueError("must be tcp://HOST:PORT, with a port up to 65535 or *, or ipc://PATH")
    return text


ANYWHERE = frozenset({"*", "0.0.0.0", "::", "[::]"})  # noqa: S104  read, not bound
"""Hosts that stand for every address of this machine."""


def tcp_address(endpoint: str) -> tuple[str, str] | None:
    """Host and port of a TCP endpoint as they stand there; None for another."""
    found = re.fullmatch(_ENDPOINT, endpoint)
    return (found[2], found[3]) if found is not None and found[3] is not None else None


def check_reachable(endpoint: str, mode: str) -> None:
    """Raises ValueError for a place to connect to that names no machine or no port."""
    if mode == "connect" and "*" in (tcp_address(endpoint) or ()):
        raise ValueError(
            f'mode = "connect" needs a host and a port to connect to, got {endpoint}; "*" is for '
            'mode = "bind"'
        )


Endpoint = Annotated[
    str, AfterValidator(_endpoint), WithJsonSchema({"type": "string", "pattern": _ENDPOINT})
]
OnStall = Literal["backpressure", "drop", "spill"]


class ReceiverSettings(Settings):
    """A socket that messages come in on."""

    endpoint: Endpoint
    """Address, e.g. "tcp://detector:31001"; with mode = "bind", "tcp://*:31001"."""
    socket: Literal["pull", "sub"] = "pull"
    """"pull" for a sender that pushes (DECTRIS), "sub" for one that publishes. Be the only
    "pull" on a detector: a second one steals every other frame."""
    mode: Literal["connect", "bind"] = "connect"
    """Who waits for whom: "connect" to a sender that binds, "bind" for one that connects."""
    max_message_bytes: int = Field(default=256 * 2**20, ge=1024, le=2**33)
    """A larger message is refused by the socket, which drops its sender's connection."""
    high_water_mark: int = Field(default=16, ge=1, le=100_000)
    """Messages that the socket holds before its sender feels it; each up to a frame in size."""

    @model_validator(mode="after")
    def _is_reachable(self) -> Self:
        check_reachable(self.endpoint, self.mode)
        return self


class SenderSettings(Settings):
    """A socket that messages go out on."""

    endpoint: Endpoint
    """Address, e.g. "tcp://*:5557"; with mode = "connect", "tcp://writer:5557"."""
    socket: Literal["push", "pub"] = "push"
    """"push" hands each message to one receiver and notices when none takes it; "pub" copies
    it to every subscriber and drops, unseen, for those that are too slow."""
    mode: Literal["connect", "bind"] = "bind"
    """"bind" where receivers come to us, "connect" where we go to them."""
    high_water_mark: int = Field(default=16, ge=1, le=100_000)
    """Messages that the socket holds for each receiver before it counts as stalled."""
    on_stall: OnStall | None = None
    """What happens when no receiver takes messages: "backpressure" (the sender feels it,
    nothing is lost), "drop" (counted), "spill" (to disk, sent later). None chooses by the
    stream: "backpressure" for kept frames from a "pull" input to a "push" socket, else "drop"."""
    spill_folder: Path | None = None
    """Where "spill" writes, a folder of this output's own; a message waiting there survives a
    restart. Those in the socket, up to high_water_mark, are the receiver's: one that is connected
    and does not read loses them at a stop."""
    spill_max_bytes: int = Field(default=10 * 2**30, ge=2**20, le=2**44)
    """How much "spill" may write; beyond it messages are dropped and counted."""

    @model_validator(mode="after")
    def _is_reachable(self) -> Self:
        check_reachable(self.endpoint, self.mode)
        return self

    @model_validator(mode="after")
    def _spill_has_a_folder(self) -> "SenderSettings":
        if self.on_stall == "spill" and self.spill_folder is None:
            raise ValueError('on_stall = "spill" needs spill_folder')
        if self.socket == "pub" and self.on_stall in ("backpressure", "spill"):
            raise ValueError(
                f'a "pub" socket cannot tell that nobody takes messages, so on_stall = '
                f'"{self.on_stall}" needs socket = "push"'
            )
        return self
