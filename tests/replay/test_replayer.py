"""A replay on a clock of its own: rate, order, stalls, and its end."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitfinder.dataset.frames import FrameRef, Series
from hitfinder.errors import DataFileError
from hitfinder.frame import Detector, Frame, Part, Payload, SeriesEnded, SeriesStarted
from hitfinder.frame import array_payload as plain
from hitfinder.replay.replayer import GIVE_UP_NS, Replayer, ReplaySummary, run
from hitfinder.replay.settings import ReplaySettings
from hitfinder.wire import PROTOCOLS

MS = 1_000_000


class Loads:
    """Counts how often each frame is read."""

    def __init__(self) -> None:
        self.indices: list[int] = []

    def __call__(self, path: Path, index: int) -> Payload:
        self.indices.append(index)
        return plain(np.full((8, 16), index, np.uint16))


class Taker:
    """A sender that takes messages except at the offers named."""

    def __init__(self, refuse: Sequence[int] = ()) -> None:
        self.refuse = set(refuse)
        self.offers = 0
        self.taken: list[tuple[Part, ...]] = []

    def offer(self, parts: Sequence[Part]) -> bool:
        self.offers += 1
        if self.offers - 1 in self.refuse:
            return False
        self.taken.append(tuple(parts))
        return True


class Clock:
    """Time that passes only when someone waits, or by `cost_ns` at each look."""

    def __init__(self, cost_ns: int = 0) -> None:
        self.now_ns = 5_000
        self.cost_ns = cost_ns

    def __call__(self) -> int:
        self.now_ns += self.cost_ns
        return self.now_ns

    def wait(self, seconds: float) -> None:
        assert seconds > 0
        self.now_ns += round(seconds * 1e9)


def series_of(frames: int, read: Loads | None = None) -> Series:
    read = read or Loads()
    return Series(
        name="run",
        shape=(8, 16),
        dtype=np.dtype(np.uint16),
        detector=Detector(shape=(8, 16), distance_mm=120.0),
        frames=[FrameRef(path=Path("run.h5"), index=i, read=read) for i in range(frames)],
    )


def replay(
    series: Series, taker: Taker, clock: Clock, protocol: str = "dectris-v2", **settings: object
) -> ReplaySummary:
    replayer = Replayer(
        series, PROTOCOLS[protocol].encoder(), taker, ReplaySettings.model_validate(settings)
    )
    return run(replayer, clock_ns=clock, wait_s=clock.wait)


def events(taker: Taker, protocol: str) -> list[object]:
    decoder = PROTOCOLS[protocol].decoder()
    return [decoder.decode(parts, 0) for parts in taker.taken]


@pytest.mark.parametrize("protocol", ["dectris-v1", "dectris-v2", "array-1.0"])
@pytest.mark.parametrize("encoding", ["raw", "bslz4", None])
def test_a_series_arrives_as_it_lies_in_the_file(protocol: str, encoding: str | None) -> None:
    taker = Taker()
    summary = replay(series_of(3), taker, Clock(), protocol, encoding=encoding)
    arrived = events(taker, protocol)
    frames = [event for event in arrived if isinstance(event, Frame)]
    assert [frame.number for frame in frames] == [0, 1, 2]
    for frame in frames:
        np.testing.assert_array_equal(
            frame.payload.whole(), np.full((8, 16), frame.number, np.uint16)
        )
    started = [event for event in arrived if isinstance(event, SeriesStarted)]
    ended = [event for event in arrived if isinstance(event, SeriesEnded)]
    if protocol != "array-1.0":
        assert len(started) == len(ended) == 1
        assert started[0].announced == 3
        assert started[0].detector.distance_mm == pytest.approx(120)
        assert arrived[0] is started[0]
        assert arrived[-1] is ended[0]
    assert (summary.sent, summary.late, summary.stalled, summary.complete) == (3, 0, 0, True)
    assert summary.sent_bytes == sum(len(part) for parts in taker.taken for part in parts)


def test_the_rate_is_kept() -> None:
    clock = Clock()
    summary = replay(series_of(10), Taker(), clock, rate_hz=100.0, count=25, loop=True)
    assert summary.sent == 25
    assert summary.seconds == pytest.approx(0.24)
    assert summary.rate_hz == pytest.approx(100)
    assert summary.late == 0


def test_numbers_rise_while_the_frames_repeat() -> None:
    taker = Taker()
    replay(series_of(3), taker, Clock(), loop=True, count=7, announce=1000)
    started, *frames, _ = events(taker, "dectris-v2")
    assert isinstance(started, SeriesStarted)
    assert started.announced == 1000
    seen = [(f.number, int(f.payload.whole()[0, 0])) for f in frames if isinstance(f, Frame)]
    assert seen == [(number, number % 3) for number in range(7)]


@pytest.mark.parametrize(("count", "sent"), [(None, 3), (2, 2), (9, 3)])
def test_count_without_loop(count: int | None, sent: int) -> None:
    assert replay(series_of(3), Taker(), Clock(), count=count).sent == sent


def test_a_stall_is_made_up_for_and_nothing_is_skipped() -> None:
    taker, clock = Taker(refuse=range(5, 305)), Clock()  # 300 retries of 0.2 ms: 60 ms
    summary = replay(series_of(30), taker, clock, rate_hz=100.0)
    assert (summary.sent, summary.stalled, summary.complete) == (30, 300, True)
    assert summary.late == 5  # 60 ms at 10 ms a frame; the last of six is one period late at most
    assert summary.seconds == pytest.approx(0.29)  # caught up


def test_a_long_stall_moves_the_schedule() -> None:
    taker, clock = Taker(refuse=range(5, 2505)), Clock()  # half a second
    summary = replay(series_of(30), taker, clock, rate_hz=100.0, burst=4)
    assert summary.sent == 30
    assert summary.seconds == pytest.approx(0.29 + 0.5 - 0.04, abs=0.011)


def test_what_does_not_fit_in_memory_is_read_again() -> None:
    loads = Loads()
    replay(
        series_of(3, loads),
        Taker(),
        Clock(),
        loop=True,
        count=6,
        encoding="raw",
        memory_limit_bytes=2 * 256,
    )
    assert loads.indices == [0, 1, 2, 2, 2]
    loads.indices.clear()
    replay(series_of(3, loads), Taker(), Clock(), loop=True, count=6)
    assert loads.indices == [0, 1, 2]


def test_stop_ends_the_preparing_too() -> None:
    loads, taker, clock = Loads(), Taker(), Clock()
    encoder = PROTOCOLS["dectris-v2"].encoder()
    replayer = Replayer(series_of(9, loads), encoder, taker, ReplaySettings())
    summary = run(replayer, stop=lambda: len(loads.indices) >= 2, clock_ns=clock, wait_s=clock.wait)
    assert loads.indices == [0, 1]
    assert (summary.sent, summary.complete) == (0, True)  # start and end, and no frame


def test_stop_ends_the_series() -> None:
    taker, clock = Taker(), Clock()
    settings = ReplaySettings(rate_hz=10.0, loop=True)
    replayer = Replayer(series_of(3), PROTOCOLS["dectris-v2"].encoder(), taker, settings)
    assert replayer.total is None
    summary = run(replayer, stop=lambda: len(taker.taken) >= 6, clock_ns=clock, wait_s=clock.wait)
    assert (summary.sent, summary.complete) == (5, True)
    assert isinstance(events(taker, "dectris-v2")[-1], SeriesEnded)
    assert replayer.step(0) is None


def test_stop_gives_up_on_a_receiver_that_never_comes_back() -> None:
    taker, clock = Taker(refuse=range(3, 10**6)), Clock()
    encoder = PROTOCOLS["dectris-v2"].encoder()
    replayer = Replayer(series_of(9), encoder, taker, ReplaySettings())
    summary = run(replayer, stop=lambda: taker.offers > 50, clock_ns=clock, wait_s=clock.wait)
    assert (summary.sent, summary.complete) == (2, False)
    assert clock.now_ns < GIVE_UP_NS + 50 * MS


def test_damaged_input_stops_the_replay() -> None:
    class Broken(Loads):
        def __call__(self, path: Path, index: int) -> Payload:
            raise DataFileError(f"{path}: cut short")

    with pytest.raises(DataFileError, match="cut short"):
        replay(series_of(3, Broken()), Taker(), Clock())


@settings(max_examples=60, deadline=None)
@given(
    refuse=st.sets(st.integers(0, 60), max_size=30),
    rate_hz=st.none() | st.floats(1, 1e5),
    burst=st.integers(1, 20),
    cost_ns=st.integers(0, 3 * MS),
    count=st.integers(1, 20),
)
def test_whatever_happens_every_frame_arrives_once_in_order(
    refuse: set[int], rate_hz: float | None, burst: int, cost_ns: int, count: int
) -> None:
    taker = Taker(refuse=sorted(refuse))
    summary = replay(
        series_of(4), taker, Clock(cost_ns), rate_hz=rate_hz, burst=burst, count=count, loop=True
    )
    numbers = [e.number for e in events(taker, "dectris-v2") if isinstance(e, Frame)]
    assert numbers == list(range(count))
    assert summary.sent == count
    assert 0 <= summary.late <= count
    if rate_hz is not None and summary.rate_hz is not None and summary.late == 0:
        # the schedule may be left by one period and one look at the clock at each end
        slack_s = 1 / rate_hz + cost_ns / 1e9 + 1e-6
        assert summary.seconds >= (count - 1) / rate_hz - slack_s
