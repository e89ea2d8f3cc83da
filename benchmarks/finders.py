"""Peak finders and the hit model: time from a decoded frame in memory to peaks or a score.

Part of `make bench`. All get the same frames, hits and blanks in turn, on one core, and take turns
frame by frame, so that whatever else the machine does hits all alike. Whoever has its turn works
on the frame once unmeasured and once measured, as in a process that does nothing else. What this
file does not know: who finds what; `benchmarks.compare_finders` is about that.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.material import Shots, radii, regions, shots
from benchmarks.peers import PEERS, PeerError, PeerFinders, peer_finders
from benchmarks.record import Bar, Column, Plot, Row, Section, Spread, Tell, spread
from hitfinder.frame import array_payload
from hitfinder.images.region import RegionReader
from hitfinder.inference.model_card import find_artifact
from hitfinder.inference.onnx_model import OnnxModel
from hitfinder.peaks.finder import plan_peaks
from hitfinder.peaks.settings import PeakSettings

PART = "finders"
FRAMES = 16
BATCH = 8
"""As the service judges: the model's weights are read from memory once for all of them."""

STAGE = "hit stage: crop and score, in batches of 8"
PERIOD_MS = 1e3 / 120
"""Between frames at 120 Hz."""

PAPER = "Li et al. 2018; their machine, a cropped frame"
WHOLE_TURNS, CROP_TURNS = 16, 48

