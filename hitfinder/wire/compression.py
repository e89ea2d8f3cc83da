"""The codec table: how encoded pixels become an array, whole or a band of rows, and back.

    raw        little-endian pixels, nothing else
    lz4        one LZ4 block without a header (stream v1 `lz4<`): a band costs the whole frame
    lz4-hdf5   12-byte header, blocks of bytes; a block as long as its pixels is stored as it is
    bslz4      the same header, each block bitshuffled by itself, then LZ4; a tail of fewer than
               8 elements follows raw; no block is ever stored as it is
    bszstd     bslz4 with Zstandard in LZ4's place

The header is `>Q` bytes of pixels, `>I` bytes a block; each block follows a `>I` with its own
compressed length. A band touches only its own blocks, apart from the walk along the lengths.

One call of the HDF5-LZ4 decoder takes many blocks of a band (its framing is the same once a
header with their size stands before them): several times faster than a call a block.

What this file does not know: which message an array came from, and whether its pixels make
sense. Every failure to decode is a PayloadError; memory stays within the message's size times
the best ratio its compression can reach, whatever the headers claim.
"""

import struct
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, repeat
from typing import Any, Final

import imagecodecs
import numpy as np
from imagecodecs import BitshuffleError, Lz4Error, Lz4h5Error, ZstdError
from numpy.typing import NDArray

from hitfinder.errors import PayloadError
from hitfinder.frame import BROKEN, Decode, Decoded, Part, Payload, decode_raw

Bytes = NDArray[np.uint8]
Call = Callable[..., Any]

# The library takes and fills any contiguous buffer; its own annotations name only some.
_shuffle_blocks: Call = imagecodecs.bitshuffle_encode
_unshuffle_blocks: Call = imagecodecs.bitshuffle_decode
_lz4_decode: Call = imagecodecs.lz4_decode
_lz4_encode: Call = imagecodecs.lz4_encode
_lz4h5_decode: Call = imagecodecs.lz4h5_decode
_lz4h5_encode: Call = imagecodecs.lz4h5_encode
_zstd_decode: Call = imagecodecs.zstd_decode
_zstd_encode: Call = imagecodecs.zstd_encode

BLOCK_BYTES: Final = 8192
"""Pixels in a block, in bytes: what every known sender uses, and what a header's 0 stands for."""

_CACHED_BYTES: Final = 2**20
"""Shuffled pixels at a time: decoding 1750 x 1750 pixels of 32 bits takes a fifth less time than
at once."""

_HEADER = struct.Struct(">QI")
_LENGTH = struct.Struct(">I")
_ITEM_BYTES: Final = (1, 2, 4, 8)
_LZ4_RATIO: Final = 255  # one more byte of a match length stands for at most 255 bytes
_ZSTD_RATIO: Final = 1 << 15  # a 4-byte run-length block stands for at most 128 KiB
_LZ4_MAX_BYTES: Final = 0x7E000000  # LZ4's own limit for one block
_CODEC_ERRORS: Final = (BitshuffleError, Lz4Error, Lz4h5Error, ZstdError)


def _lz4_blocks(data: Part, starts: list[int], block: int, out: Bytes) -> None:
    """Blocks of HDF5's LZ4 framing into `out`; `starts` are their length words, then the end."""
    chunk = b"".join((_HEADER.pack(len(out), block), data[starts[0] : starts[-1]]))
    done = len(_lz4h5_decode(chunk, out=out))
    if done != len(out):
        raise PayloadError(f"LZ4 blocks hold {done} bytes of pixels where {len(out)} are due")


def _lz4_shuffled_blocks(data: Part, starts: list[int], block: int, out: Bytes) -> None:
    """As `_lz4_blocks`, but no block is stored: one as long as its pixels is decoded again,
    because HDF5's decoder has merely copied it.
    """
    _lz4_blocks(data, starts, block, out)
    for index in _stored(starts, block, len(out)):
        _one_block(_lz4_decode, data[starts[index] + 4 : starts[index + 1]], out, index, block)


