"""Messages that broken, mistaken or malicious senders put on the wire.

`HOSTILE` is for every test that claims to survive bad messages: a decoder may answer each with
an event, or BadMessageError; a frame's payload may decode, or raise PayloadError. Nothing else.
"""

import functools
import json
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cbor2
import imagecodecs
import numpy as np

from tests.wire import messages

Parts = tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostileCase:
    """One message; every one has at least one part, so that a socket can carry it."""

    name: str
    protocol: str
    build: Callable[[], Parts]

    def __str__(self) -> str:
        return f"{self.protocol} {self.name}"


NOT_COUNTS: tuple[object, ...] = (
    *(None, True, -1, 1.5, 1.0, float("nan"), float("inf"), 2**53, 2**64 - 1, -(2**63)),
    *("1", "", [], [1], {}, {"a": 1}),
)
BAD_SHAPES: tuple[object, ...] = (
    *(None, 5, "48x67", {}, [], [48], [1, 2, 3, 4], [0, 67], [48, -67], [48.0, 67.0]),
    *([True, 67], ["48", "67"], [[48], [67]], [None, None], [2**31, 2**31], [2**62, 4]),
    *([48, 66], [67, 48], [4800, 6700], [40_000, 50_000], [1, 1]),
)
BAD_TYPES: tuple[object, ...] = (None, "", "complex64", "object", "uint24", ">u2", 16, [], {})
NESTED_JSON = b'{"a":' * 50_000

ZERO_BLOCKS = 50 * (struct.pack(">I", 12) + bytes(12))
BOMB = struct.pack(">QI", 2**31 * 2, 8192) + ZERO_BLOCKS
"""Bitshuffled LZ4 that says it holds 4 GiB; BOMB_SHAPE goes with it."""
BOMB_SHAPE = [2**16, 2**15]


def edited(part: bytes, **fields: object) -> bytes:
    """A JSON part with fields replaced."""
    return json.dumps({**json.loads(part), **fields}).encode()


def without(part: bytes, key: str) -> bytes:
    """A JSON part with a field removed."""
    return json.dumps({k: v for k, v in json.loads(part).items() if k != key}).encode()


def every_value(part: bytes, value: object) -> bytes:
    """A JSON part with all its values replaced."""
    return json.dumps(dict.fromkeys(json.loads(part), value)).encode()