Find = Callable[[int], tuple[float, int | None]]
"""Works on a frame, by its number: ms, and the number of peaks where it finds peaks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Times:
    """ms of each turn, and peaks of hits and of blanks."""

    ms: list[float] = field(default_factory=list)
    peaks: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))


def measure(share: float, tell: Tell) -> list[Section]:
    """Two tables: whole frames, and the middle of 350 x 350 for all. `share` of the usual turns."""
    tell("simulating frames")
    seen = shots(FRAMES)
    model = OnnxModel.load(find_artifact("hit", Path.cwd()), "cpu")
    sections = []
    with ExitStack() as stack:
        peers: list[tuple[str, PeerFinders]] = []
        problems: list[Row] = []
        for peer in PEERS:
            try:
                worker = stack.enter_context(peer_finders(peer, tell))
                peers.append((f"{peer.title} {worker.version}", worker))
            except PeerError as error:
                problems.append(Row(name=peer.title, problem=str(error)))
        for kind, turns in (("whole", WHOLE_TURNS), ("center", CROP_TURNS)):
            reader = seen.reader(kind)
            rows, cols = reader.shape
            images = regions(reader, seen.pixels)
            finders = _ours(seen, reader, images, model)
            for title, worker in peers:
                for name in worker.load(images, radii(reader)):
                    finders[f"{title}, {name}"] = _peers(worker, name)
            tell(f"finders on {rows} x {cols}")
            times = _in_turns(finders, max(2, round(share * turns)), tell)
            sections.append(_section(kind, (rows, cols), times, problems))
    return sections


def _ours(
    seen: Shots, reader: RegionReader, images: NDArray[np.float32], model: OnnxModel
) -> dict[str, Find]:
    """The hit stage always looks at the middle; the other two at all of `images`."""
    center = seen.reader("center")
    batch = np.empty((BATCH, *center.shape), np.float32)
    beam_y_px, beam_x_px = reader.beam_px or (None, None)
    peaks = plan_peaks(reader.shape, PeakSettings(), beam_x_px=beam_x_px, beam_y_px=beam_y_px)
    payloads = [array_payload(frame) for frame in seen.pixels]

    def stage(number: int) -> tuple[float, None]:
        def judge() -> None:
            for place in range(BATCH):
                center.read(payloads[(number + place) % FRAMES], batch[place])
            model.score(batch)

        return _timed(judge) / BATCH, None

    def alone(number: int) -> tuple[float, None]:
        def judge() -> None:
            center.read(payloads[number], batch[0])
            model.score(batch[:1])

        return _timed(judge), None

    def all_of_it(number: int) -> tuple[float, None]:
        return _timed(lambda: model.score(images[number : number + 1])), None

    def find(number: int) -> tuple[float, int]:
        return _timed(lambda: peaks.find(images[number])), len(peaks.find(images[number]))

    ours: dict[str, Find] = {STAGE: stage, "hit stage: crop and score, one frame": alone}
    if reader.shape != center.shape:
        ours["hit model on the whole frame"] = all_of_it
    ours["our peak finder (`hitfinder peaks`)"] = find
    return ours


def _peers(worker: PeerFinders, name: str) -> Find:
    def find(number: int) -> tuple[float, int]:
        found = worker.find(name, number)
        return found.ms, found.peaks

    return find


def _timed(work: Callable[[], object]) -> float:
    """Ms of the second of two runs."""
    work()
    started = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - started)


def _in_turns(finders: dict[str, Find], turns: int, tell: Tell) -> dict[str, _Times]:
    times = {name: _Times() for name in finders}
    for turn in range(turns):
        number = turn % FRAMES
        tell(f"turn {turn + 1} of {turns}")
        for name, find in finders.items():
            ms, peaks = find(number)
            times[name].ms.append(ms)
            if peaks is not None:
                times[name].peaks[number % 2].append(peaks)
    return times


def _section(
    kind: str, shape: tuple[int, int], times: dict[str, _Times], problems: Sequence[Row]
) -> Section:
    first = np.array(times[STAGE].ms)
    over = {name: spread(np.array(each.ms) / first) for name, each in times.items()}
    rows = [
        Row(
            name=name,
            cells=(
                spread(each.ms),
                over[name],
                *(str(round(np.median(found))) if found else "" for found in each.peaks),
            ),
        )
        for name, each in times.items()
    ]
    if kind == "center":
        quoted = (
            ("their network", 12.0),
            ("the peak finder at LCLS then", 1400.0),
        )
        rows += [Row(name=name, cells=(ms, None, "", ""), source=PAPER) for name, ms in quoted]
    size = f"{shape[0]} × {shape[1]}"
    bars = _whole_bars(times, over) if kind == "whole" else _crop_bars(over)
    where = (
        "the hit stage looks at the middle 350 × 350 only, the finders at the whole frame"
        if kind == "whole"
        else "everybody looks at the same pixels"
    )
    return Section(
        part=PART,
        title=f"Finders on frames of {size}",
        says=(
            f"From a decoded frame in memory to peaks or a score, one core, in turns frame by "
            f"frame; {where}. Times slower: than the hit stage in the same turn."
        ),
        first="finder",
        columns=(
            Column(name="a frame", unit="ms"),
            Column(name="times slower"),
            Column(name="peaks in a hit"),
            Column(name="in a blank"),
        ),
        rows=(*rows, *problems),
        bars=bars,
        plot=Plot(
            name=f"finders-{kind}",
            kind="bars",
            y=("a frame",),
            log="x",
            level=PERIOD_MS,
            level_says="120 Hz",
        ),
    )


def _whole_bars(times: dict[str, _Times], over: dict[str, Spread]) -> tuple[Bar, ...]:
    return (
        Bar(what="hit stage, ms a frame", value=spread(times[STAGE].ms).median, most=0.5),
        Bar(
            what="OM's peakfinder8 fast on the whole frame, times slower",
            value=_median(over, "OM", "fast"),
            least=15,
        ),
        Bar(
            what="psana's v3r3 on the whole frame, times slower",
            value=_median(over, "psana", "v3r3"),
            least=500,
        ),
    )


def _crop_bars(over: dict[str, Spread]) -> tuple[Bar, ...]:
    value = _median(over, "OM", "fast")
    return (Bar(what="OM's peakfinder8 fast on the same crop, times slower", value=value, least=1),)


def _median(over: dict[str, Spread], title: str, finder: str) -> float | None:
    """None where the peer could not be had."""
    found = [
        each.median
        for name, each in over.items()
        if name.startswith(title) and name.endswith(f", {finder}")
    ]
    return found[0] if found else None
