"""The codec table against HDF5 and bitshuffle, whole and in bands, and payloads that lie."""

import struct
import tracemalloc
from itertools import pairwise
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitfinder.errors import PayloadError
from hitfinder.frame import Payload, array_payload
from hitfinder.wire import compression
from hitfinder.wire.compression import (
    BLOCK_BYTES,
    CODECS,
    broken_payload,
    encoded_payload,
    recoded,
)
from tests.wire.oracle import noise, oracle, pixels

COMPRESSED = sorted(set(CODECS) - {"raw"})
BLOCKED = ["lz4-hdf5", "bslz4", "bszstd"]
SHAPES = [
    (1, 1),
    (1, 7),
    (2, 4),
    (3, 3),
    (1, 4096),
    (64, 64),
    (101, 103),
    (2, 65, 67),
    (130, 517),
]


def encode(frame: np.ndarray[Any, Any], encoding: str) -> Payload:
    data = CODECS[encoding].encode(frame)
    return encoded_payload(data, dtype=frame.dtype, shape=frame.shape, encoding=encoding)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["u1", "<u2", "<u4", "<u8", "<i4", "<f4", "<f8"])
@pytest.mark.parametrize("encoding", CODECS)
@pytest.mark.parametrize("make", [pixels, noise])
def test_encoded_pixels_are_read_alike_by_us_and_by_hdf5(
    make: Any, encoding: str, dtype: str, shape: tuple[int, ...]
) -> None:
    frame = make(dtype, shape)
    payload = encode(frame, encoding)

    found = payload.whole()
    assert found.dtype == frame.dtype
    assert found.tobytes() == frame.tobytes()
    assert oracle(payload.data, encoding, frame.dtype, shape).tobytes() == frame.tobytes()


@pytest.mark.parametrize("encoding", CODECS)
@pytest.mark.parametrize("dtype", ["u1", "<u2", "<u4"])
@pytest.mark.parametrize("make", [pixels, noise])
@pytest.mark.parametrize("at_once", [2 * BLOCK_BYTES + 5, 2**20])
def test_any_band_is_the_frame_s_own_rows(
    at_once: int, make: Any, dtype: str, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "_CACHED_BYTES", at_once)
    frame = make(dtype, (131, 257))  # 33667 pixels: a tail of 3, a partial block before it
    payload = encode(frame, encoding)

    edges = (0, 1, 7, 31, 32, 63, 64, 128, 130, 131)
    for start in edges:
        for stop in edges:
            if start <= stop:
                band = payload.rows(start, stop)
                assert band.shape == (stop - start, 257)
                assert band.tobytes() == frame[start:stop].tobytes()


@pytest.mark.parametrize("encoding", CODECS)
@pytest.mark.parametrize("dtype", ["u1", "<u2", "<u4"])
def test_bands_one_after_another_are_the_frame_s_rows(dtype: str, encoding: str) -> None:
    frame = noise(dtype, (131, 257))
    payload = encode(frame, encoding)
    for cuts in ((0, 131), (0, 40, 40, 77, 131), (5, 6, 130)):
        bands = list(payload.bands(cuts))
        assert [len(band) for band in bands] == np.diff(cuts).tolist()
        assert np.array_equal(np.concatenate(bands), frame[cuts[0] : cuts[-1]])
    for cuts in ((-1, 5), (0, 132)):
        with pytest.raises(PayloadError, match="outside"):
            list(payload.bands(cuts))


@given(
    encoding=st.sampled_from(sorted(CODECS)),
    dtype=st.sampled_from(["u1", "<u2", "<u4"]),
    reads=st.lists(st.lists(st.integers(0, 131), min_size=2, max_size=4).map(sorted), max_size=4),
)
def test_what_was_read_before_changes_nothing(
    encoding: str, dtype: str, reads: list[list[int]]
) -> None:
    frame = noise(dtype, (131, 257))
    payload = encode(frame, encoding).remembering()
    for cuts in reads:
        bands = payload.bands(cuts)
        for (start, stop), band in zip(pairwise(cuts), bands, strict=True):
            assert band.tobytes() == frame[start:stop].tobytes()


@pytest.mark.parametrize("dtype", ["u1", "<u2", "<u4"])
@pytest.mark.parametrize("encoding", ["lz4", *BLOCKED])
def test_what_was_decoded_is_not_decoded_again(encoding: str, dtype: str) -> None:
    frame = pixels(dtype, (400, 513))
    data = bytearray(encode(frame, encoding).data)
    payload = encoded_payload(
        memoryview(data), dtype=frame.dtype, shape=frame.shape, encoding=encoding
    ).remembering()
    again = payload.remembering()
    for start, stop in ((150, 200), (100, 160), (120, 300)):
        assert np.array_equal(payload.rows(start, stop), frame[start:stop])
    for block in blocks_between(data, encoding, frame[:100].nbytes, frame[:300].nbytes):
        data[block] = b"\xff" * len(data[block])
    assert np.array_equal(payload.whole(), frame)
    with pytest.raises(PayloadError):
        again.whole()


