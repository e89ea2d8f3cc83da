"""Peak finders and the hit model: time from a decoded frame in memory to peaks or a score.

Part of `make bench`. All get the same frames, hits and blanks in turn, on one core, and take turns
frame by frame, so that whatever else the machine does hits all alike. Whoever has its turn works
on the next frames unmeasured, for SETTLE_S and one at least, before it is measured on this one, as
in a process that does nothing else; what the hit stage's first frame after something else costs is
a row of its own. Measured is processor time, of which a machine with other work spoils least: in
wall time whoever is quick is done before he is interrupted, and looks better than he is. What this
file does not know: who finds what; `benchmarks.compare_finders` is about that.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.material import Shots, radii, regions, shots
from benchmarks.peers import PEERS, PeerError, PeerFinders, peer_finders
from benchmarks.record import Bar, Column, Plot, Row, Section, Spread, Tell, spread
from hitfinder.frame import array_payload
from hitfinder.images.reader import RegionReader
from hitfinder.inference.model_card import find_artifact
from hitfinder.inference.onnx_model import OnnxModel
from hitfinder.peaks.finder import plan_peaks
from hitfinder.peaks.settings import PeakSettings

PART = "finders"
FRAMES = 16
BATCH = 8
"""What the service gathers under load; at 120 Hz it judges frames as they come."""

SETTLE_S = 0.03
"""A hit stage of half a millisecond needs ten frames until caches and clock are as in a loop."""

STAGE = "hit stage: crop of the frame, and score"
MODEL = "hit model"
PERIOD_MS = 1e3 / 120
"""Between frames at 120 Hz."""

PAPER = "Li et al. 2018; their machine, a cropped frame"
WHOLE_TURNS, CROP_TURNS = 16, 48

T = TypeVar("T")

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
            unable: list[Row] = []
            for title, worker in peers:
                try:
                    names = worker.load(images, radii(reader))
                    finders |= {f"{title}, {name}": _peers(worker, name) for name in names}
                except PeerError as error:
                    unable.append(Row(name=title, problem=str(error)))
            tell(f"finders on {rows} x {cols}")
            times = _in_turns(finders, max(2, round(share * turns)), tell)
            sections.append(_section(kind, (rows, cols), times, [*problems, *unable]))
    return sections


def _ours(
    seen: Shots, reader: RegionReader, images: NDArray[np.float32], model: OnnxModel
) -> dict[str, Find]:
    """The hit stage always cuts the middle out of the detector's own pixels; model and peak finder
    get all of `images`, as the peers do.
    """
    center = seen.reader("center")
    batch = np.empty((BATCH, *center.shape), np.float32)
    beam_y_px, beam_x_px = reader.beam_px or (None, None)
    peaks = plan_peaks(reader.shape, PeakSettings(), beam_x_px=beam_x_px, beam_y_px=beam_y_px)
    payloads = [array_payload(frame) for frame in seen.pixels]

    def stage(number: int, size: int) -> None:
        for place in range(size):
            center.read(payloads[(number + place) % FRAMES], batch[place])
        model.score(batch[:size])

    one = partial(stage, size=1)

    def in_batches(number: int) -> tuple[float, None]:
        return _settled(partial(stage, size=BATCH), number)[0] / BATCH, None

    return {
        "hit stage, the first frame after other work": lambda n: (_timed(one, n)[0], None),
        STAGE: lambda n: (_settled(one, n)[0], None),
        f"the same, in batches of {BATCH}": in_batches,
        MODEL: lambda n: (_settled(lambda m: model.score(images[m : m + 1]), n)[0], None),
        "our peak finder (`hitfinder peaks`)": lambda n: _settled(
            lambda m: len(peaks.find(images[m])), n
        ),
    }


def _peers(worker: PeerFinders, name: str) -> Find:
    def find(number: int) -> tuple[float, int]:
        found = worker.find(name, number)
        return found.ms, found.peaks

    return find


def _settled(work: Callable[[int], T], number: int) -> tuple[float, T]:
    """As `_timed`, after work on the frames that follow."""
    end = time.perf_counter() + SETTLE_S
    done = 0
    while not done or time.perf_counter() < end:
        done += 1
        work((number + done) % FRAMES)
    return _timed(work, number)


def _timed(work: Callable[[int], T], number: int) -> tuple[float, T]:
    """Ms of this thread for work on a frame, by its number, and what came of it."""
    started = time.thread_time()
    result = work(number)
    return 1e3 * (time.thread_time() - started), result


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
    reference = STAGE if kind == "whole" else MODEL
    slower_than = reference.partition(":")[0]
    first = np.array(times[reference].ms)
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
        "the hit stage looks at the middle 350 × 350 only, all others at the whole frame"
        if kind == "whole"
        else "everybody looks at the same pixels, as float32, but the hit stage, which cuts them "
        "out of the detector's own first"
    )
    return Section(
        part=PART,
        title=f"Finders on frames of {size}",
        says=(
            "Processor time from a decoded frame in memory to peaks or a score, in turns frame by "
            f"frame; {where}. Times slower: than the {slower_than} in the same turn."
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
