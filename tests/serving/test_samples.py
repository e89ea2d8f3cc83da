"""What goes out for pages that show frames: which frames, how many, and at what cost."""

import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from hitfinder.frame import Part, Passed, SeriesEnded, SeriesStarted
from hitfinder.serving.samples import AGAIN_NS, JOINED_NS, Samples
from hitfinder.testing.fakes import FakeClock
from hitfinder.transport.settings import ReceiverSettings, SenderSettings
from hitfinder.transport.sockets import Receiver, Sender, new_context
from hitfinder.verdict import Outcome
from hitfinder.wire.samples import MARK, split
from hitfinder.wire.verdicts import VerdictMessage
from tests.serving.bench import HIT, MISS, Bench, end, frame, start
from tests.system.harness import free_ports, until

Pixels = np.ndarray[tuple[int], np.dtype[np.uint8]]

SECOND_NS = 1_000_000_000


class FakeSink:
    """Remembers what it was given."""

    def __init__(self) -> None:
        self.taken: list[tuple[Part, ...]] = []
        self.changes: list[str] = []
        self.lingered_ms: int | None = None

    def open(self) -> None:
        pass

    def offer(self, parts: Sequence[Part]) -> bool:
        self.taken.append(tuple(parts))
        return True

    def connection_changes(self) -> list[str]:
        seen, self.changes = self.changes, []
        return seen

    def close(self, linger_ms: int) -> None:
        self.lingered_ms = linger_ms


@pytest.fixture
def sink() -> FakeSink:
    return FakeSink()


def made(sink: FakeSink, kept: float = 2.0, vetoed: float = 1.0) -> Samples:
    return Samples(sink, {Outcome.KEPT: kept, Outcome.VETOED: vetoed})


