"""What the first step decoded of a hit is not decoded again, and kept no longer than it must be."""

import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hitfinder.cascade import PolicySettings
from hitfinder.frame import Decoded, Frame, Payload
from hitfinder.serving import diffuse
from hitfinder.serving.diffuse import REMEMBERED
from hitfinder.verdict import Diffuse, Reason
from hitfinder.wire.compression import CODECS
from tests.serving.bench import HIT, MISS, Bench, findings, frame


class Shots:
    """Frames whose compressed bytes can be spoilt, and what was kept of each when it was read."""

    def __init__(self) -> None:
        self.kept: list[weakref.ref[Decoded] | None] = []
        self._data: list[bytearray] = []

    def take(self, number: int, value: int = HIT) -> Frame:
        pixels = np.full((4, 4), value, np.uint16)
        pixels[0, 1] = 80
        data = bytearray(CODECS["bslz4"].encode(pixels))
        self._data.append(data)

        def decode(payload: Payload, cuts: Sequence[int]) -> Iterator[NDArray[Any]]:
            decoded = payload.decoded
            self.kept.append(None if decoded is None else weakref.ref(decoded))
            return CODECS["bslz4"].decode(payload, cuts)

        payload = Payload(
            data=memoryview(data),
            dtype=pixels.dtype,
            shape=pixels.shape,
            encoding="bslz4",
            decode=decode,
        )
        return frame(number, payload=payload)

    def spoil(self) -> None:
        for data in self._data:
            data[16:] = b"\xff" * len(data[16:])

    def alive(self) -> list[bool]:
        return [each is not None and each() is not None for each in self.kept]


@pytest.fixture
def shots() -> Shots:
    return Shots()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, policy=PolicySettings(), batch_size=8, diffuse_ms=1e4)


def test_pixels_that_the_first_step_decoded_are_the_seconds_too(bench: Bench, shots: Shots) -> None:
    bench.feed(shots.take(0))
    bench.settle()
    shots.spoil()
    bench.run()
    assert findings(bench) == [Diffuse.YES]


def test_they_are_kept_of_the_first_hits_that_wait(bench: Bench, shots: Shots) -> None:
    bench.feed(*(shots.take(number) for number in range(REMEMBERED + 2)))
    bench.settle()
    shots.spoil()
    bench.run()
    assert findings(bench) == [*[Diffuse.YES] * REMEMBERED, *[Reason.DECODE] * 2]


def test_they_go_with_the_verdict(bench: Bench, shots: Shots) -> None:
    bench.feed(shots.take(0), shots.take(1, MISS), shots.take(2))
    bench.settle()
    assert shots.alive() == [True, False, True]
    bench.clock.pass_ms(10_001)
    bench.publish_all()
    assert findings(bench) == [Reason.DEADLINE, None, Reason.DEADLINE]
    assert len(bench.diffuse_backlog) == 2  # a second step that hangs has them still
    assert shots.alive() == [False] * 3


def test_of_huge_frames_nothing_is_kept(
    bench: Bench, shots: Shots, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diffuse, "REMEMBERED_BYTES", 31)
    bench.feed(shots.take(0))
    bench.run()
    assert findings(bench) == [Diffuse.YES]
    assert shots.kept == [None, None]


def test_without_a_second_step_nothing_is_kept(tmp_path: Path, shots: Shots) -> None:
    bench = Bench(tmp_path)
    bench.feed(shots.take(0), shots.take(1, MISS))
    bench.run()
    assert shots.kept == [None, None]
