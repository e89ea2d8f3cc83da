"""A small CBOR reader (RFC 8949) that copies no byte string.

Why our own: a frame's pixels are one byte string inside its message, and the library that we
use for writing copies it, 0.7 ms for 2.3 MB, which is more than decoding the band a model sees.

    integers, text, true/false, floats of 16/32/64 bits   the Python values
    byte strings                                          memoryview slices of the message
    arrays, maps                                          list, dict
    tags                                                  Tag(number, value), never interpreted
    null, undefined, unassigned simple values             None

Indefinite lengths are read; only indefinite byte strings are copied. Map keys are text, numbers,
true, false or null; the last of equal keys counts. Depth and number of items are limited, and no
length is believed before the bytes are there, so a message costs no more than its size allows.
Anything else, bytes after the item included, is BadMessageError("cbor").
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hitfinder.errors import BadMessageError
from hitfinder.frame import Part

MAX_DEPTH: Final = 64
MAX_ITEMS: Final = 100_000

_ARGUMENTS = tuple(struct.Struct(code) for code in (">B", ">H", ">I", ">Q"))  # additional 24..27
_FLOATS = {25: struct.Struct(">e"), 26: struct.Struct(">f"), 27: struct.Struct(">d")}
_SIMPLE: Final[dict[int, bool]] = {20: False, 21: True}
_INDEFINITE: Final = 31
_BREAK: Final = 0xFF
_KEYS: Final = (str, int, float, type(None))  # bool is an int


@dataclass(frozen=True, slots=True)
class Tag:
    """A tagged item, as it stands in the message."""

    number: int
    value: object


def loads(message: Part) -> object:
    """The one item that `message` is. Raises BadMessageError("cbor")."""
    reader = _Reader(memoryview(message))
    try:
        value = reader.item(MAX_DEPTH)
    except (IndexError, struct.error) as error:
        raise _bad("the message ends inside an item") from error
    if reader.position != len(reader.data):
        raise _bad(f"{len(reader.data) - reader.position} bytes follow the item")
    return value


def _bad(detail: str) -> BadMessageError:
    return BadMessageError("cbor", detail)


class _Reader:
    """A position in a message. Methods named by major type take the initial byte's additional
    information and the depth that is left, and return the item's value.
    """

    __slots__ = ("data", "items_left", "position")

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.position = 0
        self.items_left = MAX_ITEMS

    def item(self, depth: int) -> object:
        initial = self.data[self.position]
        self.position += 1
        self.items_left -= 1
        if self.items_left < 0 or depth < 0:
            raise _bad(f"more than {MAX_ITEMS} items, or nested deeper than {MAX_DEPTH}")
        return _BY_MAJOR_TYPE[initial >> 5](self, initial & 31, depth)

    def argument(self, info: int) -> int:
        """The count or value that follows an initial byte of definite length."""
        if info < 24:
            return info
        if info > 27:
            raise _bad(f"additional information {info} has no meaning here")
        form = _ARGUMENTS[info - 24]
        (value,) = form.unpack_from(self.data, self.position)
        self.position += form.size
        return int(value)

    def length(self, info: int) -> int:
        """As `argument`, but of something that takes at least so many bytes."""
        count = self.argument(info)
        if count > len(self.data) - self.position:
            raise _bad(f"a length of {count} runs past the message's end")
        return count

    def at_break(self) -> bool:
        """Whether an indefinite item ends here; steps over the break if so."""
        if self.data[self.position] != _BREAK:
            return False
        self.position += 1
        return True

    def unsigned(self, info: int, _depth: int) -> int:
        return self.argument(info)

    def negative(self, info: int, _depth: int) -> int:
        return -1 - self.argument(info)

    def slice(self, info: int) -> memoryview:
        count = self.length(info)
        start = self.position
        self.position = start + count
        return self.data[start : start + count]

    def chunks(self, major: int) -> list[memoryview]:
        """The definite strings that make up an indefinite one."""
        found = []
        while not self.at_break():
            initial = self.data[self.position]
            self.position += 1
            self.items_left -= 1
            if initial >> 5 != major or self.items_left < 0:
                raise _bad("a piece of an indefinite string is not a string of its type")
            found.append(self.slice(initial & 31))
        return found

    def bytes(self, info: int, _depth: int) -> memoryview:
        if info == _INDEFINITE:
            return memoryview(b"".join(self.chunks(2)))
        return self.slice(info)

    def text(self, info: int, _depth: int) -> str:
        pieces = self.chunks(3) if info == _INDEFINITE else (self.slice(info),)
        try:
            return "".join([str(piece, "utf-8") for piece in pieces])
        except UnicodeDecodeError as error:
            raise _bad(f"text is not UTF-8: {error.reason}") from error

    def array(self, info: int, depth: int) -> list[object]:
        depth -= 1
        if info != _INDEFINITE:
            return [self.item(depth) for _ in range(self.length(info))]
        found = []
        while not self.at_break():
            found.append(self.item(depth))
        return found

    def map(self, info: int, depth: int) -> dict[object, object]:
        depth -= 1
        found: dict[object, object] = {}
        if info != _INDEFINITE:
            for _ in range(self.length(info)):
                self.pair(found, depth)
            return found
        while not self.at_break():
            self.pair(found, depth)
        return found

    def pair(self, found: dict[object, object], depth: int) -> None:
        key = self.item(depth)
        if not isinstance(key, _KEYS):
            raise _bad("a map's key is neither text, a number, true, false nor null")
        found[key] = self.item(depth)

    def tag(self, info: int, depth: int) -> Tag:
        return Tag(self.argument(info), self.item(depth - 1))

    def simple(self, info: int, _depth: int) -> object:
        if info in _FLOATS:
            form = _FLOATS[info]
            (value,) = form.unpack_from(self.data, self.position)
            self.position += form.size
            return value
        number = self.argument(info)
        if info == 24 and number < 32:
            raise _bad(f"simple value {number} takes one byte, not two")
        return _SIMPLE.get(number)


_BY_MAJOR_TYPE: Final[tuple[Callable[[_Reader, int, int], object], ...]] = (
    _Reader.unsigned,
    _Reader.negative,
    _Reader.bytes,
    _Reader.text,
    _Reader.array,
    _Reader.map,
    _Reader.tag,
    _Reader.simple,
)
