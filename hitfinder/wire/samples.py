"""The sample stream: a few frames a second, each behind its verdict, for pages that show frames.

    frame     the verdict as the verdict stream has it, then the message's own parts
    opening   {"type":"opening"}, then the parts of a message that opens a series

Openings are sent again and again, so that whoever joins in the middle of a series learns of mask
and geometry. What this file does not know: sockets, and the protocol of the parts behind.
"""

from typing import Final

import msgspec

from hitfinder.errors import BadMessageError
from hitfinder.frame import Part
from hitfinder.wire.verdicts import VerdictMessage


class Opening(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="opening"):
    """The parts behind it open the running series."""


OPENING: Final = msgspec.json.encode(Opening())
"""The first part of an opening."""

_DECODER: Final = msgspec.json.Decoder(VerdictMessage | Opening)


def split(message: tuple[Part, ...]) -> tuple[VerdictMessage | Opening, tuple[Part, ...]]:
    """What stands in front, and the sender's own parts. Raises BadMessageError("json")."""
    try:
        head: VerdictMessage | Opening = _DECODER.decode(message[0])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, IndexError) as error:
        raise BadMessageError("json", f"no sample: {error}") from error
    return head, message[1:]