def every_protocol(protocol: str) -> Iterator[tuple[str, Parts]]:
    """Damage that needs no knowledge of a format."""
    good = messages.frame(protocol)
    rng = np.random.default_rng(11)
    yield "one empty part", (b"",)
    yield "many empty parts", (b"",) * 10
    yield "a thousand parts", good[:1] * 1000
    yield "random bytes", (rng.bytes(1000),)
    yield "random bytes in every part", tuple(rng.bytes(len(part)) for part in good)
    yield "zeros in every part", tuple(bytes(len(part)) for part in good)
    yield "ones in every part", tuple(b"\xff" * len(part) for part in good)
    yield "text", (b"hello",)
    yield "HTTP", (b"GET / HTTP/1.1\r\n\r\n",)
    yield "reversed parts", good[::-1]
    yield "twice the parts", good + good
    yield "an extra part", (*good, b"appendix")
    yield "all parts joined", (b"".join(good),)
    yield "deep JSON", (NESTED_JSON, *good[1:])
    yield "deep CBOR", (b"\x81" * 100_000, *good[1:])
    yield "deep CBOR tags", (b"\xc1" * 100_000, *good[1:])
    yield "large JSON", (b'{"a":"' + b"x" * (2 << 20) + b'"}', *good[1:])
    yield "many CBOR items", (b"\x9a\x00\x0f\x42\x40" + bytes(1_000_000),)
    for index, part in enumerate(good):
        yield f"without part {index}", (good[:index] + good[index + 1 :]) or (b"",)
        yield f"part {index} empty", (*good[:index], b"", *good[index + 1 :])
        for at in sorted({1, 2, 9, 40, len(part) // 2, len(part) - 9, len(part) - 1}):
            yield f"part {index} cut at {at}", (*good[:index], part[:at], *good[index + 1 :])
    for other in ("dectris-v1", "dectris-v2", "array-1.0"):
        if other != protocol:
            yield f"a message of {other}", messages.frame(other)


def dectris_v1() -> Iterator[tuple[str, Parts]]:
    head, about, blob, times = messages.frame("dectris-v1")
    for key in ("series", "frame", "htype"):
        yield f"no {key}", (without(head, key), about, blob, times)
    for value in NOT_COUNTS:
        yield f"frame {value}", (edited(head, frame=value), about, blob, times)
        yield f"series {value}", (edited(head, series=value), about, blob, times)
        yield f"htype {value}", (edited(head, htype=value), about, blob, times)
        yield f"end {value}", (edited(messages.end("dectris-v1")[0], series=value),)
    for value in ([1], "x", 1, None):
        yield f"head is {value}", (json.dumps(value).encode(), about, blob, times)
        yield f"about is {value}", (head, json.dumps(value).encode(), blob, times)
    yield "digits without end", (b'{"series":' + b"9" * 10_000 + b"}", about, blob)
    yield "half a surrogate", (edited(head, htype="\ud800"),)
    yield "UTF-16", (head.decode().encode("utf-16"), about, blob, times)
    for value in BAD_SHAPES:
        yield f"shape {value}", (head, edited(about, shape=value), blob, times)
    for value in BAD_TYPES:
        yield f"type {value}", (head, edited(about, type=value), blob, times)
    names: tuple[object, ...] = (
        None,
        1,
        [],
        "",
        "<",
        ">",
        "lz4<",
        "lz4>",
        "bs16-lz4>",
        "bs8-lz4<",
        "bs32-lz4<",
    )
    for name in names:
        yield f"encoding {name}", (head, edited(about, encoding=name), blob, times)
    yield "unknown encoding", (head, edited(about, encoding="jpeg<"), blob, times)
    yield "bomb", (head, edited(about, shape=BOMB_SHAPE), BOMB, times)
    yield "LZ4 bomb", (head, edited(about, shape=BOMB_SHAPE, encoding="lz4<"), BOMB, times)

    parts = messages.start("dectris-v1")
    heads, config, mask = parts[0], parts[1], parts[4]
    yield "start of no series", (without(heads, "series"), *parts[1:])
    yield "start without blobs", parts[:5]
    yield "config is a list", (heads, b"[]")
    yield "config is cut", (heads, config[:-5], *parts[2:])
    yield "config of nonsense", (heads, every_value(config, []))
    yield "config of NaN", (heads, every_value(config, np.nan))
    yield "config of huge numbers", (heads, every_value(config, 10**400), *parts[2:])
    yield "config of largest counts", (heads, every_value(config, 2**53 - 1), *parts[2:])
    yield "config without header", (config,)
    yield "mask cut", (*parts[:5], parts[5][:-1], *parts[6:])
    yield "mask's head cut", (*parts[:4], mask[:-1], *parts[5:])
    for value in BAD_SHAPES:
        yield f"mask shape {value}", (*parts[:4], edited(mask, shape=value), *parts[5:])
    for value in BAD_TYPES:
        yield f"mask type {value}", (*parts[:4], edited(mask, type=value), *parts[5:])


def v2_message(parts: Parts) -> dict[str, Any]:
    """A message's map with its tags as cbor2 reads them."""
    return dict(cbor2.loads(parts[0]))


def v2_array(dims: object, tag: int, content: object) -> cbor2.CBORTag:
    return cbor2.CBORTag(40, [dims, cbor2.CBORTag(tag, content)])


def dectris_v2() -> Iterator[tuple[str, Parts]]:
    image, begin = (
        v2_message(messages.frame("dectris-v2")),
        v2_message(messages.start("dectris-v2")),
    )
    (array,) = image["data"].values()
    typed = array.value[1]
    packed = list(typed.value.value)

    def sent(base: dict[str, Any], **fields: object) -> Parts:
        return (cbor2.dumps({**base, **fields}),)

    def data(value: object) -> Parts:
        return sent(image, data={"threshold_1": value})

    for key in ("type", "series_id", "image_id", "data"):
        yield f"no {key}", (cbor2.dumps({k: v for k, v in image.items() if k != key}),)
    for value in NOT_COUNTS:
        yield f"image_id {value}", sent(image, image_id=value)
        yield f"series_id {value}", sent(image, series_id=value)
        yield f"type {value}", sent(image, type=value)
        yield f"data {value}", sent(image, data=value)
        yield f"array {value}", data(value)
        yield f"start of series {value}", sent(begin, series_id=value)
        yield f"end of series {value}", sent({"type": "end"}, series_id=value)
        yield f"mask {value}", sent(begin, pixel_mask=value)
        yield f"mask array {value}", sent(begin, pixel_mask={"threshold_1": value})
        filled: dict[str, Any] = dict.fromkeys(begin, value)
        yield f"start of {value}", sent(filled, type="start", series_id=1)
        yield f"compressed {value}", data(v2_array([48, 67], 69, cbor2.CBORTag(56500, value)))
    for value in BAD_SHAPES:
        yield f"dims {value}", data(v2_array(value, 69, typed.value))
        yield f"raw dims {value}", data(v2_array(value, 69, bytes(100)))
        yield f"mask dims {value}", sent(begin, pixel_mask={"a": v2_array(value, 70, bytes(99))})
    for tag in (0, 2, 65, 68, 70, 83, 1040, 55799):
        yield f"tag {tag}", data(v2_array([48, 67], tag, typed.value))
    for change in (
        ("gzip", *packed[1:]),
        ("bslz4", 4, packed[2]),
        ("lz4", 2, packed[2]),
        packed[:2],
    ):
        name = f"compression {change[:2]} of {len(change)}"
        yield name, data(v2_array([48, 67], 69, cbor2.CBORTag(56500, list(change))))
    for blob in (b"", b"x", "text", 5, [packed[2]]):
        content = cbor2.CBORTag(56500, ["bslz4", 2, blob])
        yield f"compressed blob {blob!r:.10}", data(v2_array([48, 67], 69, content))
    for algorithm in ("bslz4", "lz4", "bszstd"):
        content = cbor2.CBORTag(56500, [algorithm, 2, BOMB])
        yield f"{algorithm} bomb", data(v2_array(BOMB_SHAPE, 69, content))
        mask = {"threshold_1": v2_array(BOMB_SHAPE, 69, content)}
        sides = {"image_size_x": BOMB_SHAPE[1], "image_size_y": BOMB_SHAPE[0]}
        yield f"{algorithm} bomb as mask", sent(begin, pixel_mask=mask, **sides)
    blank = bytes(imagecodecs.zstd_encode(bytes(2**17)))
    blocks = struct.pack(">QI", 2**30, 2**17) + (struct.pack(">I", len(blank)) + blank) * 2**13
    content = cbor2.CBORTag(56500, ["bszstd", 4, blocks])
    mask = {"threshold_1": v2_array([2**14, 2**14], 70, content)}
    sides = {"image_size_x": 2**14, "image_size_y": 2**14}
    yield "a mask of 1 GiB in 209 KiB", sent(begin, pixel_mask=mask, **sides)
    keyed: dict[Any, Any] = {(1, 2): 3, **image}
    yield "a list as a key", (cbor2.dumps(keyed),)
    yield "self-described twice", (cbor2.dumps(cbor2.CBORTag(55799, cbor2.CBORTag(55799, image))),)
    yield "not UTF-8", (b"\xa1\x64type\x63\xff\xff\xff",)
    yield "a length of 2^64", (b"\xa1\x64type\x5b" + b"\xff" * 8,)
    yield "bytes after the message", (messages.frame("dectris-v2")[0] + b"\x00",)
    yield "two messages in one part", messages.frame("dectris-v2") * 2


def array1() -> Iterator[tuple[str, Parts]]:
    head, blob = messages.frame("array-1.0")
    for key in ("frame", "htype", "shape", "type"):
        yield f"no {key}", (without(head, key), blob)
    for value in NOT_COUNTS:
        yield f"frame {value}", (edited(head, frame=value), blob)
        yield f"pulse_id {value}", (edited(without(head, "frame"), pulse_id=value), blob)
        yield f"source {value}", (edited(head, source=value), blob)
        yield f"htype {value}", (edited(head, htype=value), blob)
        yield f"htype list of {value}", (edited(head, htype=[value]), blob)
    yield "half a surrogate as source", (edited(head, source="\ud800"), blob)
    yield "a source of 10000 letters", (edited(head, source="a" * 10_000), blob)
    for value in BAD_SHAPES:
        yield f"shape {value}", (edited(head, shape=value), blob)
    for value in BAD_TYPES:
        yield f"type {value}", (edited(head, type=value), blob)
    yield "a blob that is too long", (head, blob * 2)


def _cases() -> Iterator[HostileCase]:
    own = {"dectris-v1": dectris_v1, "dectris-v2": dectris_v2, "array-1.0": array1}
    for protocol, cases in own.items():
        for name, parts in (*every_protocol(protocol), *cases()):
            build = functools.partial(tuple[bytes, ...], parts)
            yield HostileCase(name=name, protocol=protocol, build=build)


HOSTILE: Sequence[HostileCase] = tuple(_cases())
