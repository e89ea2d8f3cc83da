"""What the page is told, twice a second, as one JSON object. docs/how-to/live-page.md has its keys.

Pure: state and time in, values out. Times are seconds since 1970 by the page's clock.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from hitfinder.monitor.alerts import Alerts
from hitfinder.monitor.board import Board
from hitfinder.monitor.gallery import Gallery, Picture, SpotMap
from hitfinder.monitor.history import SECOND_NS, Bin
from hitfinder.monitor.powder import Powder
from hitfinder.monitor.raster import Raster
from hitfinder.monitor.rings import View
from hitfinder.wire.verdicts import Totals, VerdictMessage

FRAMES = 60
"""Frames in the list; older ones stand at their addresses as long as there is room."""

SPANS: Final = {"minutes": (120, 1), "hour": (3600, 30)}
"""Seconds and width of a bin of each history."""

RATE_S = 5
HIT_RATE_S = 60

Wall = Callable[[int], float]
"""Seconds since 1970 of a monotonic time."""


class RasterAbout(msgspec.Struct, frozen=True, kw_only=True):
    """How to read pixels that are fetched by themselves."""

    rows: int
    cols: int
    binning: int
    dtype: str


class SpotsAbout(msgspec.Struct, frozen=True, kw_only=True):
    """How to read a spot map."""

    rows: int
    cols: int
    cell_px: int
    dtype: str


class FrameLine(msgspec.Struct, frozen=True, kw_only=True):
    """A frame in the list."""

    verdict: VerdictMessage
    at: float
    shown: bool


class FrameAbout(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of a frame but its pixels."""

    verdict: VerdictMessage
    at: float
    view: View
    image: RasterAbout | None
    spots: SpotsAbout | None
    trouble: str | None


class PowderAbout(msgspec.Struct, frozen=True, kw_only=True):
    """The virtual powder pattern but its pixels."""

    series: str | None
    hits: int
    view: View | None


class HistoryBin(msgspec.Struct, frozen=True, kw_only=True):
    """See `Bin`."""

    at: float
    hit_rate: float | None
    kept: int
    vetoed: int
    unjudged: int
    p50_ms: float | None
    p99_ms: float | None


class AlertLine(msgspec.Struct, frozen=True, kw_only=True):
    """See `Alert`."""

    name: str
    summary: str
    since: float
    until: float | None


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """What the page looks at; the same as long as it runs."""

    verdicts: str
    samples: str | None
    model: str
    model_version: str
    model_sha256: str
    task: str
    deadline_ms: float
    version: str


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """All numbers of the page."""

    at: float
    source: Source
    silent_s: float
    totals: Totals | None
    missed: int
    complaint: str | None
    frames_per_s: float
    hit_rate: float | None
    p50_ms: float | None
    p99_ms: float | None
    model: str | None
    threshold: float | None
    scores: dict[str, list[int]]
    history: dict[str, list[HistoryBin]]
    alerts: list[AlertLine]
    frames: list[FrameLine]
    powder: PowderAbout
    buffer_bytes: int
    buffer_max_bytes: int


def snapshot(
    board: Board,
    alerts: Alerts,
    gallery: Gallery,
    powder: Powder,
    *,
    source: Source,
    now_ns: int,
    wall: Wall,
) -> Snapshot:
    """The state as it stands. `board.history` has been advanced."""
    recent = board.history.last(RATE_S)
    return Snapshot(
        at=wall(now_ns),
        source=source,
        silent_s=(now_ns - board.heard_ns) / 1e9,
        totals=board.totals,
        missed=board.missed,
        complaint=board.complaint,
        frames_per_s=board.history.per_second(RATE_S),
        hit_rate=board.history.last(HIT_RATE_S).hit_rate,
        p50_ms=recent.p50_ms,
        p99_ms=recent.p99_ms,
        model=board.model,
        threshold=board.threshold,
        scores={outcome.value: counts for outcome, counts in board.histogram().items()},
        history={
            name: [_bin(one, wall) for one in board.history.bins(seconds, width)]
            for name, (seconds, width) in SPANS.items()
        },
        alerts=[
            AlertLine(
                name=one.name,
                summary=one.summary,
                since=wall(one.since_ns),
                until=None if one.until_ns is None else wall(one.until_ns),
            )
            for one in alerts.recent()
        ],
        frames=_lines(gallery.latest(FRAMES), wall),
        powder=PowderAbout(series=powder.series, hits=powder.hits, view=powder.view),
        buffer_bytes=gallery.nbytes,
        buffer_max_bytes=gallery.max_bytes,
    )


def about(picture: Picture, wall: Wall) -> FrameAbout:
    """What is told of one frame."""
    return FrameAbout(
        verdict=picture.verdict,
        at=wall(picture.at_ns),
        view=picture.view,
        image=None if picture.image is None else raster_about(picture.image),
        spots=None if picture.spots is None else _spots_about(picture.spots),
        trouble=picture.trouble,
    )


def raster_about(raster: Raster) -> RasterAbout:
    """How its pixels are read."""
    return RasterAbout(
        rows=raster.rows, cols=raster.cols, binning=raster.binning, dtype=raster.dtype
    )


def _spots_about(spots: SpotMap) -> SpotsAbout:
    found = spots.map
    return SpotsAbout(rows=found.rows, cols=found.cols, cell_px=spots.cell_px, dtype=found.dtype)


def _lines(pictures: Sequence[Picture], wall: Wall) -> list[FrameLine]:
    return [
        FrameLine(verdict=one.verdict, at=wall(one.at_ns), shown=one.image is not None)
        for one in pictures
    ]


def _bin(one: Bin, wall: Wall) -> HistoryBin:
    return HistoryBin(
        at=wall(one.at_s * SECOND_NS),
        hit_rate=one.hit_rate,
        kept=one.kept,
        vetoed=one.vetoed,
        unjudged=one.unjudged,
        p50_ms=one.p50_ms,
        p99_ms=one.p99_ms,
    )
