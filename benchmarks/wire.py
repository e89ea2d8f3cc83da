"""The whole service against a loop that only receives, and what a frame costs in each stage.

A turn runs the same sender, a process of its own on the same machine, against the bare loop, then
against a real `hitfinder serve`. What counts is a verdict of the model. Part of `make bench`.
What this file does not know: how costs grow (`benchmarks.growth`).
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.material import Shots, shots
from benchmarks.record import Bar, Cell, Column, Row, Section, Spread, Tell, spread
from benchmarks.rig import RigError, write_frames
from benchmarks.wire_peers import Judged, Received
from hitfinder.commands.demo import free_ports, started, wait_ready
from hitfinder.frame import Frame, Part, Payload, array_payload
from hitfinder.inference.model_card import find_artifact
from hitfinder.inference.onnx_model import OnnxModel
from hitfinder.serving.settings import BatchSettings
from hitfinder.wire import PROTOCOLS
from hitfinder.wire.compression import recoded
from hitfinder.wire.protocol import Decoder
from tests.serving.bench import HIT, MISS, Bench, frame

PART = "wire"
TURNS = 3
SECONDS = 0.8
WINDOW = 32
"""Frames that a closed loop has in flight: eight batches, so that no stage waits for another."""

BATCH = BatchSettings().size
FRAMES = 20
HIT_EVERY = 5
ROUNDS = 12
BOOKED = 1000
PATIENCE_S = 60.0
LEAST_SHARE, LEAST_PER_S = 0.65, 300.0

WAYS = (
    *(("dectris-v2", encoding, by) for encoding in ("raw", "bslz4") for by in ("tcp", "ipc")),
    *(("array-1.0", "raw", by) for by in ("tcp", "ipc")),
)
PARTS = {"dectris-v2": 1, "array-1.0": 2}
"""Of a frame's message."""

_CONFIG = """\
[input]
endpoint = "{frames}"
protocol = "{protocol}"
[model]
device = "cpu"
[verdicts]
endpoint = "{verdicts}"
[http]
port = {http}
[log]
level = "error"
"""

_Told = TypeVar("_Told", Judged, Received)
_Item = TypeVar("_Item")


@dataclass(kw_only=True)
class Turns:
    """What was measured of one way: frames/s, and processor time of a frame in ms."""

    bare: list[float] = field(default_factory=list)
    bare_cpu_ms: list[float] = field(default_factory=list)
    judged: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    flooded: list[float] = field(default_factory=list)
    passed: list[float] = field(default_factory=list)

    @property
    def share(self) -> Spread:
        """Judged over bare, turn by turn."""
        return spread(np.array(self.judged) / np.array(self.bare))


