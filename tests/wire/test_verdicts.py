"""Verdicts and heartbeats, there and back."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitfinder.errors import BadMessageError
from hitfinder.verdict import Diffuse, Outcome, Reason
from hitfinder.wire.verdicts import Heartbeat, Totals, VerdictMessage, decode, encode

KEPT = VerdictMessage(
    sequence=5,
    series="7",
    frame=12,
    outcome=Outcome.KEPT,
    score=0.75,
    threshold=0.5,
    model="hit",
    diffuse=Diffuse.YES,
    diffuse_score=0.875,
    diffuse_threshold=0.25,
    diffuse_model="diffuse",
    latency_ms=4.5,
)
UNJUDGED = VerdictMessage(
    sequence=6,
    series="7",
    frame=13,
    outcome=Outcome.UNJUDGED,
    reason=Reason.OVERLOAD,
    latency_ms=0.25,
)
NOT_ASKED = VerdictMessage(
    sequence=7,
    series="7",
    frame=14,
    outcome=Outcome.KEPT,
    score=0.75,
    diffuse=Diffuse.UNJUDGED,
    diffuse_reason=Reason.DEADLINE,
    latency_ms=104.0,
)
TOTALS = Totals(
    received=10,
    kept=3,
    vetoed=4,
    unjudged={"overload": 2},
    in_flight=1,
    lost=0,
    duplicates=0,
    forwarded=5,
    dropped=0,
    spilled=0,
    bad_messages=1,
    diffuse=1,
    not_diffuse=1,
    diffuse_unjudged={"deadline": 1},
)
HEARTBEAT = Heartbeat(sequence=6, time_unix=1.75e9, totals=TOTALS)

MESSAGES: list[VerdictMessage | Heartbeat] = [KEPT, UNJUDGED, NOT_ASKED, HEARTBEAT]


@pytest.mark.parametrize("message", MESSAGES)
def test_messages_survive(message: VerdictMessage | Heartbeat) -> None:
    assert decode(encode(message)) == message
    assert decode(memoryview(encode(message))) == message


def test_the_json_that_others_read() -> None:
    assert json.loads(encode(KEPT)) == {
        "type": "verdict",
        "sequence": 5,
        "series": "7",
        "frame": 12,
        "outcome": "kept",
        "reason": None,
        "score": 0.75,
        "threshold": 0.5,
        "model": "hit",
        "diffuse": "yes",
        "diffuse_reason": None,
        "diffuse_score": 0.875,
        "diffuse_threshold": 0.25,
        "diffuse_model": "diffuse",
        "latency_ms": 4.5,
    }
    heartbeat = json.loads(encode(HEARTBEAT))
    assert (heartbeat["type"], heartbeat["totals"]["unjudged"]) == ("heartbeat", {"overload": 2})


def test_what_an_earlier_release_wrote_is_read() -> None:
    for message in (UNJUDGED, HEARTBEAT):
        old = json.loads(encode(message))
        for table in (old, old.get("totals", {})):
            for key in [key for key in table if "diffuse" in key]:
                del table[key]
        read = decode(json.dumps(old).encode())
        assert read.sequence == message.sequence


def test_additional_keys_are_ignored() -> None:
    for message in (KEPT, HEARTBEAT):
        more = {**json.loads(encode(message)), "new": [1]}
        assert decode(json.dumps(more).encode()) == message


@pytest.mark.parametrize(
    "part",
    [
        *(b"", b"\xff", b"[]", b"{}", b'{"type":"other"}', b'{"type":"verdict"}'),
        encode(KEPT)[:-1],
        encode(KEPT).replace(b"kept", b"lost"),
        encode(HEARTBEAT).replace(b'"received":10', b'"received":"x"'),
        b'{"type":' * 20_000,
    ],
)
def test_garbage_is_a_bad_message(part: bytes) -> None:
    with pytest.raises(BadMessageError) as caught:
        decode(part)
    assert caught.value.kind == "json"


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_changed_messages_are_read_or_refused(data: st.DataObject) -> None:
    part = bytearray(encode(data.draw(st.sampled_from(MESSAGES))))
    at = data.draw(st.integers(0, len(part)))
    part[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    with contextlib.suppress(BadMessageError):
        decode(bytes(part))
