"""The sample stream: a few frames a second, each behind its verdict, for pages that show frames.

    frame     the verdict as the verdict stream has it, then the message's own parts
    mark      {"type":"mark"}, then the parts of a message that opens or ends a series

What opens a series is sent again and again, so that whoever joins in the middle learns of mask and
geometry. What this file does not know: sockets, and the protocol of the parts behind.
"""

from typing import Final

import msgspec

from hitfinder.errors import BadMessageError
from hitfinder.frame import Part
from hitfinder.wire.verdicts import VerdictMessage


class SeriesMark(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="mark"):
    """The parts behind it open or end a series."""


MARK: Final = msgspec.json.encode(SeriesMark())
"""The first part of a mark."""

_DECODER: Final = msgspec.json.Decoder(VerdictMessage | SeriesMark)


def split(message: tuple[Part, ...]) -> tuple[VerdictMessage | SeriesMark, tuple[Part, ...]]:
    """What stands in front, and the sender's own parts. Raises BadMessageError("json")."""
    try:
        head: VerdictMessage | SeriesMark = _DECODER.decode(message[0])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, IndexError) as error:
        raise BadMessageError("json", f"no sample: {error}") from error
    return head, message[1:]