def sent_in(samples: Samples, sink: FakeSink, outcome: Outcome, seconds: int) -> int:
    """Frames that go out at 1000 frames/s."""
    chances = np.random.default_rng(0).random(1000 * seconds).tolist()
    for at, chance in enumerate(chances):
        samples.frame(outcome, chance, b"verdict", (b"parts",), at * SECOND_NS // 1000)
    return len(sink.taken)


@pytest.mark.parametrize(("outcome", "rate"), [(Outcome.KEPT, 2.0), (Outcome.VETOED, 1.0)])
def test_no_more_frames_go_out_than_asked_for(
    sink: FakeSink, outcome: Outcome, rate: float
) -> None:
    assert 0.85 * rate * 200 < sent_in(made(sink), sink, outcome, 200) < 1.15 * rate * 200


def test_a_rate_of_zero_and_unjudged_frames_send_nothing(sink: FakeSink) -> None:
    samples = made(sink, kept=0.0)
    assert sent_in(samples, sink, Outcome.KEPT, 5) == 0
    assert sent_in(samples, sink, Outcome.UNJUDGED, 5) == 0


def test_frames_that_repeat_are_not_sampled_in_step(sink: FakeSink) -> None:
    """A sender that loops over 60 frames at 120 Hz, sampled twice a second."""
    samples = made(sink)
    chances = np.random.default_rng(0).random(120 * 60).tolist()
    for at, chance in enumerate(chances):
        parts = (bytes([at % 60]),)
        samples.frame(Outcome.KEPT, chance, b"verdict", parts, at * SECOND_NS // 120)
    assert len({message[1] for message in sink.taken}) > 30


def test_the_opening_goes_out_at_once_again_and_for_whoever_joins(sink: FakeSink) -> None:
    samples = made(sink)
    samples.watch(0)
    assert sink.taken == []
    samples.mark(SeriesStarted(series="1", parts=(b"start",)), 0)
    opening = (MARK, b"start")
    assert sink.taken == [opening]
    samples.watch(AGAIN_NS - 1)
    assert sink.taken == [opening]
    samples.watch(AGAIN_NS)
    assert sink.taken == [opening] * 2
    sink.changes = ["connected"]
    samples.watch(AGAIN_NS + 1)
    samples.watch(AGAIN_NS + 1 + JOINED_NS)
    assert sink.taken == [opening] * 3


def test_the_end_of_a_series_is_repeated_in_place_of_its_start(sink: FakeSink) -> None:
    samples = made(sink)
    start, end = (MARK, b"start"), (MARK, b"end")
    samples.mark(SeriesStarted(series="1", parts=(b"start",)), 0)
    samples.mark(SeriesEnded(series="1", parts=(b"end",)), 1)
    samples.watch(10 * AGAIN_NS)
    assert sink.taken == [start, end, end]
    samples.mark(SeriesStarted(series="1", parts=(b"start",)), 11 * AGAIN_NS)
    samples.watch(12 * AGAIN_NS)
    assert sink.taken[3:] == [start, start]


def test_an_end_is_not_repeated_where_a_stream_without_starts_goes_on(sink: FakeSink) -> None:
    samples = made(sink)
    samples.mark(SeriesEnded(series="1", parts=(b"end",)), 0)
    samples.frame(Outcome.KEPT, 0.5, b"verdict", (b"frame",), 1)
    samples.watch(10 * AGAIN_NS)
    assert sink.taken == [(MARK, b"end"), (b"verdict", b"frame")]


def test_a_header_in_two_messages_is_repeated_whole(sink: FakeSink) -> None:
    samples = made(sink)
    samples.mark(Passed(kind="header", parts=(b"half",)), 0)
    samples.mark(SeriesStarted(series="1", parts=(b"config",)), 0)
    assert sink.taken == [(MARK, b"half"), (MARK, b"config")]
    samples.mark(SeriesStarted(series="2", parts=(b"start",)), 1)
    assert sink.taken[2:] == [(MARK, b"start")]


def test_a_stop_does_not_wait_for_a_page(sink: FakeSink) -> None:
    made(sink).close(5000)
    assert sink.lingered_ms == 0


def test_the_service_sends_frames_behind_their_verdicts(tmp_path: Path, sink: FakeSink) -> None:
    bench = Bench(tmp_path, samples=made(sink))
    hit, miss = frame(0, HIT), frame(1, MISS)
    bench.feed(start(), hit, miss, frame(2, HIT), end())
    bench.run()
    opening, first, second, ending = sink.taken  # the second hit comes too soon
    assert opening == (MARK, *start().parts)
    assert ending == (MARK, *end().parts)
    for message, original, outcome in ((first, hit, "kept"), (second, miss, "vetoed")):
        head, parts = split(message)
        assert isinstance(head, VerdictMessage)
        assert (head.frame, head.outcome) == (original.number, outcome)
        assert parts == original.parts
    assert len(bench.kept.taken) == 4


def test_a_subscriber_that_reads_nothing_costs_so_many_frames_and_no_more() -> None:
    """A minute of samples, as fast as they can be made: what is held is bounded by the socket."""
    mark, clock = 3, FakeClock()
    endpoint = f"tcp://127.0.0.1:{free_ports(1)[0]}"
    context = new_context()
    settings = SenderSettings(endpoint=endpoint, socket="pub", high_water_mark=mark)
    samples = Samples(Sender(settings, context), {Outcome.KEPT: 10.0})
    subscriber = Receiver(
        ReceiverSettings(endpoint=endpoint, socket="sub", high_water_mark=1), context
    )
    held: weakref.WeakValueDictionary[int, Pixels] = weakref.WeakValueDictionary()
    sent = 0

    def send() -> None:
        nonlocal sent
        pixels = np.zeros(8 * 2**20, np.uint8)  # more than the kernel's own buffers take
        held[sent] = pixels
        sent += 1
        clock.pass_ms(150)
        samples.frame(Outcome.KEPT, 0.0, b"verdict", (pixels.data,), clock())
        samples.watch(clock())

    def settled() -> bool:
        """What PUB dropped comes back from another thread, a moment later."""
        return len(held) <= mark + 2

    try:
        samples.open()
        subscriber.open()
        until(lambda: send() or len(held) > mark, "frames wait for it")  # type: ignore[func-returns-value]
        for _ in range(60 * 10 // 2):
            send()
        until(settled, "only those in the pipe, on the wire, and on the way there are held")
        assert len(held) > 1, "the subscriber reads after all"
    finally:
        subscriber.close()
        samples.close(0)
        context.destroy()
