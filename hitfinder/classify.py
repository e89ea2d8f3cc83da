"""Files to verdicts, through the same judge as the live service, without its sockets."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hitfinder.assemble import Clock, Judging
from hitfinder.dataset.frames import FrameRef, Series
from hitfinder.errors import DataFileError
from hitfinder.frame import Frame, SeriesStarted
from hitfinder.serving.line import InFlight, Mark
from hitfinder.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """One frame of a file and its verdict; `problem` says why there is none."""

    path: Path
    index: int
    truth: str | None
    verdict: Verdict | None
    problem: str | None = None


def classify(series: Series, judging: Judging, clock: Clock) -> Iterator[Classified]:
    """Judge every frame of a series, in order; a frame that cannot be read is told, not fatal."""
    started = SeriesStarted(series=series.name, detector=series.detector)
    judging.backlog.put(Mark(started), always=True)
    for number, ref in enumerate(series.frames):
        yield _classify_one(series.name, number, ref, judging, clock)


def _classify_one(
    series: str, number: int, ref: FrameRef, judging: Judging, clock: Clock
) -> Classified:
    try:
        payload = ref.load()
    except DataFileError as error:
        return Classified(
            path=ref.path, index=ref.index, truth=ref.truth, verdict=None, problem=str(error)
        )
    frame = Frame(series=series, number=number, payload=payload, arrival_ns=clock())
    passage = InFlight(frame)
    judging.line.enter(passage)
    judging.backlog.put(passage)
    while passage.verdict is None:
        if passage.hit is not None and judging.second is not None:
            judging.second.stage.step()
        else:
            judging.judge.step()
    judging.line.leave()
    return Classified(path=ref.path, index=ref.index, truth=ref.truth, verdict=passage.verdict)
