"""The sample stream's messages."""

import pytest

from hitfinder.errors import BadMessageError
from hitfinder.verdict import Outcome
from hitfinder.wire.samples import MARK, SeriesMark, split
from hitfinder.wire.verdicts import Heartbeat, Totals, VerdictMessage, encode

VERDICT = VerdictMessage(
    sequence=1, series="7", frame=3, outcome=Outcome.KEPT, latency_ms=2.0, score=0.9
)


def test_a_frame_stands_behind_its_verdict_untouched() -> None:
    parts = (b"head", memoryview(b"pixels"))
    assert split((encode(VERDICT), *parts)) == (VERDICT, parts)


def test_a_mark_is_told_from_a_frame() -> None:
    assert split((MARK, b"start")) == (SeriesMark(), (b"start",))


BEAT = Heartbeat(
    sequence=1,
    time_unix=0.0,
    totals=Totals(
        received=0,
        kept=0,
        vetoed=0,
        unjudged={},
        in_flight=0,
        lost=0,
        duplicates=0,
        forwarded=0,
        dropped=0,
        spilled=0,
        bad_messages=0,
    ),
)


@pytest.mark.parametrize(
    "message", [(), (b"",), (b"{}", b"x"), (encode(BEAT), b"x"), (b"\xff" * 9,), (b"[" * 99999,)]
)
def test_anything_else_is_a_bad_message(message: tuple[bytes, ...]) -> None:
    with pytest.raises(BadMessageError, match="json"):
        split(message)