def blocks_between(data: bytearray, encoding: str, start: int, stop: int) -> list[slice]:
    """Where the blocks lie that hold bytes of pixels in [start, stop) only."""
    if encoding == "lz4":
        return [slice(0, len(data))]
    found, at = [], 12
    for pixel_byte in range(0, stop - BLOCK_BYTES, BLOCK_BYTES):
        (length,) = struct.unpack_from(">I", data, at)
        if pixel_byte >= start:
            found.append(slice(at + 4, at + 4 + length))
        at += 4 + length
    return found


def damaged_at_the_end(encoding: str) -> tuple[np.ndarray[Any, Any], Payload]:
    """A frame (400, 512), and a payload of it whose last blocks are spoilt."""
    frame = pixels("<u2", (400, 512))
    data = bytearray(encode(frame, encoding).data)
    data[-400:] = bytes(400)
    payload = encoded_payload(bytes(data), dtype=frame.dtype, shape=frame.shape, encoding=encoding)
    return frame, payload


@pytest.mark.parametrize("encoding", BLOCKED)
def test_damage_that_was_met_is_met_again(encoding: str) -> None:
    frame, damaged = damaged_at_the_end(encoding)
    payload = damaged.remembering()
    assert np.array_equal(payload.rows(100, 200), frame[100:200])
    for _ in range(2):
        with pytest.raises(PayloadError):
            payload.whole()
    assert np.array_equal(payload.rows(50, 200), frame[50:200])


@pytest.mark.parametrize("encoding", BLOCKED)
def test_bands_come_one_by_one_until_the_damage(encoding: str) -> None:
    frame, damaged = damaged_at_the_end(encoding)
    bands = damaged.bands((0, 100, 200, 400))
    assert np.array_equal(next(bands), frame[:100])
    assert np.array_equal(next(bands), frame[100:200])
    with pytest.raises(PayloadError):
        next(bands)


@pytest.mark.parametrize("encoding", BLOCKED)
def test_a_band_survives_damage_outside_its_blocks(encoding: str) -> None:
    frame, damaged = damaged_at_the_end(encoding)
    assert np.array_equal(damaged.rows(100, 200), frame[100:200])
    with pytest.raises(PayloadError):
        damaged.whole()


