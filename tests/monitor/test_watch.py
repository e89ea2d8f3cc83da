"""What is heard is what the page is told."""

import json
import threading
from collections import deque
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hitfinder.errors import BadMessageError
from hitfinder.frame import Frame, Part, array_payload
from hitfinder.monitor.gallery import Gallery
from hitfinder.monitor.powder import Powder
from hitfinder.monitor.snapshot import Source
from hitfinder.monitor.viewer import Viewer
from hitfinder.monitor.watch import FRESH_NS, Watch
from hitfinder.testing.fakes import FakeClock, whole_frame
from hitfinder.verdict import Outcome
from hitfinder.wire import PROTOCOLS
from hitfinder.wire.verdicts import Message, encode
from tests.monitor.said import SECOND_NS, beat, verdict

SOURCE = Source(
    verdicts="tcp://a:1",
    samples="tcp://a:2",
    model="hit",
    model_version="1",
    model_sha256="ab" * 32,
    task="hit",
    deadline_ms=100.0,
    version="0",
)


class FakeInlet:
    """Gives what it holds, then says so."""

    def __init__(self) -> None:
        self.messages: deque[tuple[Part, ...] | Exception] = deque()
        self.is_empty = threading.Event()
        self.is_open = False

    def open(self) -> None:
        self.is_open = True

    def receive(self, timeout_ms: int) -> tuple[Part, ...] | None:
        if not self.messages:
            self.is_empty.set()
            threading.Event().wait(0.001)
            return None
        message = self.messages.popleft()
        if isinstance(message, Exception):
            raise message
        return message

    def close(self) -> None:
        self.is_open = False


class NoSpots:
    def outputs(self, batch: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        return {"score": np.zeros(len(batch), np.float32)}


class Bench:
    def __init__(self) -> None:
        self.clock = FakeClock(0)
        self.verdicts, self.samples = FakeInlet(), FakeInlet()
        self.encoder = PROTOCOLS["dectris-v2"].encoder()
        gallery, powder = Gallery(2**20), Powder()
        viewer = Viewer(
            decoder=PROTOCOLS["dectris-v2"].decoder(),
            plan=whole_frame,
            override=lambda detector: detector,
            model=NoSpots(),
            gallery=gallery,
            powder=powder,
            detector=PROTOCOLS["dectris-v2"].detector,
        )
        self.watch = Watch(
            verdicts=self.verdicts,
            samples=self.samples,
            viewer=viewer,
            gallery=gallery,
            powder=powder,
            source=SOURCE,
            clock=self.clock,
            wall_ns=lambda now_ns: now_ns + 1000 * SECOND_NS,
            close_sockets=lambda: None,
        )

    def hear(self, *messages: Message) -> None:
        for message in messages:
            self.watch.hear((encode(message),), self.clock())

    def told(self) -> dict[str, Any]:
        self.clock.pass_ms(1000)
        told: dict[str, Any] = json.loads(self.watch.snapshot())
        return told

    def sample(self, number: int) -> tuple[Part, ...]:
        pixels = array_payload(np.full((4, 4), 3, np.uint16))
        (parts,) = self.encoder.frame(Frame(series="5", number=number, payload=pixels))
        return (encode(verdict(1, frame=number, series="5")), *parts)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_the_page_is_told_what_was_heard(bench: Bench) -> None:
    bench.hear(verdict(1), verdict(2, Outcome.VETOED), verdict(3, Outcome.UNJUDGED), beat(3, 3))
    told = bench.told()
    assert told["totals"]["received"] == 3
    assert told["hit_rate"] == 0.5
    assert (told["model"], told["threshold"]) == ("hit", 0.5)
    assert sum(told["scores"]["kept"]) == sum(told["scores"]["vetoed"]) == 1
    assert told["silent_s"] == 1.0
    assert told["at"] == 1001.0
    assert told["source"]["verdicts"] == "tcp://a:1"
    assert [one["frames"] if "frames" in one else one["kept"] for one in told["history"]["minutes"]]
    assert told["frames_per_s"] == 3.0


def test_a_snapshot_is_shared_for_a_moment(bench: Bench) -> None:
    first = bench.watch.snapshot()
    bench.hear(beat(0, 9))
    assert bench.watch.snapshot() is first
    bench.clock.pass_ms(FRESH_NS / 1e6)
    assert b'"received":9' in bench.watch.snapshot()


def test_alerts_begin_though_nobody_looks(bench: Bench) -> None:
    bench.hear(beat())
    for _ in range(10):
        bench.clock.pass_ms(500)
        bench.watch.tick()
    (alert,) = bench.told()["alerts"]
    assert (alert["name"], alert["until"]) == ("ServiceDown", None)
    assert alert["since"] < 1000 + 4.5


def test_both_streams_are_heard_in_their_threads(bench: Bench) -> None:
    bench.verdicts.messages += [
        (b"what?",),
        BadMessageError("size", "too large"),
        (encode(beat(0, received=5)),),
    ]
    bench.samples.messages += [(b"what?",), bench.sample(8)]
    bench.watch.start()
    assert bench.verdicts.is_open
    assert bench.verdicts.is_empty.wait(30)
    assert bench.samples.is_empty.wait(30)
    bench.watch.stop()
    assert not bench.verdicts.is_open
    assert not bench.samples.is_open
    told = bench.told()
    assert told["totals"]["received"] == 5
    assert "json" in told["complaint"] or "too large" in told["complaint"]
    (line,) = told["frames"]
    assert (line["verdict"]["series"], line["verdict"]["frame"], line["shown"]) == ("5", 8, True)
    assert told["powder"]["hits"] == 1
    about = json.loads(bench.watch.frame("5", 8) or b"")
    assert about["image"] == {"rows": 4, "cols": 4, "binning": 1, "dtype": "uint16"}
    assert about["spots"] is None
    assert bench.watch.image("5", 8) is not None
    assert bench.watch.spots("5", 8) is None
    assert bench.watch.frame("5", 9) is None
    assert bench.watch.image("5", 9) is None
    assert bench.watch.powder("max") is not None


def test_a_defect_leaves_one_message_out_and_is_logged(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.samples.messages += [ZeroDivisionError("made to be broken"), bench.sample(1)]
    bench.watch.start()
    assert bench.samples.is_empty.wait(30)
    bench.watch.stop()
    assert bench.watch.frame("5", 1) is not None
    assert "please report it" in caplog.text


@pytest.mark.parametrize("has_samples", [True, False])
def test_without_samples_nobody_tells_a_pause_from_an_end(has_samples: bool) -> None:
    bench = Bench()
    if not has_samples:
        bench.watch._samples = None
    bench.hear(verdict(1))
    for _ in range(30):
        bench.clock.pass_ms(500)
        bench.hear(beat(1, 1))
        bench.watch.tick()
    names = [alert["name"] for alert in bench.told()["alerts"]]
    assert names == (["NoFramesArriving"] if has_samples else [])
