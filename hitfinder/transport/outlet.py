"""An output stream with its rule for the time when nobody takes its messages.

    backpressure   offer → STALLED; the caller keeps the message and offers it again
    drop           offer → DROPPED; the caller counts it
    spill          offer → SPILLED (on disk, sent later in order) or, past its bound, DROPPED

Order is kept in every case: while messages wait on disk, later ones join them there.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from hitfinder.frame import Part
from hitfinder.transport.settings import OnStall
from hitfinder.transport.spill import Spill

CATCH_UP = 8
"""Messages from disk sent in one step."""


class Offered(StrEnum):
    """What became of a message."""

    SENT = "sent"
    STALLED = "stalled"
    DROPPED = "dropped"
    SPILLED = "spilled"


class Sends(Protocol):
    """A socket that messages go out on."""

    def open(self) -> None:
        """Bind or connect. Raises EndpointError."""
        ...

    def offer(self, parts: Sequence[Part]) -> bool:
        """Without blocking; False when nobody takes the message now."""
        ...

    def connection_changes(self) -> list[str]:
        """Each "connected" or "disconnected" since the last call."""
        ...

    def close(self, linger_ms: int) -> None:
        """Close after handing over what was accepted."""
        ...


class Outlet:
    """A sender under its stall rule. `spill` is set exactly when the rule is "spill"."""

    def __init__(self, sender: Sends, on_stall: OnStall, spill: Spill | None = None) -> None:
        self._sender = sender
        self._on_stall = on_stall
        self._spill = spill

    def open(self) -> None:
        """Open the sender, and find what an earlier life left on disk. Raises EndpointError."""
        if self._spill is not None:
            self._spill.open()
        self._sender.open()

    def close(self, linger_ms: int) -> None:
        """Close the sender; what waits on disk stays there."""
        self._sender.close(linger_ms)

    def connection_changes(self) -> list[str]:
        """Each "connected" or "disconnected" since the last call."""
        return self._sender.connection_changes()

    def offer(self, parts: Sequence[Part]) -> Offered:
        """Send, or apply the rule. Never blocks."""
        self.catch_up()
        if not self._spill and self._sender.offer(parts):
            return Offered.SENT
        if self._spill is not None:
            return Offered.SPILLED if self._spill.add(parts) else Offered.DROPPED
        return Offered.STALLED if self._on_stall == "backpressure" else Offered.DROPPED

    def catch_up(self) -> int:
        """Send some of what waits on disk, as far as it is taken; returns how many messages.

        Bounded, so that a long backlog and a quick receiver do not hold up the caller.
        """
        sent = 0
        while self._spill is not None and sent < CATCH_UP:
            parts = self._spill.first()
            if parts is None or not self._sender.offer(parts):
                break
            self._spill.remove_first()
            sent += 1
        return sent

    @property
    def damaged(self) -> int:
        """Messages that waited on disk and came back damaged: they are not sent."""
        return 0 if self._spill is None else self._spill.damaged

    @property
    def waiting_bytes(self) -> int:
        """Bytes on disk that wait for the receiver."""
        return self._spill.bytes if self._spill is not None else 0
