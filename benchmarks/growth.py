"""How the service grows: frame size, batches, hits, workers, load. Part of `make bench`.

Every figure is of the real service with its sender on the same machine (`benchmarks.rig`): what
it judges when more is sent than it can judge, and what a frame waits at a rate that it can. What
this file does not know: what a stage of it costs (`benchmarks.wire`).
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.material import Shots, shots
from benchmarks.record import Cell, Column, Plot, Row, Section, Tell
from benchmarks.rig import ON_CPU, RigError, Setup, run, write_frames
from hitfinder.config import ServeConfig
from hitfinder.errors import HitfinderError

PART = "growth"
FRAMES = 10
SECONDS = 2.0
SIDES = (512, 1024, 1750, 2048, 4096)
BATCHES = ((1, 2.0), (4, 2.0), (8, 0.0), (8, 2.0), (8, 10.0), (32, 2.0))
HIT_SHARES = (0.0, 0.2, 0.5, 1.0)
WORKERS = (1, 2, 4)
LOADS = (0.1, 0.3, 0.5, 0.7, 0.9, 1.0, 1.2, 1.5, 2.0, 3.0, 4.0)
"""Of what a flood leaves time to judge, which is less than what can be judged."""
RATE_HZ = 120.0
WHOLE = '[region]\nkind = "whole"\n[detector]\nshape = [{side}, {side}]\n'
"""The shape, so that no series pays for warming."""
HALF = 0.5
"""Of what can be judged: a load under which nothing queues."""

JUDGED = Column(name="judged", unit="frames/s")
P50 = Column(name="p50", unit="ms")
P99 = Column(name="p99", unit="ms")
UNJUDGED = Column(name="unjudged", unit="%")
FLOODED = (
    "judged: frames/s with the sender as fast as it can, on the same machine; p50 and p99: "
    "arrival to verdict"
)


def measure(share: float, tell: Tell) -> list[Section]:
    """Six tables."""
    seconds = max(0.3, share * SECONDS)
    tell("simulating frames")
    seen = shots(FRAMES)
    with tempfile.TemporaryDirectory(prefix="hitfinder-bench-") as name:
        folder = Path(name)
        data = folder / "frames.h5"
        write_frames(data, seen, seen.pixels)
        return [
            _sizes(seen, folder, seconds, tell),
            _batches(data, seconds, tell),
            _hit_shares(seen, folder, seconds, tell),
            _workers(data, seconds, tell),
            _loads("the middle of 350 × 350 judged", Setup(data=data), "load-crop", seconds, tell),
            _loads(
                "the whole frame judged",
                Setup(data=data, more=ON_CPU + WHOLE.format(side=1750)),
                "load-whole",
                seconds,
                tell,
            ),
        ]


def _sizes(seen: Shots, folder: Path, seconds: float, tell: Tell) -> Section:
    rows = []
    for side in SIDES:
        tell(f"frames of {side} × {side}")
        pixels = resized(seen.pixels, side)
        data = folder / f"{side}.h5"
        write_frames(data, seen, pixels)
        crop = _flood_and_pace(Setup(data=data), seconds)
        whole = run(Setup(data=data, more=ON_CPU + WHOLE.format(side=side)), [(None, seconds)])[0]
        size_mb = data.stat().st_size / len(pixels) / 1e6
        cells = (side**2 / 1e6, size_mb, *crop, whole.judged_per_s)
        rows.append(Row(name=f"{side} × {side}", cells=cells))
        data.unlink()
    return Section(
        part=PART,
        title="Growth with the frame's size",
        says=(
            f"uint16, bslz4, stream v2 over TCP; {FLOODED}, at half of that rate. "
            "Middle: 350 × 350 judged."
        ),
        first="frame",
        columns=(
            Column(name="size", unit="Mpixel"),
            Column(name="message", unit="MB"),
            Column(name="middle judged", unit="frames/s"),
            P50,
            P99,
            Column(name="whole judged", unit="frames/s"),
        ),
        rows=tuple(rows),
        plot=Plot(
            name="size",
            kind="lines",
            x="size",
            y=("middle judged", "whole judged"),
            log="xy",
            level=RATE_HZ,
            level_says="120 Hz",
        ),
    )


def _batches(data: Path, seconds: float, tell: Tell) -> Section:
    rows = []
    for size, wait_ms in BATCHES:
        tell(f"batches of {size}, {wait_ms:g} ms")
        more = f"{ON_CPU}[batch]\nsize = {size}\nwait_ms = {wait_ms}\n"
        flood, paced = run(Setup(data=data, more=more), [(None, seconds), (RATE_HZ, seconds)])
        cells = (wait_ms, flood.judged_per_s, paced.percentile(50), paced.percentile(99))
        rows.append(Row(name=str(size), cells=cells))
    return Section(
        part=PART,
        title="Growth with the batch",
        says=f"1750 × 1750, the middle judged; {FLOODED} at {RATE_HZ:g} frames/s.",
        first="most frames in a batch",
        columns=(Column(name="longest wait", unit="ms"), JUDGED, P50, P99),
        rows=tuple(rows),
    )


def _hit_shares(seen: Shots, folder: Path, seconds: float, tell: Tell) -> Section:
    rows = []
    for share in HIT_SHARES:
        tell(f"{share:.0%} hits")
        data = folder / "hits.h5"
        write_frames(data, seen, with_hits(seen.pixels, share))
        more = _flood_and_pace(Setup(data=data, forwards=True), seconds, RATE_HZ)
        rows.append(Row(name=f"{share:.0%}", cells=(100 * share, *more)))
    return Section(
        part=PART,
        title="Growth with the share of hits",
        says=(
            f"Kept frames go on to a receiver on this machine, which forwarding pays for; {FLOODED}"
            f" at {RATE_HZ:g} frames/s."
        ),
        first="hits",
        columns=(Column(name="hits", unit="%"), JUDGED, P50, P99),
        rows=tuple(rows),
    )


def _workers(data: Path, seconds: float, tell: Tell) -> Section:
    rows = []
    for count in WORKERS:
        tell(f"{count} workers")
        try:
            setup = Setup(data=data, more=with_workers(count))
            rows.append(Row(name=str(count), cells=_flood_and_pace(setup, seconds, RATE_HZ)))
        except HitfinderError as error:
            rows.append(Row(name=f"{count} workers", problem=str(error)))
    return Section(
        part=PART,
        title="Growth with the number of workers",
        says=f"1750 × 1750, the middle judged; {FLOODED} at {RATE_HZ:g} frames/s.",
        first="workers",
        columns=(JUDGED, P50, P99),
        rows=tuple(rows),
    )


def with_workers(count: int) -> str:
    """TOML for so many workers on the CPU, wherever the configuration has that setting. Raises
    RigError.
    """
    wanted = f"workers = {count}\n"
    if "workers" in ServeConfig.model_fields:
        return wanted + ON_CPU
    for name, field in ServeConfig.model_fields.items():
        if "workers" in getattr(field.annotation, "model_fields", {}):
            return ON_CPU + (wanted if name == "model" else f"[{name}]\n{wanted}")
    raise RigError("this version judges with one worker; measure one that has the setting")


def _loads(what: str, setup: Setup, plot: str, seconds: float, tell: Tell) -> Section:
    tell(f"load, {what}: capacity")
    (flood,) = run(setup, [(None, seconds)])
    orders = [(load * flood.judged_per_s, seconds) for load in LOADS]
    tell(f"load, {what}: up to {orders[-1][0]:.0f} frames/s")
    curve = run(setup, orders)
    most = max(passed.judged_per_s for passed in curve)
    rows = [
        Row(
            name=f"{passed.sent_per_s:.3g}",
            cells=(
                100 * passed.sent_per_s / most,
                passed.judged_per_s,
                passed.percentile(50),
                passed.percentile(99),
                100 * passed.unjudged_share,
            ),
        )
        for passed in curve
    ]
    return Section(
        part=PART,
        title=f"Latency and load, {what}",
        says=(
            f"1750 × 1750; 100 % is the most that was judged, {most:.3g} frames/s. Latency is that "
            "of judged frames; the others go on unjudged, none is lost."
        ),
        first="sent, frames/s",
        columns=(Column(name="load", unit="%"), JUDGED, P50, P99, UNJUDGED),
        rows=tuple(rows),
        plot=Plot(name=plot, kind="lines", x="load", y=("p50", "p99"), right="unjudged", log="y"),
    )


def _flood_and_pace(
    setup: Setup, seconds: float, rate_hz: float | None = None
) -> tuple[Cell, Cell, Cell]:
    """Judged frames/s of a flood, p50 and p99 at a rate: half of that, where none is given."""
    if rate_hz is None:
        (flood,) = run(setup, [(None, seconds)])
        (paced,) = run(setup, [(HALF * flood.judged_per_s, seconds)])
    else:
        flood, paced = run(setup, [(None, seconds), (rate_hz, seconds)])
    return flood.judged_per_s, paced.percentile(50), paced.percentile(99)


def resized(pixels: NDArray[Any], side: int) -> NDArray[Any]:
    """(n, side, side): the middle of a mosaic of the frames, whose middle stays in the middle."""
    rows = pixels.shape[1]
    tiles = 1 + 2 * -(-max(0, side - rows) // (2 * rows))  # odd: the middle one stands alone
    mosaic = np.tile(pixels, (1, tiles, tiles))
    start = (mosaic.shape[1] - side) // 2
    return mosaic[:, start : start + side, start : start + side]


def with_hits(pixels: NDArray[Any], share: float) -> NDArray[Any]:
    """As many frames, so many of them hits: even places are hits, odd ones blanks."""
    hits, blanks = pixels[::2], pixels[1::2]
    count = len(pixels)
    wanted: Sequence[bool] = [
        int((place + 1) * share) > int(place * share) for place in range(count)
    ]
    return np.stack(
        [
            (hits if hit else blanks)[place % len(hits)]
            for place, hit in zip(range(count), wanted, strict=True)
        ]
    )
