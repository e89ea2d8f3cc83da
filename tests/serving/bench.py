"""A pipeline of fakes that is stepped by hand: no threads, no sockets, no real time."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from hitfinder.cascade import PolicySettings
from hitfinder.errors import BadMessageError
from hitfinder.frame import (
    Event,
    Frame,
    Part,
    Passed,
    Payload,
    SeriesEnded,
    SeriesStarted,
    array_payload,
)
from hitfinder.images.reader import RegionReader
from hitfinder.ledger.store import Ledger
from hitfinder.serving.backlog import Backlog
from hitfinder.serving.diffuse import DiffuseStage
from hitfinder.serving.hot_pixels import HotPixelMask
from hitfinder.serving.ingest import Ingest
from hitfinder.serving.judge import Judge
from hitfinder.serving.line import Line
from hitfinder.serving.metrics import Metrics
from hitfinder.serving.pipeline import Pipeline
from hitfinder.serving.publish import JudgedBy, Publish
from hitfinder.serving.reports import Reports
from hitfinder.serving.samples import Samples
from hitfinder.serving.scorer import Plan
from hitfinder.serving.streams import Streams
from hitfinder.testing.fakes import (
    FakeClock,
    FakeModel,
    FakeSource,
    FakeStream,
    FakeVerdicts,
    whole_frame,
)
from hitfinder.verdict import Diffuse, Outcome, Reason
from hitfinder.wire.verdicts import Heartbeat, VerdictMessage, decode

DEADLINE_MS = 100.0
DIFFUSE_MS = 50.0
WAIT_MS = 2.0
HIT, MISS = 90, 10


OPEN: list["Bench"] = []
"""Benches whose ledgers are open; the conftest closes them."""

PIPELINES: list[Pipeline] = []
"""Those made; the conftest ends the threads that a failed test has left, which would spin."""


class EventDecoder:
    """Looks events up by the first byte string of a message."""

    def __init__(self) -> None:
        self.events: dict[bytes, Event] = {}

    def decode(self, parts: Sequence[Part], arrival_ns: int) -> Event:
        event = self.events[bytes(parts[0])]
        if isinstance(event, Passed) and event.kind == "broken":
            raise BadMessageError("header", "made to be broken")
        if isinstance(event, Frame):
            return replace(event, arrival_ns=arrival_ns)
        return event


class Bench:
    """Everything around one line; `feed` puts messages in, `run` steps until nothing moves."""

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int = 10_000,
        judge_bytes: int = 5_000,
        batch_size: int = 4,
        vetoed_share: float = 1.0,
        plan: Plan[RegionReader] = whole_frame,
        streams: Sequence[str] = ("kept", "vetoed", "diffuse"),
        real_time: bool = False,
        hot_pixels: Literal["off", "learn", "mask"] = "off",
        samples: Samples | None = None,
        deadline_ms: float = DEADLINE_MS,
        policy: PolicySettings | None = None,
        diffuse_bytes: int = 5_000,
        workers: int = 1,
        diffuse_ms: float = DIFFUSE_MS,
        diffuse_workers: int = 1,
    ) -> None:
        """With a `policy` there is a second step: `diffuse_model` scores by the second pixel."""
        self.clock = FakeClock()
        clock = time.monotonic_ns if real_time else self.clock
        self.source = FakeSource()
        self.decoder = EventDecoder()
        self.model = FakeModel()
        self.verdict_sink = FakeVerdicts()
        self.kept, self.vetoed, self.diffuse_frames = FakeStream(), FakeStream(), FakeStream()
        self.line = Line(max_bytes)
        deadline_ns = int(deadline_ms * 1e6)
        self.backlog = Backlog(judge_bytes, deadline_ns // 2, workers)
        self.metrics = Metrics()
        self.metrics.watch_line(self.line.counts)
        self.reports = Reports(clock)
        self.ledger_path = folder / "ledger.sqlite"
        self.ledger = Ledger(self.ledger_path, model="fake", wall_ns=lambda now_ns: now_ns)
        self.ledger.open(clock())
        OPEN.append(self)
        self.ingest = Ingest(
            source=self.source,
            decoder=self.decoder,
            line=self.line,
            backlog=self.backlog,
            metrics=self.metrics,
            clock=clock,
            reports=self.reports,
        )
        self.hot_pixel_path = folder / "hot_pixels.npz"
        self.hot_pixels = None
        if hot_pixels != "off":
            self.hot_pixels = HotPixelMask(
                masks=hot_pixels == "mask",
                file=self.hot_pixel_path,
                metrics=self.metrics,
                clock=clock,
                reports=self.reports,
            )
        self.diffuse_model = FakeModel(pixel=1)
        diffuse_ns = int(diffuse_ms * 1e6)
        self.diffuse_backlog = Backlog(diffuse_bytes, diffuse_ns // 2, diffuse_workers)
        self.diffuse: DiffuseStage | None = None
        if policy is not None:
            self.diffuse = DiffuseStage(
                line=self.line,
                first=self.backlog,
                backlog=self.diffuse_backlog,
                model=self.diffuse_model,
                threshold=0.5,
                policy=policy,
                plan=plan,
                deadline_ns=diffuse_ns,
                metrics=self.metrics,
                clock=clock,
                reports=self.reports,
                workers=diffuse_workers,
            )
        self.judge = Judge(
            line=self.line,
            backlog=self.backlog,
            model=self.model,
            threshold=0.5,
            plan=plan,
            batch_size=batch_size,
            wait_ns=int(WAIT_MS * 1e6),
            deadline_ns=deadline_ns,
            metrics=self.metrics,
            clock=clock,
            reports=self.reports,
            hot_pixels=self.hot_pixels,
            diffuse=self.diffuse,
            workers=workers,
        )
        outputs = {"kept": self.kept, "vetoed": self.vetoed, "diffuse": self.diffuse_frames}
        self.streams = Streams(
            {name: outputs[name] for name in streams},
            metrics=self.metrics,
            clock=clock,
            reports=self.reports,
        )
        self.publish = Publish(
            line=self.line,
            verdicts=self.verdict_sink,
            streams=self.streams,
            vetoed_share=vetoed_share,
            ledger=self.ledger,
            judged_by=JudgedBy(
                model="fake",
                threshold=0.5,
                diffuse_model="fake diffuse",
                diffuse_threshold=0.5,
            ),
            deadline_ns=deadline_ns,
            metrics=self.metrics,
            clock=clock,
            reports=self.reports,
            samples=samples,
        )

    def let_die(self) -> None:
        """As a killed process would leave it."""
        self.ledger._db.close()

    def feed(self, *events: Event) -> None:
        for event in events:
            self.decoder.events[bytes(event.parts[0])] = event
            self.source.messages.append(event.parts)
            assert self.ingest.step(0)

    def settle(self) -> None:
        """Let the batch close and judge everything."""
        while len(self.backlog):
            self.judge.step()
        while not self.judge.idle:
            self.clock.pass_ms(WAIT_MS)
            self.judge.step()

    def second_step(self) -> None:
        """Let the second step judge everything that it has been given."""
        assert self.diffuse is not None
        while len(self.diffuse_backlog):
            self.diffuse.step()

    def publish_all(self) -> None:
        while self.publish.step():
            pass

    def run(self) -> None:
        self.settle()
        if self.diffuse is not None:
            self.second_step()
        self.publish_all()

    def verdicts(self) -> list[VerdictMessage]:
        messages = [decode(part) for part in self.verdict_sink.taken]
        return [message for message in messages if isinstance(message, VerdictMessage)]

    def beats(self) -> list[Heartbeat]:
        messages = [decode(part) for part in self.verdict_sink.taken]
        return [message for message in messages if isinstance(message, Heartbeat)]


def pipeline_of(bench: Bench, workers: int = 1) -> Pipeline:
    """Threads around a bench in real time."""
    made = Pipeline(
        ingest=bench.ingest,
        judge=bench.judge,
        publish=bench.publish,
        line=bench.line,
        clock=time.monotonic_ns,
        diffuse=bench.diffuse,
        workers=workers,
    )
    PIPELINES.append(made)
    return made


def frame(
    number: int, value: int = HIT, series: str = "1", payload: Payload | None = None
) -> Frame:
    pixels = array_payload(np.full((4, 4), value, np.uint16)) if payload is None else payload
    name = f"frame {series}/{number}".encode()
    return Frame(series=series, number=number, payload=pixels, parts=(name, bytes(100)))


def hit(number: int, diffuse: int = 0, size: int = 100) -> Frame:
    """A hit that the second step scores `diffuse` over 100."""
    pixels = np.full((4, 4), HIT, np.uint16)
    pixels[0, 1] = diffuse
    parts = (f"frame 1/{number}".encode(), bytes(size))
    return Frame(series="1", number=number, payload=array_payload(pixels), parts=parts)


def start(series: str = "1", announced: int | None = None) -> SeriesStarted:
    return SeriesStarted(series=series, announced=announced, parts=(f"start {series}".encode(),))


def end(series: str = "1") -> SeriesEnded:
    return SeriesEnded(series=series, parts=(f"end {series}".encode(),))


def findings(bench: Bench) -> list[Diffuse | Reason | None]:
    """What the second step said of each frame, or why it said nothing."""
    return [verdict.diffuse_reason or verdict.diffuse for verdict in bench.verdicts()]


def outcomes(bench: Bench) -> list[Outcome]:
    """What became of each frame."""
    return [verdict.outcome for verdict in bench.verdicts()]


def fates(bench: Bench) -> list[Outcome | Reason]:
    """What became of each frame, or why nobody judged it."""
    return [verdict.reason or verdict.outcome for verdict in bench.verdicts()]


def balanced(bench: Bench) -> bool:
    """Whether every frame is accounted for."""
    counts = bench.line.counts()
    settled = counts.kept + counts.vetoed + sum(counts.unjudged.values())
    return counts.received == settled + counts.in_flight