def measure(share: float, tell: Tell) -> list[Section]:
    """Two tables."""
    tell("simulating frames")
    seen = _a_fifth_hits(shots(2 * max(1, FRAMES // HIT_EVERY)))
    found: dict[tuple[str, str, str], Turns] = {}
    with tempfile.TemporaryDirectory(prefix="hitfinder-bench-") as name:
        data = Path(name) / "frames.h5"
        write_frames(data, seen, seen.pixels)
        for way in WAYS:
            found[way] = _in_turns(data, way, max(1, round(share * TURNS)), tell)
    tell("stages")
    return [_wire(found), _stages(seen, found, max(2, round(share * ROUNDS)))]


def _a_fifth_hits(seen: Shots) -> Shots:
    """FRAMES frames, of which every fifth is a hit; blanks come again."""
    hits, blanks = seen.pixels[::2], seen.pixels[1::2]
    order = [
        hits[n // HIT_EVERY % len(hits)] if n % HIT_EVERY == 0 else blanks[n % len(blanks)]
        for n in range(FRAMES)
    ]
    return Shots(pixels=np.stack(order), detector=seen.detector)


def _in_turns(data: Path, way: tuple[str, str, str], turns: int, tell: Tell) -> Turns:
    """Bare, judged, flooded; `turns` times, through one service. Raises RigError."""
    found = Turns()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hitfinder-bench-")))
        ports = free_ports()
        places = {
            "frames": _endpoint(way[2], folder, ports.frames),
            "verdicts": f"ipc://{folder}/verdicts",
        }
        (folder / "hitfinder.toml").write_text(
            _CONFIG.format(protocol=way[0], http=ports.http, **places)
        )
        service = stack.enter_context(started("serve", str(folder / "hitfinder.toml")))
        wait_ready(f"http://127.0.0.1:{ports.http}/readyz", service)
        sent = 0

        def judged(window: int) -> tuple[Judged, float]:
            nonlocal sent
            before_ms, before = _cpu_ms(service.pid), sent
            options = ("--verdicts", places["verdicts"], "--window", str(window))
            more = ("--first", str(sent), "--seconds", str(SECONDS))
            said = _ask(Judged, _sending(data, way, places["frames"], *options, *more))
            sent = said.sent
            return said, (_cpu_ms(service.pid) - before_ms) / (sent - before)

        for turn in range(1, turns + 1):
            tell(f"{' '.join(way)}, turn {turn} of {turns}")
            bare = _bare(data, way, _endpoint(way[2], folder, ports.kept, "bare"))
            found.bare.append(bare.per_s)
            found.bare_cpu_ms.append(bare.cpu_ms)
            loop, cpu_ms = judged(WINDOW)
            found.judged.append(loop.judged_per_s)
            found.cpu_ms.append(cpu_ms)
            flood, _ = judged(0)
            found.flooded.append(flood.judged_per_s)
            found.passed.append(flood.unjudged_per_s)
    return found


def _endpoint(by: str, folder: Path, port: int, name: str = "frames") -> str:
    return f"tcp://127.0.0.1:{port}" if by == "tcp" else f"ipc://{folder}/{name}"


def _sending(data: Path, way: tuple[str, str, str], endpoint: str, *options: str) -> list[str]:
    return ["send", str(data), endpoint, way[0], way[1], *options]


def _bare(data: Path, way: tuple[str, str, str], endpoint: str) -> Received:
    with _peer(_sending(data, way, endpoint)):
        return _ask(Received, ["receive", endpoint, str(PARTS[way[0]]), str(SECONDS)])


@contextmanager
def _peer(words: list[str]) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.wire_peers", *words])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _ask(kind: type[_Told], words: list[str]) -> _Told:
    command = [sys.executable, "-m", "benchmarks.wire_peers", *words]
    try:
        said = subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=True).stdout
    except subprocess.TimeoutExpired as error:
        raise RigError(f"{words[0]}: nothing within {PATIENCE_S:g} s") from error
    except subprocess.CalledProcessError as error:
        raise RigError(f"{words[0]} failed: {error.stderr.decode()[-300:]}") from error
    return msgspec.json.decode(said, type=kind)


def _cpu_ms(process: int) -> float:
    """Processor time of all its threads (Linux), in the system's clock ticks."""
    words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return 1e3 * (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _wire(found: dict[tuple[str, str, str], Turns]) -> Section:
    rows = []
    for way, turns in found.items():
        cells: tuple[Cell, ...] = (
            *(spread(turns.bare), spread(turns.judged), turns.share),
            *(spread(turns.flooded), spread(turns.passed)),
        )
        rows.append(Row(name=", ".join(way), cells=cells))
    raw, packed = found["dectris-v2", "raw", "tcp"], found["dectris-v2", "bslz4", "tcp"]
    return Section(
        part=PART,
        title="Against the wire",
        says=(
            "1750 × 1750 uint16, a fifth of them hits, the middle 350 × 350 judged; the sender is "
            "a process on the same machine, at full speed. Bare: a process that only receives. "
            f"Judged: frames with a score, from a sender that has {WINDOW} frames in flight, so "
            "that it sends as fast as the service judges. Flooded: from a sender that sends all "
            "that the sockets take; passed on: what then went on unjudged. Verdicts, ledger and "
            "metrics as in production; no frame is forwarded, as the bare loop forwards none."
        ),
        first="protocol, encoding, transport",
        columns=(
            Column(name="bare", unit="frames/s"),
            Column(name="judged", unit="frames/s"),
            Column(name="judged / bare"),
            Column(name="flooded: judged", unit="frames/s"),
            Column(name="passed on", unit="frames/s"),
        ),
        rows=tuple(rows),
        bars=(
            Bar(what="v2 raw over TCP: judged / bare", value=raw.share.median, least=LEAST_SHARE),
            Bar(
                what="v2 bslz4 over TCP: judged frames/s",
                value=spread(packed.judged).median,
                least=LEAST_PER_S,
            ),
        ),
    )


def _stages(seen: Shots, found: dict[tuple[str, str, str], Turns], rounds: int) -> Section:
    """Each stage alone, by the processor time of its thread; what the service took in all, less
    their sum, is the price of their working together.
    """
    booked = _booked(rounds)
    columns: list[dict[str, Spread]] = []
    for encoding in ("raw", "bslz4"):
        turns = found["dectris-v2", encoding, "tcp"]
        columns.append(
            {
                "receive (the bare loop)": spread(turns.bare_cpu_ms),
                **{name: spread(times) for name, times in _read(seen, encoding, rounds).items()},
                **booked,
                "whole service": spread(turns.cpu_ms),
            }
        )
    rows = []
    for name in columns[0]:
        if name == "whole service":
            rest = [_rest(column) for column in columns]
            rows.append(_row("waking threads, caches, the rest", columns, rest))
        rows.append(_row(name, columns, [column[name] for column in columns]))
    return Section(
        part=PART,
        title="What a frame costs, stage by stage",
        says=(
            "Processor time of one frame, stream v2 over TCP, one worker, batches of "
            f"{BATCH}. Each stage measured alone; the whole service while it judged as above. "
            "Shares are of the whole service. A sender costs about as much as receiving, besides."
        ),
        first="stage",
        columns=(
            Column(name="raw", unit="ms"),
            Column(name="raw, share"),
            Column(name="bslz4", unit="ms"),
            Column(name="bslz4, share"),
        ),
        rows=tuple(rows),
    )


def _rest(column: dict[str, Spread]) -> float:
    stages = sum(each.median for name, each in column.items() if name != "whole service")
    return column["whole service"].median - stages


def _row(name: str, columns: list[dict[str, Spread]], values: Sequence[Spread | float]) -> Row:
    cells: list[Cell] = []
    for column, value in zip(columns, values, strict=True):
        middle = value.median if isinstance(value, Spread) else value
        cells += [value, middle / column["whole service"].median]
    return Row(name=name, cells=tuple(cells))


def _read(seen: Shots, encoding: str, rounds: int) -> dict[str, list[float]]:
    """Milliseconds a frame of what is done with its pixels, a value a round."""
    reader = seen.reader("center")
    rows = seen.pixels.shape[1]
    band = ((rows - reader.shape[0]) // 2, (rows + reader.shape[0]) // 2)
    protocol = PROTOCOLS["dectris-v2"]
    encoder, decoder = protocol.encoder(), protocol.decoder()
    model = OnnxModel.load(find_artifact("hit", Path()), device="cpu")
    batch = np.empty((BATCH, *reader.shape), np.float32)
    model.warm([batch.shape])
    messages, payloads = [], []
    for number, pixels in enumerate(seen.pixels):
        payload = recoded(array_payload(pixels), carried=(encoding,), encoding=encoding)
        (parts,) = encoder.frame(Frame(series="1", number=number, payload=payload))
        messages.append((memoryview(parts[0]),))
        payloads.append(payload)
    times: dict[str, list[float]] = {
        name: [] for name in ("decode header", "decode band", "crop", "score")
    }
    for _ in range(rounds):
        spent = dict.fromkeys(times, 0.0)
        for first in range(0, len(messages) - BATCH + 1, BATCH):
            some, these = messages[first : first + BATCH], payloads[first : first + BATCH]
            spent["decode header"] += _spent(partial(_each, partial(_header, decoder), some))
            spent["decode band"] += _spent(partial(_each, partial(_band, *band), these))
            spent["crop"] += _spent(partial(_fill, reader.read, these, batch))
            spent["score"] += _spent(partial(model.score, batch))
        spent["crop"] -= spent["decode band"]  # reading a region begins with it
        for name, seconds in spent.items():
            times[name].append(1e3 * seconds / (len(messages) // BATCH * BATCH))
    return times


def _fill(
    read: Callable[[Payload, NDArray[np.float32]], None],
    payloads: list[Payload],
    batch: NDArray[np.float32],
) -> None:
    for payload, out in zip(payloads, batch, strict=True):
        read(payload, out)


def _each(act: Callable[[_Item], object], items: Sequence[_Item]) -> None:
    for item in items:
        act(item)


def _header(decoder: Decoder, parts: tuple[Part, ...]) -> None:
    decoder.decode(parts, 0)


def _band(start: int, stop: int, payload: Payload) -> None:
    payload.rows(start, stop)


def _spent(act: Callable[[], object]) -> float:
    """Seconds of this thread's processor time."""
    before = time.thread_time()
    act()
    return time.thread_time() - before


def _booked(rounds: int) -> dict[str, Spread]:
    """Milliseconds a frame of all that knows no pixels: line, batches, verdicts, ledger, metrics.

    Stepped by hand with the fakes of the tests; no thread is woken.
    """
    times: dict[str, list[float]] = {"line and backlog": [], "judge": [], "publish": []}
    with tempfile.TemporaryDirectory(prefix="hitfinder-bench-") as folder:
        bench = Bench(Path(folder), max_bytes=10**9, judge_bytes=10**9, batch_size=BATCH)
        for turn in range(rounds):
            events = [frame(n, MISS if n % HIT_EVERY else HIT, str(turn)) for n in range(BOOKED)]
            bench.decoder.events = {bytes(event.parts[0]): event for event in events}
            bench.source.messages.extend(event.parts for event in events)
            spent = (
                _spent(partial(_each, bench.ingest.step, [0] * BOOKED)),
                _spent(bench.settle),
                _spent(bench.publish_all),
            )
            for name, seconds in zip(times, spent, strict=True):
                times[name].append(1e3 * seconds / BOOKED)
            bench.kept.taken.clear()
            bench.vetoed.taken.clear()
            bench.verdict_sink.taken.clear()
        bench.let_die()
    return {name: spread(each) for name, each in times.items()}
