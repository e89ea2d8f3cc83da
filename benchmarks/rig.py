"""A real service on this machine, a sender, and a receiver of what is kept, for seconds at a time.

Three processes, over TCP, as `hitfinder demo`; frames are judged as in production, and what came
of them is read from the ledger afterwards, so that watching costs nothing. What this file does
not know: what is compared with what.
"""

import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.material import Shots
from benchmarks.pipes import WorkerError, worker
from benchmarks.sender import Order
from hitfinder.assemble import build_judging
from hitfinder.classify import classify
from hitfinder.commands.demo import Ports, free_ports, started, wait_ready
from hitfinder.config import ServeConfig
from hitfinder.dataset.hdf5_writer import series_writer
from hitfinder.dataset.series import open_series
from hitfinder.errors import HitfinderError
from hitfinder.frame import Detector, array_payload
from hitfinder.ledger.report import COLUMNS, read_frames
from hitfinder.replay.replayer import ReplaySummary
from hitfinder.settings import checked
from hitfinder.transport.settings import ReceiverSettings
from hitfinder.transport.sockets import Receiver, new_context
from hitfinder.wire.compression import recoded

REST_S = 0.1
"""Between two looks whether a service has done what it was sent."""
MOST_RESTS = 100
IN_FLIGHT = "hitfinder_frames_in_flight"

STOP_S = 30.0

_CONFIG = """\
{more}
[input]
endpoint = "tcp://127.0.0.1:{frames}"
protocol = "{protocol}"
[verdicts]
endpoint = "off"
[http]
port = {http}
[log]
level = "error"
"""
_KEPT = """\
[kept]
endpoint = "tcp://127.0.0.1:{kept}"
"""
ON_CPU = """\
[model]
device = "cpu"
"""


class RigError(HitfinderError):
    """The service or the sender failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is sent, and who judges it. `more` is TOML for the service; `forwards` has it send kept
    frames to a receiver here.
    """

    data: Path
    more: str = ON_CPU
    protocol: str = "dectris-v2"
    encoding: str = "bslz4"
    forwards: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """What came of one series. sent_per_s is what the sender reached, judged_per_s runs from the
    first arrival to the last verdict; latency_ms (judged,): from arrival to being judged.
    """

    sent: int
    sent_per_s: float
    received: int
    judged: int
    judged_per_s: float
    unjudged: int
    latency_ms: NDArray[np.float64] = field(repr=False)

    @property
    def unjudged_share(self) -> float:
        """Of the frames received."""
        return self.unjudged / max(1, self.received)

    def percentile(self, of: float) -> float | None:
        """Of the latency, ms; None where nothing was judged."""
        return float(np.percentile(self.latency_ms, of)) if len(self.latency_ms) else None


def write_frames(path: Path, seen: Shots, pixels: NDArray[Any]) -> None:
    """A file of frames (n, rows, cols) as bslz4. Frames of another shape than `seen` come without
    a mask: their gaps carry the type's largest value anyway.
    """
    detector = seen.detector
    if pixels.shape[1:] != seen.pixels.shape[1:]:
        detector = Detector(saturation=detector.saturation, underload=detector.underload)
    with series_writer(path, shape=pixels.shape[1:], dtype=pixels.dtype, detector=detector) as out:
        for frame in pixels:
            payload = recoded(array_payload(frame), carried=("bslz4",), encoding="bslz4")
            out.add(payload)