def test_a_block_as_long_as_its_pixels_is_still_lz4_in_bslz4() -> None:
    """HDF5's own LZ4 framing would take it for a stored block."""
    rng = np.random.default_rng(1)
    lengths = set()
    for zeros in range(20, 80):  # noise with just enough zeros to win back what LZ4 adds
        shuffled = rng.integers(0, 256, BLOCK_BYTES, np.uint8)
        shuffled[4000 : 4000 + zeros] = 0
        block = bytes(imagecodecs.lz4_encode(shuffled.tobytes()))
        lengths.add(len(block))
        if len(block) != BLOCK_BYTES:
            continue
        expected = imagecodecs.bitshuffle_decode(shuffled.view("<u2"), blocksize=4096)
        body = struct.pack(">I", len(block)) + block
        data = struct.pack(">QI", 3 * BLOCK_BYTES, BLOCK_BYTES) + 3 * body
        shape = (3, BLOCK_BYTES // 2)
        payload = encoded_payload(data, dtype=np.dtype("<u2"), shape=shape, encoding="bslz4")
        assert np.array_equal(payload.whole(), np.stack([expected] * 3))
        assert np.array_equal(payload.rows(1, 2)[0], expected)
        assert np.array_equal(oracle(data, "bslz4", np.dtype("<u2"), shape), payload.whole())
        return
    pytest.fail(f"no block of {BLOCK_BYTES} bytes among lengths {sorted(lengths)}")


def test_noise_is_read_by_the_bitshuffle_package_too() -> None:
    bitshuffle = pytest.importorskip("bitshuffle")
    frame = noise("<u2", (131, 257))
    data = np.frombuffer(encode(frame, "bslz4").data, np.uint8)[12:]
    found = bitshuffle.decompress_lz4(data, (frame.size,), frame.dtype, BLOCK_BYTES // 2)
    assert np.array_equal(found.reshape(frame.shape), frame)


@pytest.mark.parametrize("block", [64, 1024, 4096, 1 << 20])
def test_other_block_sizes(block: int) -> None:
    bitshuffle = pytest.importorskip("bitshuffle")
    frame = pixels("<u2", (131, 257))
    data = bitshuffle.compress_lz4(frame, block // 2).tobytes()
    head = struct.pack(">QI", frame.nbytes, block)
    payload = encoded_payload(head + data, dtype=frame.dtype, shape=frame.shape, encoding="bslz4")
    assert np.array_equal(payload.whole(), frame)
    assert np.array_equal(payload.rows(50, 77), frame[50:77])


def test_block_size_zero_means_the_default() -> None:
    frame = pixels("<u2", (131, 257))
    data = bytearray(encode(frame, "bslz4").data)
    data[8:12] = bytes(4)
    payload = encoded_payload(bytes(data), dtype=frame.dtype, shape=frame.shape, encoding="bslz4")
    assert np.array_equal(payload.whole(), frame)


def test_a_memoryview_is_decoded_like_bytes() -> None:
    frame = pixels("<u2", (131, 257))
    for encoding in CODECS:
        data = memoryview(b"ab" + bytes(encode(frame, encoding).data))[2:]
        view = encoded_payload(data, dtype=frame.dtype, shape=frame.shape, encoding=encoding)
        assert np.array_equal(view.rows(3, 99), frame[3:99])


def lies() -> list[tuple[str, str, bytes]]:
    """(name, encoding, data) of payloads that claim to hold 64 x 64 u2 and do not."""
    frame = pixels("<u2", (64, 64))
    found = []
    for encoding in COMPRESSED:
        good = bytes(CODECS[encoding].encode(frame))
        found += [(f"{encoding} cut at {n}", encoding, good[:n]) for n in (0, 1, 11, 12, 15, 16)]
        found += [(f"{encoding} cut short", encoding, good[:-1])]
        found += [(f"{encoding} zeros", encoding, bytes(len(good)))]
        found += [(f"{encoding} ones", encoding, b"\xff" * len(good))]
    for encoding in BLOCKED:
        good = bytes(CODECS[encoding].encode(frame))
        rest = good[12:]
        for name, total, block in [
            ("more", 1 << 62, 8192),
            ("less", 8190, 8192),
            ("odd block", 8192, 8191),
            ("tiny block", 8192, 1),
        ]:
            data = struct.pack(">QI", total, block) + rest
            found.append((f"{encoding} {name}", encoding, data))
        found.append((f"{encoding} length", encoding, good[:12] + b"\xff" * 4 + good[16:]))
        found.append((f"{encoding} zero length", encoding, good[:12] + bytes(4) + good[16:]))
        short = bytes(CODECS[encoding].encode(frame[:32]))[12:]
        found.append((f"{encoding} short block", encoding, good[:12] + short + short))
    return found


@pytest.mark.parametrize(("name", "encoding", "data"), lies(), ids=lambda value: str(value)[:24])
def test_a_lying_payload_is_a_payload_error(name: str, encoding: str, data: bytes) -> None:
    payload = encoded_payload(data, dtype=np.dtype("<u2"), shape=(64, 64), encoding=encoding)
    with pytest.raises(PayloadError) as caught:
        payload.whole()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("remembers", [False, True])
@pytest.mark.parametrize("encoding", COMPRESSED)
def test_a_bomb_is_refused_before_memory_is_taken(encoding: str, remembers: bool) -> None:
    """A small message that claims 8 GiB of pixels."""
    size = 1 << 31
    blocks = 10 * (struct.pack(">I", 12) + bytes(12))
    data = struct.pack(">QI", size * 4, 8192) + blocks
    payload = encoded_payload(data, dtype=np.dtype("<u4"), shape=(size >> 4, 16), encoding=encoding)
    if remembers:
        payload = payload.remembering()
    tracemalloc.start()
    for read in (payload.whole, lambda: payload.rows(0, 1)):
        with pytest.raises(PayloadError):
            read()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_band_takes_memory_for_the_band_only() -> None:
    frame = np.zeros((4000, 1024), "<u2")
    payload = encode(frame, "bslz4")
    tracemalloc.start()
    band = payload.rows(2000, 2010)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert band.size == 10240
    assert peak < 1 << 18  # the frame has 8 MB; the walk along 1000 lengths takes some


def test_elements_that_cannot_be_bitshuffled_are_refused() -> None:
    with pytest.raises(PayloadError, match="16 bytes"):
        CODECS["bslz4"].encode(np.zeros((8, 8), np.complex128))


def test_recoding_keeps_what_is_carried_and_encodes_the_rest() -> None:
    frame = pixels("<u2", (33, 35))
    coded = encode(frame, "bslz4")
    assert recoded(coded, carried={"bslz4"}, encoding="raw") is coded

    again = recoded(coded, carried={"raw", "lz4-hdf5"}, encoding="lz4-hdf5")
    assert again.encoding == "lz4-hdf5"
    assert np.array_equal(again.whole(), frame)

    packed = recoded(array_payload(frame), carried={"bslz4"}, encoding="bslz4")
    assert bytes(packed.data) == bytes(coded.data)

    swapped = recoded(array_payload(frame.astype(">u2")), carried={"raw"}, encoding="raw")
    assert swapped.dtype == np.dtype("<u2")
    assert np.array_equal(swapped.whole(), frame)


def test_a_broken_payload_says_why() -> None:
    with pytest.raises(PayloadError, match="no blob"):
        broken_payload("no blob").whole()
    with pytest.raises(PayloadError, match="no blob"):
        recoded(broken_payload("no blob"), carried=CODECS, encoding="bslz4")