def _zstd_blocks(data: Part, starts: list[int], block: int, out: Bytes) -> None:
    for index in range(len(starts) - 1):
        _one_block(_zstd_decode, data[starts[index] + 4 : starts[index + 1]], out, index, block)


def _one_block(decode: Call, data: Part, out: Bytes, index: int, block: int) -> None:
    place = out[index * block : (index + 1) * block]
    done = len(decode(data, out=place))
    if done != len(place):
        raise PayloadError(f"a block holds {done} bytes of pixels where {len(place)} are due")


def _stored(starts: list[int], block: int, size: int) -> list[int]:
    """Blocks whose compressed length is their pixels' own; `size` bytes of pixels in all."""
    last = len(starts) - 2
    whole = [i for i in range(last) if starts[i + 1] - starts[i] == block + 4]
    rest = size - last * block
    return [*whole, last] if starts[last + 1] - starts[last] == rest + 4 else whole


@dataclass(frozen=True, slots=True, kw_only=True)
class _Blocks:
    """`Decode` for pixels in blocks; the three framings differ in these fields."""

    shuffled: bool
    ratio: int
    expand: Callable[[Part, list[int], int, Bytes], None]

    def __call__(self, payload: Payload, cuts: Sequence[int]) -> Iterator[NDArray[Any]]:
        """One walk along the lengths for all bands. A block that two of them share is decoded for
        each, unless it is kept.
        """
        data, decoded, item = payload.data, payload.decoded, payload.dtype.itemsize
        block, body, tail = self._layout(data, item, payload.size * item)
        passed = min(cuts[0] * item, body) // block
        starts = _walk(data, passed, -(-min(cuts[-1] * item, body) // block))
        for start, stop in pairwise(cuts):
            first = min(start * item, body) // block
            last = -(-min(stop * item, body) // block)
            begin, end = first * block, min(last * block, body)
            its = starts[first - passed : last - passed + 1]
            more = tail if stop * item > body else 0
            if decoded is None:
                out, missing = np.empty(end - begin + more, np.uint8), [(begin, end)]
            else:
                out = decoded.room(body + tail)[begin : end + more]
                missing = decoded.missing(begin, end)
            for low, high in missing:
                part = its[low // block - first : -(-high // block) - first + 1]
                self._decode(data, part, item, block, out[low - begin : high - begin])
            if decoded is not None:
                decoded.add(begin, end)
            if more:
                out[end - begin :] = _exactly(data, its[-1], more)
            yield np.frombuffer(out.data, payload.dtype, stop - start, start * item - begin)

    def _decode(self, data: Part, starts: list[int], item: int, block: int, out: Bytes) -> None:
        """The bytes in blocks that start where said."""
        try:
            if self.shuffled:
                self._unshuffled(data, starts, item, block, out)
            elif len(out):
                self.expand(data, starts, block, out)
        except _CODEC_ERRORS as error:
            raise PayloadError(f"compressed pixels are corrupt: {error}") from error

    def _unshuffled(
        self, data: Part, starts: list[int], item: int, block: int, pixels: Bytes
    ) -> None:
        """Shuffled blocks into `pixels`, some at a time: they stay in the cache between the two
        steps.
        """
        some = max(1, _CACHED_BYTES // block)
        shuffled = np.empty(min(some * block, len(pixels)), np.uint8)
        for first in range(0, len(starts) - 1, some):
            out = pixels[first * block : (first + some) * block]
            part = shuffled[: len(out)]
            self.expand(data, starts[first : first + some + 1], block, part)
            _unshuffle_blocks(
                part.view(f"u{item}"), blocksize=block // item, out=out.view(f"u{item}")
            )

    def _layout(self, data: Part, item: int, nbytes: int) -> tuple[int, int, int]:
        """Bytes of pixels in a block, in all blocks, and in the raw tail."""
        if len(data) < _HEADER.size:
            raise PayloadError(f"{len(data)} bytes are too few for a compression header")
        said, block = _HEADER.unpack_from(data)
        if said != nbytes:
            raise PayloadError(
                f"the compression header says {said} bytes of pixels where shape and dtype "
                f"need {nbytes}; check the sender's shape and dtype"
            )
        if len(data) * self.ratio < nbytes:  # before memory is taken
            raise PayloadError(f"{len(data)} compressed bytes cannot hold {nbytes}")
        unit = 8 * item if self.shuffled else 1
        block = block or BLOCK_BYTES
        if item not in _ITEM_BYTES or block % unit:
            raise PayloadError(f"blocks of {block} bytes cannot hold elements of {item} bytes")
        tail = nbytes % unit
        return min(block, max(nbytes - tail, unit)), nbytes - tail, tail


def _walk(data: Part, first: int, last: int) -> list[int]:
    """Where the length words of blocks [first, last) stand, and where the last block ends.

    A frame has hundreds of blocks before its middle: those are only passed, in a loop of its own,
    because noting their places would make it a sixth slower.
    """
    position = _HEADER.size
    unpack = _LENGTH.unpack_from
    starts: list[int] = []
    try:
        for _ in repeat(None, first):
            (length,) = unpack(data, position)
            position += length + 4
        starts.append(position)
        for _ in repeat(None, last - first):
            (length,) = unpack(data, position)
            position += length + 4
            starts.append(position)
    except struct.error as error:
        raise PayloadError(f"compressed pixels end before block {last}") from error
    if position > len(data):
        raise PayloadError(f"compressed pixels end inside block {last}")
    return starts


def _exactly(data: Part, start: int, count: int) -> Bytes:
    if len(data) - start < count:
        raise PayloadError(f"compressed pixels end inside their raw tail of {count} bytes")
    return np.frombuffer(data, np.uint8, count, start)


def _decode_lz4(payload: Payload, cuts: Sequence[int]) -> Iterator[NDArray[Any]]:
    """`Decode` for one LZ4 block: all of it is decoded, because LZ4 only runs from its start."""
    data, nbytes = payload.data, payload.size * payload.dtype.itemsize
    if nbytes > min(_LZ4_MAX_BYTES, len(data) * _LZ4_RATIO):
        raise PayloadError(f"{len(data)} bytes of LZ4 cannot hold {nbytes} bytes of pixels")
    decoded = payload.decoded or Decoded()
    out = decoded.room(nbytes)
    if decoded.missing(0, nbytes):
        try:
            done = len(_lz4_decode(data, out=out))
        except Lz4Error as error:
            raise PayloadError(f"compressed pixels are corrupt: {error}") from error
        if done != nbytes:
            raise PayloadError(f"LZ4 holds {done} bytes of pixels where {nbytes} are due")
        decoded.add(0, nbytes)
    for start, stop in pairwise(cuts):
        yield out.view(payload.dtype)[start:stop]


def _encode_raw(pixels: NDArray[Any]) -> Part:
    return _flat(pixels).view(np.uint8).data


def _encode_lz4(pixels: NDArray[Any]) -> Part:
    if pixels.nbytes > _LZ4_MAX_BYTES:
        raise PayloadError(f"{pixels.nbytes} bytes are too many for one LZ4 block; use bslz4")
    return bytes(_lz4_encode(_flat(pixels).view(np.uint8)))


def _encode_lz4_hdf5(pixels: NDArray[Any]) -> Part:
    return bytes(_lz4h5_encode(_flat(pixels).view(np.uint8), blocksize=BLOCK_BYTES))


def _encode_bslz4(pixels: NDArray[Any]) -> Part:
    """One call compresses all blocks; those it stored as they are get compressed again."""
    shuffled, tail = _shuffle(_flat(pixels))
    header = _HEADER.pack(pixels.nbytes, BLOCK_BYTES)
    if not shuffled.size:
        return header + tail
    coded = memoryview(_lz4h5_encode(shuffled, blocksize=BLOCK_BYTES))
    starts = _walk(coded, 0, -(-shuffled.size // BLOCK_BYTES))
    pieces: list[Part] = [header]
    done = _HEADER.size
    for index in _stored(starts, BLOCK_BYTES, shuffled.size):
        block = _lz4_encode(shuffled[index * BLOCK_BYTES : (index + 1) * BLOCK_BYTES])
        pieces += [coded[done : starts[index]], _LENGTH.pack(len(block)), block]
        done = starts[index + 1]
    return b"".join((*pieces, coded[done:], tail))


def _encode_bszstd(pixels: NDArray[Any]) -> Part:
    shuffled, tail = _shuffle(_flat(pixels))
    pieces = [_HEADER.pack(pixels.nbytes, BLOCK_BYTES)]
    for start in range(0, shuffled.size, BLOCK_BYTES):
        block = bytes(_zstd_encode(shuffled[start : start + BLOCK_BYTES]))
        pieces += [_LENGTH.pack(len(block)), block]
    return b"".join((*pieces, tail))


def _shuffle(flat: NDArray[Any]) -> tuple[Bytes, bytes]:
    """Bitshuffled blocks one after another, and the tail that is no multiple of 8 elements."""
    item = flat.itemsize
    if item not in _ITEM_BYTES:
        raise PayloadError(f"elements of {item} bytes cannot be bitshuffled; use raw or lz4")
    body = flat[: flat.size - flat.size % 8].view(f"u{item}")
    tail = flat[body.size :].tobytes()
    if not body.size:
        return np.empty(0, np.uint8), tail
    return _shuffle_blocks(body, blocksize=BLOCK_BYTES // item).view(np.uint8), tail


def _flat(pixels: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(pixels).reshape(-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """One row of the table. `encode` takes pixels of any shape in their wire's byte order and
    raises PayloadError where the encoding cannot hold them.
    """

    decode: Decode
    encode: Callable[[NDArray[Any]], Part]


_LZ4_HDF5 = _Blocks(shuffled=False, ratio=_LZ4_RATIO, expand=_lz4_blocks)
_BSLZ4 = _Blocks(shuffled=True, ratio=_LZ4_RATIO, expand=_lz4_shuffled_blocks)
_BSZSTD = _Blocks(shuffled=True, ratio=_ZSTD_RATIO, expand=_zstd_blocks)

CODECS: Final[Mapping[str, Codec]] = {
    "raw": Codec(decode=decode_raw, encode=_encode_raw),
    "lz4": Codec(decode=_decode_lz4, encode=_encode_lz4),
    "lz4-hdf5": Codec(decode=_LZ4_HDF5, encode=_encode_lz4_hdf5),
    "bslz4": Codec(decode=_BSLZ4, encode=_encode_bslz4),
    "bszstd": Codec(decode=_BSZSTD, encode=_encode_bszstd),
}


def encoded_payload(
    data: Part, *, dtype: np.dtype[Any], shape: tuple[int, ...], encoding: str
) -> Payload:
    """A payload whose pixels `CODECS[encoding]` decodes."""
    decode = CODECS[encoding].decode
    return Payload(data=data, dtype=dtype, shape=shape, encoding=encoding, decode=decode)


def recoded(payload: Payload, *, carried: Container[str], encoding: str) -> Payload:
    """The payload as a protocol can send it: itself where `carried` has its encoding and its
    byte order is little-endian, else its pixels in `encoding`. Raises PayloadError.
    """
    dtype = payload.dtype.newbyteorder("<")
    if payload.encoding in carried and payload.dtype == dtype:
        return payload
    data = CODECS[encoding].encode(payload.whole().astype(dtype, copy=False))
    return encoded_payload(data, dtype=dtype, shape=payload.shape, encoding=encoding)


def broken_payload(reason: str) -> Payload:
    """A payload for a frame that can be named but not read: decoding it raises PayloadError
    with `reason`, so that the frame goes on unjudged and is counted. Its encoding, BROKEN, is no
    key of CODECS, so that no encoder passes it on as pixels.
    """

    def decode(payload: Payload, cuts: Sequence[int]) -> Iterator[NDArray[Any]]:
        raise PayloadError(reason)

    return Payload(data=b"", dtype=np.dtype(np.uint8), shape=(1, 1), encoding=BROKEN, decode=decode)