def run(setup: Setup, orders: Sequence[tuple[float | None, float]]) -> list[Passed]:
    """Series one after another through one service, each when the one before is done; each a rate
    in frames/s (None: as fast as they are taken) and seconds. Raises RigError.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hitfinder-bench-")))
        ports = free_ports()
        # First, so that it loads its frames while the service starts.
        ask = stack.enter_context(sending(setup.data, ports.frames, setup.protocol, setup.encoding))
        service = stack.enter_context(running(setup, folder, ports))
        if setup.forwards:
            stack.enter_context(_taking(ports.kept))
        sent = []
        for number, (rate_hz, seconds) in enumerate(orders, 1):
            sent.append(ask(Order(rate_hz=rate_hz, seconds=seconds, series=number)))
            _wait_done(ports.http)
        _end(service)
        table = list(read_frames(folder / "ledger.sqlite"))
    return [_passed(summary, str(number), table) for number, summary in enumerate(sent, 1)]


def alone_per_s(setup: Setup) -> float:
    """Frames/s that one core judges in this process, one by one, without sockets; by processor
    time, so that it is the same beside other work.
    """
    table = tomllib.loads(setup.more)
    table["input"] = {"endpoint": "ipc://none", "protocol": setup.protocol}
    table["pressure"] = {"deadline_ms": 600_000}
    table["batch"] = {"wait_ms": 0}
    config = checked(ServeConfig, table, "benchmark")
    judging = build_judging(config, Path(), time.monotonic_ns)
    (series,) = open_series([setup.data])
    for _ in range(2):  # the first plans and warms
        started = time.thread_time()
        list(classify(series, judging, time.monotonic_ns))
        seconds = time.thread_time() - started
    return len(series.frames) / seconds


def _wait_done(http: int) -> None:
    """Until nothing is in flight, at two looks one after the other: the sockets hold some, too."""
    quiet = 0
    for _ in range(MOST_RESTS):
        time.sleep(REST_S)
        with urllib.request.urlopen(f"http://127.0.0.1:{http}/metrics", timeout=5) as answer:
            told = answer.read().decode()
        quiet = quiet + 1 if f"\n{IN_FLIGHT} 0.0\n" in told else 0
        if quiet == 2:
            return
    raise RigError("the service did not come to rest; see its log")


def _end(service: "subprocess.Popen[bytes]") -> None:
    """Stop it; what it holds is judged and recorded before it ends. Raises RigError."""
    service.send_signal(signal.SIGTERM)
    try:
        status = service.wait(STOP_S)
    except subprocess.TimeoutExpired as error:
        raise RigError(f"the service did not end within {STOP_S} s; see its log") from error
    if status:
        raise RigError("the service ended with an error; its message stands above")


@contextmanager
def running(setup: Setup, folder: Path, ports: Ports) -> Iterator["subprocess.Popen[bytes]"]:
    """A service that is ready, its ledger and `totals.json` in `folder`. Raises HitfinderError."""
    config = folder / "hitfinder.toml"
    text = _CONFIG + (_KEPT if setup.forwards else "")
    places = {"frames": ports.frames, "kept": ports.kept, "http": ports.http}
    config.write_text(text.format(more=setup.more, protocol=setup.protocol, **places))
    with started("serve", str(config), "--summary-json", str(folder / "totals.json")) as service:
        wait_ready(f"http://127.0.0.1:{ports.http}/readyz", service)
        yield service


Ask = Callable[[Order], ReplaySummary]
"""Has a series sent, and comes back when all of it is. Raises RigError."""


@contextmanager
def sending(
    data: Path, port: int, protocol: str = "dectris-v2", encoding: str = "bslz4"
) -> Iterator[Ask]:
    """A sender of a file's frames, bound to a port of this machine."""
    words = (str(data), f"tcp://127.0.0.1:{port}", protocol, encoding)
    with worker([sys.executable, "-m", "benchmarks.sender", *words]) as process:

        def ask(order: Order) -> ReplaySummary:
            try:
                answer = process.ask(msgspec.json.encode(order))
            except WorkerError as error:
                raise RigError(f"the sender died: {error}") from error
            return msgspec.json.decode(answer, type=ReplaySummary)

        yield ask


@contextmanager
def _taking(port: int) -> Iterator[None]:
    """Somebody who takes the kept frames and does nothing with them."""
    over = threading.Event()

    def take() -> None:
        context = new_context()
        settings = checked(ReceiverSettings, {"endpoint": f"tcp://127.0.0.1:{port}"}, "kept")
        receiver = Receiver(settings, context)
        receiver.open()
        while not over.is_set():
            receiver.receive(50)
        receiver.close()
        context.destroy()

    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _passed(summary: ReplaySummary, series: str, table: Sequence[tuple[Any, ...]]) -> Passed:
    """One series' rows of the ledger."""
    place = {name: number for number, name in enumerate(COLUMNS)}
    rows = [row for row in table if row[place["series"]] == series]
    judged = [row for row in rows if row[place["outcome"]] != "unjudged"]
    latency_ms = np.array([row[place["latency_us"]] for row in judged], np.float64) / 1e3
    per_s = 0.0
    if judged:
        arrived_s = np.array([row[place["arrival_unix_ns"]] for row in judged]) / 1e9
        span_s = (arrived_s + latency_ms / 1e3).max() - arrived_s.min()
        per_s = len(judged) / float(span_s)
    return Passed(
        sent=summary.sent,
        sent_per_s=summary.rate_hz or 0.0,
        received=len(rows),
        judged=len(judged),
        judged_per_s=per_s,
        unjudged=len(rows) - len(judged),
        latency_ms=latency_ms,
    )
