"""After any bad message, good frames are still decoded."""

import contextlib
import struct
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitfinder.errors import BAD_MESSAGE_KINDS, BadMessageError, PayloadError
from hitfinder.frame import Event, Frame, Part, SeriesStarted
from hitfinder.wire import PROTOCOLS
from hitfinder.wire.compression import CODECS, encoded_payload
from hitfinder.wire.fields import MAX_COUNT
from hitfinder.wire.protocol import Decoder
from tests.wire import messages
from tests.wire.hostile import HOSTILE, HostileCase

MEMORY = 32 << 20


def survive(decoder: Decoder, parts: tuple[Part, ...]) -> Event | None:
    """Feeds one message; anything but the two errors of the contract escapes."""
    try:
        event = decoder.decode(parts, arrival_ns=0)
    except BadMessageError as error:
        assert error.kind in BAD_MESSAGE_KINDS  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017
        str(error).encode()
        return None
    assert event.parts == parts
    if isinstance(event, SeriesStarted):
        assert event.announced is None or event.announced < MAX_COUNT
    if isinstance(event, Frame):
        assert event.payload.size > 0
        with contextlib.suppress(PayloadError):
            event.payload.rows(0, 1)
        with contextlib.suppress(PayloadError):
            assert event.payload.whole().shape == event.payload.shape
    return event


def assert_alive(decoder: Decoder, protocol: str) -> None:
    event = decoder.decode(messages.frame(protocol, number=41), arrival_ns=1)
    assert isinstance(event, Frame)
    assert event.number == 41
    assert np.array_equal(event.payload.whole(), messages.PIXELS)


@contextlib.contextmanager
def bounded_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MEMORY


@pytest.mark.parametrize("case", HOSTILE, ids=str)
def test_a_hostile_message_harms_nobody(case: HostileCase) -> None:
    decoder = PROTOCOLS[case.protocol].decoder()
    parts = case.build()
    assert parts
    with bounded_memory():
        survive(decoder, parts)
    assert_alive(decoder, case.protocol)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_all_hostile_messages_in_a_row_harm_nobody(protocol: str) -> None:
    decoder = PROTOCOLS[protocol].decoder()
    for case in HOSTILE:
        survive(decoder, case.build())
    assert_alive(decoder, protocol)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_message_without_parts(protocol: str) -> None:
    with pytest.raises(BadMessageError) as caught:
        PROTOCOLS[protocol].decoder().decode((), arrival_ns=0)
    assert caught.value.kind == "parts"


def good(protocol: str) -> list[tuple[bytes, ...]]:
    marks = [] if protocol == "array-1.0" else [messages.start(protocol), messages.end(protocol)]
    return [messages.frame(protocol), *marks]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(max_examples=120, deadline=None)
@given(st.data())
def test_good_messages_with_bytes_changed(protocol: str, data: st.DataObject) -> None:
    parts = [bytearray(part) for part in data.draw(st.sampled_from(good(protocol)))]
    for _ in range(data.draw(st.integers(1, 4))):
        part = data.draw(st.sampled_from(parts))
        at = data.draw(st.integers(0, min(len(part), 400)))
        length = data.draw(st.integers(0, 6))
        part[at : at + length] = data.draw(st.binary(max_size=6))
    decoder = PROTOCOLS[protocol].decoder()
    survive(decoder, tuple(bytes(part) for part in parts))
    assert_alive(decoder, protocol)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(max_examples=60, deadline=None)
@given(parts=st.lists(st.binary(max_size=200), min_size=1, max_size=5).map(tuple))
def test_random_messages(protocol: str, parts: tuple[bytes, ...]) -> None:
    decoder = PROTOCOLS[protocol].decoder()
    survive(decoder, parts)
    assert_alive(decoder, protocol)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 400), st.sampled_from([8, 64, 8192]))
def test_random_pixels(data: bytes, pixels: int, block: int) -> None:
    """Any bytes, behind a header that fits."""
    head = struct.pack(">QI", 2 * pixels, block)
    for encoding in CODECS:
        frame = encoded_payload(
            head + data, dtype=np.dtype("<u2"), shape=(1, pixels), encoding=encoding
        )
        with contextlib.suppress(PayloadError):
            frame.whole()
