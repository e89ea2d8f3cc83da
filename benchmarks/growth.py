"""How the service grows: frame size, batches, hits, workers, load. Part of `make bench`.

Every figure is of the real service with its sender on the same machine (`benchmarks.rig`). What
it can judge is the most that it judged at some rates about what one core judges alone: at a rate
far above, ingest takes the cores from the judge, which is no measure of what it can. What this
file does not know: what a stage of it costs (`benchmarks.wire`).
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.material import Shots, shots
from benchmarks.record import Cell, Column, Plot, Row, Section, Tell, shown
from benchmarks.rig import ON_CPU, Passed, RigError, Setup, alone_per_s, run, write_frames
from hitfinder.config import ServeConfig
from hitfinder.errors import HitfinderError

PART = "growth"
FRAMES = 10
SECONDS = 1.5
SIDES = (512, 1024, 1750, 2048, 4096)
BATCHES = ((1, 2.0), (8, 0.0), (8, 2.0), (8, 10.0), (32, 2.0))
HIT_SHARES = (0.0, 0.2, 1.0)
WORKERS = (1, 2, 4)
PROBES = (0.6, 1.0, 1.5)
LOADS = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0, 1.25, 1.6, 2.2, 3.5)
"""Of what one core judges alone."""
RATE_HZ = 120.0
CALM_HZ = 60.0
WHOLE = '[region]\nkind = "whole"\n[detector]\nshape = [{side}, {side}]\n'
"""The shape, so that no series pays for warming."""

JUDGED = Column(name="judged", unit="frames/s")
P50 = Column(name="p50", unit="ms")
P99 = Column(name="p99", unit="ms")
UNJUDGED = Column(name="unjudged", unit="%")
MOST = "Judged: the most of some rates, sender on the same machine; p50 and p99: arrival to verdict"


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
        crop = _most_and_calm(Setup(data=data), seconds, CALM_HZ)
        whole = Setup(data=data, more=ON_CPU + WHOLE.format(side=side))
        size_mb = data.stat().st_size / len(pixels) / 1e6
        cells = (side**2 / 1e6, size_mb, *crop, _most(run(whole, _probes(whole, seconds))))
        rows.append(Row(name=f"{side} × {side}", cells=cells))
        data.unlink()
    return Section(
        part=PART,
        title="Growth with the frame's size",
        says=(
            f"uint16, bslz4, stream v2 over TCP. {MOST} at {CALM_HZ:g} frames/s, the middle "
            "of 350 × 350 judged."
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
        cells = (wait_ms, *_most_and_calm(Setup(data=data, more=more), seconds, RATE_HZ))
        rows.append(Row(name=str(size), cells=cells))
    return Section(
        part=PART,
        title="Growth with the batch",
        says=f"1750 × 1750, the middle judged. {MOST} at {RATE_HZ:g} frames/s.",
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
        setup = Setup(data=data, forwards=True)
        cells = (100 * share, *_most_and_calm(setup, seconds, RATE_HZ))
        rows.append(Row(name=f"{share:.0%}", cells=cells))
    return Section(
        part=PART,
        title="Growth with the share of hits",
        says=(
            f"Kept frames go on to a receiver on this machine, too. {MOST} at {RATE_HZ:g} frames/s."
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
            rows.append(Row(name=str(count), cells=_most_and_calm(setup, seconds, RATE_HZ)))
        except HitfinderError as error:
            rows.append(Row(name=f"{count} workers", problem=str(error)))
    return Section(
        part=PART,
        title="Growth with the number of workers",
        says=f"1750 × 1750, the middle judged. {MOST} at {RATE_HZ:g} frames/s.",
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
    alone = alone_per_s(setup)
    tell(f"load, {what}: up to {LOADS[-1] * alone:.0f} frames/s")
    curve = run(setup, [(load * alone, seconds) for load in LOADS])
    most = _most(curve)
    rows = [
        Row(
            name=shown(passed.sent_per_s),
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
            f"1750 × 1750; 100 % is the most that was judged, {shown(most)} frames/s. Latency is "
            "that of judged frames; the others go on unjudged, none is lost."
        ),
        first="sent, frames/s",
        columns=(Column(name="load", unit="%"), JUDGED, P50, P99, UNJUDGED),
        rows=tuple(rows),
        plot=Plot(name=plot, kind="lines", x="load", y=("p50", "p99"), right="unjudged", log="y"),
    )


def _most_and_calm(setup: Setup, seconds: float, calm_hz: float) -> tuple[Cell, Cell, Cell]:
    """What can be judged, frames/s; p50 and p99 at a rate."""
    calm, *probed = run(setup, [(calm_hz, seconds), *_probes(setup, seconds)])
    return _most(probed), calm.percentile(50), calm.percentile(99)


def _probes(setup: Setup, seconds: float) -> list[tuple[float | None, float]]:
    """Rates about what can be judged."""
    alone = alone_per_s(setup)
    return [(probe * alone, seconds) for probe in PROBES]


def _most(passed: Sequence[Passed]) -> float:
    return max(each.judged_per_s for each in passed)


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
