"""The CBOR reader against cbor2, and against messages that lie."""

import contextlib
import math
import struct
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitfinder.errors import BadMessageError
from hitfinder.wire.cbor import MAX_DEPTH, MAX_ITEMS, Tag, loads

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=40)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(max_size=8) | st.integers(0, 2**64 - 1), inner, max_size=5)
        | st.builds(cbor2.CBORTag, st.integers(60_000, 2**64 - 1), inner)
    ),
    max_leaves=20,
)


def plain(value: Any) -> Any:
    """Our values and cbor2's in one form, with NaN equal to itself."""
    match value:
        case memoryview() | bytes():
            return bytes(value)
        case Tag():
            return ("tag", value.number, plain(value.value))
        case cbor2.CBORTag():
            return ("tag", value.tag, plain(value.value))
        case list() | tuple():
            return [plain(item) for item in value]
        case float():
            return ("float", "nan" if math.isnan(value) else struct.pack(">d", value))
        case _ if hasattr(value, "items"):
            return {key: plain(item) for key, item in value.items()}
        case _:
            return value


@settings(max_examples=150, deadline=None)
@given(VALUES, st.booleans())
def test_what_cbor2_writes_is_read_as_cbor2_reads_it(value: Any, canonical: bool) -> None:
    message = cbor2.dumps(value, canonical=canonical)  # canonical floats are the short ones
    assert plain(loads(message)) == plain(cbor2.loads(message)) == plain(value)


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_indefinite_arrays_and_maps(value: Any) -> None:
    message = cbor2.dumps(value, indefinite_containers=True)
    assert plain(loads(message)) == plain(value)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_random_bytes_are_read_or_refused(message: bytes) -> None:
    with contextlib.suppress(BadMessageError):
        loads(message)


# The examples of RFC 8949, appendix A, that go beyond what cbor2 writes.
@pytest.mark.parametrize(
    ("message", "value"),
    [
        ("00", 0),
        ("1818", 24),
        ("1bffffffffffffffff", 2**64 - 1),
        ("3bffffffffffffffff", -(2**64)),
        ("f97bff", 65504.0),
        ("f90001", 5.960464477539063e-08),
        ("fa47c35000", 100000.0),
        ("fb7e37e43c8800759c", 1e300),
        ("f97c00", math.inf),
        ("f4", False),
        ("f5", True),
        ("f6", None),
        ("f7", None),
        ("f0", None),
        ("f8ff", None),
        ("64f0908591", "\U00010151"),
        ("5f42010243030405ff", b"\x01\x02\x03\x04\x05"),
        ("7f657374726561646d696e67ff", "streaming"),
        ("9fff", []),
        ("9f018202039f0405ffff", [1, [2, 3], [4, 5]]),
        ("bf61610161629f0203ffff", {"a": 1, "b": [2, 3]}),
        ("bf6346756ef563416d7421ff", {"Fun": True, "Amt": -2}),
        ("d74401020304", ("tag", 23, b"\x01\x02\x03\x04")),
        ("1800", 0),  # longer than it needs to be, yet well-formed
    ],
)
def test_examples_of_the_standard(message: str, value: object) -> None:
    found = plain(loads(bytes.fromhex(message)))
    assert found == plain(value) if not isinstance(value, tuple) else found == value


@pytest.mark.parametrize(
    "message",
    [
        "",
        "18",
        "19ff",
        "1c",
        "1f",
        "3f",
        "df00ff",
        "ff",
        "41",
        "5bffffffffffffffff00",
        "62ff",
        "61ff",
        "62c328",
        "7f61ffff",
        "5f6161ff",
        "5f5f4100ffff",
        "5f",
        "81",
        "9b7fffffffffffffff00",
        "9f01",
        "a1",
        "a101",
        "bf01ff",
        "bbffffffffffffffff",
        "a18001",
        "a1410001",
        "c1",
        "f8",
        "f818",
        "fc",
        "f900",
        "0000",
    ],
)
def test_what_is_not_well_formed_is_refused(message: str) -> None:
    with pytest.raises(BadMessageError, match=r"^cbor: "):
        loads(bytes.fromhex(message))


def test_byte_strings_are_not_copied() -> None:
    message = bytearray(cbor2.dumps({"data": b"0123456789"}))
    value = loads(memoryview(message).toreadonly())
    assert isinstance(value, dict)
    message[-1] = ord("x")
    assert bytes(value["data"]) == b"012345678x"


@pytest.mark.parametrize("opening", [b"\x81", b"\x9f", b"\xa1\x00", b"\xc1"])
def test_nesting_is_limited(opening: bytes) -> None:
    closing = b"\xff" if opening == b"\x9f" else b""
    loads(opening * MAX_DEPTH + b"\x00" + closing * MAX_DEPTH)
    with pytest.raises(BadMessageError):
        loads(opening * 100_000 + b"\x00")


def test_items_are_limited() -> None:
    loads(b"\x9a" + struct.pack(">I", MAX_ITEMS - 1) + bytes(MAX_ITEMS - 1))
    with pytest.raises(BadMessageError):
        loads(b"\x9a" + struct.pack(">I", MAX_ITEMS) + bytes(MAX_ITEMS))
    with pytest.raises(BadMessageError):
        loads(b"\x5f" + b"\x40" * MAX_ITEMS + b"\xff")
