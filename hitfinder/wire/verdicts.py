"""The verdict stream: one JSON part for every frame, judged or not, and a heartbeat between.

A reader that joins late, or that lost messages, sees it from `sequence`: verdicts count up by
one, and a heartbeat repeats the last one sent together with the totals since the service began.
Keys that a reader does not know are ignored, so keys may be added. What this file does not know:
sockets, clocks, and whose verdict it is.
"""

from typing import Final

import msgspec

from hitfinder.errors import BadMessageError
from hitfinder.frame import Part
from hitfinder.verdict import Diffuse, Outcome, Reason


class VerdictMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="verdict"):
    """One frame's judgement as it is published.

    `reason` is set exactly when the outcome is unjudged, `score` (in [0, 1]) exactly when it is
    not; `threshold` and `model` say what the score was held against. `diffuse` is set for hits
    where a second step judges them; then `diffuse_score` is, or `diffuse_reason`, which says why
    there is no score. `latency_ms` runs from the frame's arrival to this message.
    """

    sequence: int
    series: str
    frame: int
    outcome: Outcome
    latency_ms: float
    reason: Reason | None = None
    score: float | None = None
    threshold: float | None = None
    model: str | None = None
    diffuse: Diffuse | None = None
    diffuse_reason: Reason | None = None
    diffuse_score: float | None = None
    diffuse_threshold: float | None = None
    diffuse_model: str | None = None


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Frames since the service began. received = kept + vetoed + all unjudged + in_flight;
    `unjudged` counts by reason; `lost` are gaps in the sender's numbers, not received. Hits that
    the second step settled = diffuse + not_diffuse + all diffuse_unjudged, which is by reason too.
    """

    received: int
    kept: int
    vetoed: int
    unjudged: dict[str, int]
    in_flight: int
    lost: int
    duplicates: int
    forwarded: int
    dropped: int
    spilled: int
    bad_messages: int
    diffuse: int = 0
    not_diffuse: int = 0
    diffuse_unjudged: dict[str, int] = {}


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="heartbeat"):
    """The service lives; `sequence` is that of the last verdict sent, `time_unix` in seconds."""

    sequence: int
    time_unix: float
    totals: Totals


Message = VerdictMessage | Heartbeat

_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Message)


def encode(message: Message) -> bytes:
    """One JSON object."""
    return _ENCODER.encode(message)


def decode(part: Part) -> Message:
    """The message in a part. Raises BadMessageError("json")."""
    try:
        message: Message = _DECODER.decode(part)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadMessageError("json", f"no verdict and no heartbeat: {error}") from error
    return message
