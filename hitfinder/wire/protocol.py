"""The two roles that every wire protocol fills; `wire.PROTOCOLS` is the table of them.

A decoder is fed one message after another and never raises anything but BadMessageError; the
next good message is decoded as if the bad one had not been there. An encoder is its inverse.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from hitfinder.frame import Detector, Event, Frame, Part, SeriesEnded, SeriesStarted


class Decoder(Protocol):
    """Turns messages into events. May remember what it saw; holds no socket and no clock."""

    def decode(self, parts: Sequence[Part], arrival_ns: int) -> Event:
        """The event that one message carries, its `parts` untouched inside.

        Only headers are parsed: pixels stay encoded in the frame's payload, sharing memory with
        the message. Raises BadMessageError.
        """
        ...


class Encoder(Protocol):
    """Turns events into messages. Each returned tuple is one multipart message."""

    def start(self, event: SeriesStarted) -> Sequence[tuple[Part, ...]]:
        """Messages that open a series; empty where the protocol has none."""
        ...

    def frame(self, event: Frame) -> Sequence[tuple[Part, ...]]:
        """Messages that carry a frame. An encoded payload that the protocol can carry as it is
        is not encoded again.
        """
        ...

    def end(self, event: SeriesEnded) -> Sequence[tuple[Part, ...]]:
        """Messages that close a series; empty where the protocol has none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WireProtocol:
    """One row of the table: how to make a decoder and an encoder, and what is known of a detector
    before a series' start was seen.
    """

    decoder: Callable[..., Decoder]
    encoder: Callable[..., Encoder]
    detector: Detector
