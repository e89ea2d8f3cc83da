"""What the parts make of frames and of what they saw, without measuring."""

import tomllib

import numpy as np
import pytest
from pydantic import create_model

from benchmarks import growth
from benchmarks.growth import resized, with_hits, with_workers
from benchmarks.rig import RigError
from benchmarks.soak import Seen, Soaked, section
from hitfinder.wire.verdicts import Totals

TOTALS = Totals(
    received=240,
    kept=48,
    vetoed=192,
    unjudged={"overload": 0},
    in_flight=0,
    lost=0,
    duplicates=0,
    forwarded=48,
    dropped=0,
    spilled=0,
    bad_messages=0,
)


def soaked(*, late_ms: float = 5.0, grown_mb: float = 0.0, totals: Totals = TOTALS) -> Soaked:
    """Four seconds at 60 Hz, each fifth a hit; the last hundredth is late."""
    at_s = np.arange(240) / 60
    seen = Seen(
        at_s=at_s.tolist(),
        latency_ms=np.where(np.arange(240) < 236, 4.0, late_ms).tolist(),
        is_hit=(np.arange(240) % 5 == 0).tolist(),
        memory_at_s=[0.0, 1.0, 2.0, 3.0],
        memory_mb=[100.0, 150.0, 150.0, 150.0 + grown_mb],
    )
    return Soaked(sent=240, seen=seen, totals=totals, kept_received=48, status=0)


def missed(run: Soaked) -> list[str]:
    return [bar.what for bar in section(run, 4.0, 60.0).bars if not bar.met]


def test_a_good_soak_meets_its_bars_and_growth_at_the_start_is_none() -> None:
    assert missed(soaked()) == []


@pytest.mark.parametrize(
    ("run", "what"),
    [
        (soaked(late_ms=16.0), "arrival to verdict, p99, ms"),
        (soaked(grown_mb=31.0), "memory grown after the first minute, MB"),
    ],
)
def test_a_bad_soak_says_what_was_missed(run: Soaked, what: str) -> None:
    assert missed(run) == [what]


def test_a_frame_that_was_not_received_is_lost() -> None:
    fields = {name: getattr(TOTALS, name) for name in TOTALS.__struct_fields__}
    totals = Totals(**{**fields, "received": 239, "vetoed": 190, "unjudged": {"overload": 1}})
    assert missed(soaked(totals=totals)) == ["frames lost or dropped", "frames unjudged"]


@pytest.mark.parametrize("side", [4, 10, 12, 31])
def test_a_resized_frame_has_its_middle_in_the_middle(side: int) -> None:
    pixels = np.arange(100).reshape(1, 10, 10)
    made = resized(pixels, side)
    assert made.shape == (1, side, side)
    if side % 2 == 0:
        middle = slice(side // 2 - 2, side // 2 + 2)
        np.testing.assert_array_equal(made[:, middle, middle], pixels[:, 3:7, 3:7])


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
def test_so_many_frames_are_hits(share: float) -> None:
    pixels = (np.arange(10) % 2 == 0).astype(np.uint16).reshape(10, 1, 1)  # hits are 1
    assert with_hits(pixels, share).sum() == round(10 * share)


@pytest.mark.parametrize(
    ("section", "found"),
    [
        ("batch", {"model": {"device": "cpu"}, "batch": {"workers": 2}}),
        ("model", {"model": {"device": "cpu", "workers": 2}}),
        (None, {"workers": 2, "model": {"device": "cpu"}}),
    ],
)
def test_the_setting_of_workers_is_found_wherever_it_is(
    section: str | None, found: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = create_model("Inner", workers=(int, 1))
    config = create_model("Config", workers=(int, 1))
    if section is not None:
        config = create_model("Config", **{section: (inner, inner())})  # type: ignore[misc, call-overload]
    monkeypatch.setattr(growth, "ServeConfig", config)
    assert tomllib.loads(with_workers(2)) == found


def test_without_the_setting_there_is_a_row_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "ServeConfig", create_model("Config", other=(int, 1)))
    with pytest.raises(RigError, match="one worker"):
        with_workers(2)
