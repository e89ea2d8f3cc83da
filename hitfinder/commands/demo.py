"""`hitfinder demo`: a simulated series through the real service, every number checked.

Three processes over TCP on this machine, as at a beamline: a sender (`hitfinder replay`), the
service (`hitfinder serve`), and this one, which watches the verdicts and is the receiver of the
kept frames. At the end the sender's count, the ledger, and what arrived here must agree.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import msgspec
import typer
from rich.console import Console
from rich.live import Live

from hitfinder import __version__
from hitfinder.commands.demo_summary import as_text, problems, summarise
from hitfinder.commands.targets import check_target
from hitfinder.commands.verdict_table import View, render
from hitfinder.commands.watch import listen
from hitfinder.dataset.series import open_series
from hitfinder.errors import HitfinderError
from hitfinder.frame import Frame
from hitfinder.simulation.series import write_demo_series
from hitfinder.transport.settings import ReceiverSettings
from hitfinder.transport.sockets import Receiver, new_context
from hitfinder.wire import PROTOCOLS
from hitfinder.wire.verdicts import Totals

FRAMES = 60
"""Different frames in the series; they are sent again and again under new numbers."""

START_S = 30.0
FINISH_S = 15.0
REDRAW_S = 0.25

_CONFIG = """\
[input]
endpoint = "tcp://127.0.0.1:{frames}"
protocol = "dectris-v2"

[model]
device = "cpu"

[diffuse]
device = "cpu"

[kept]
endpoint = "tcp://127.0.0.1:{kept}"

[verdicts]
endpoint = "tcp://127.0.0.1:{verdicts}"

[samples]
endpoint = "tcp://127.0.0.1:{samples}"
kept_per_s = 4.0

[monitor]
port = {page}

[http]
port = {http}

[log]
level = "warning"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Free ports of this machine."""

    frames: int
    kept: int
    verdicts: int
    samples: int
    page: int
    prometheus: int
    http: int


class DemoError(HitfinderError):
    """The demo could not run."""


class KeptReceiver:
    """Stands for the file writer: counts the frames that arrive on the kept stream."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._decoder = PROTOCOLS["dectris-v2"].decoder()
        self.frames = 0

    def drain(self) -> None:
        """Take what is there."""
        while (parts := self._receiver.receive(0)) is not None:
            self.frames += isinstance(self._decoder.decode(parts, 0), Frame)


def run(*, seconds: float, rate_hz: float, json_path: Path | None) -> int:
    """Exit status 0 when nothing was lost and every total balances."""
    check_target(json_path, ".json")
    # Whoever ends the demo ends what it started.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    count = max(1, round(seconds * rate_hz))
    console = Console()
    data = demo_series(console)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hitfinder-demo-")))
        ports = free_ports()
        config = folder / "hitfinder.toml"
        config.write_text(configuration(ports))
        service = stack.enter_context(
            started("serve", str(config), "--summary-json", str(folder / "totals.json"))
        )
        page = f"http://127.0.0.1:{ports.page}/"
        typer.echo(f"to see frames: hitfinder monitor {config}, and open {page}")
        verdicts, kept = receivers(ports, stack)
        view = View()
        wait_ready(f"http://127.0.0.1:{ports.http}/readyz", service)
        _wait_heard(view, verdicts)
        sender = stack.enter_context(
            started(
                "replay",
                str(data),
                "--bind",
                f"tcp://127.0.0.1:{ports.frames}",
                "--rate",
                str(rate_hz),
                "--count",
                str(count),
                "--loop",
                "--summary-json",
                str(folder / "sent.json"),
            )
        )
        # Whoever only watches must not take time from whom it watches.
        os.nice(10)
        _show(view, verdicts, kept, service, sender, console, count)
        service.send_signal(signal.SIGTERM)
        while service.poll() is None:
            kept.drain()
            listen(verdicts, view, 0.02)
        kept.drain()
        summary = summarise(
            sent=json.loads((folder / "sent.json").read_text())[0]["sent"],
            totals=_totals(folder / "totals.json"),
            ledger=folder / "ledger.sqlite",
            truth=[ref.truth for ref in open_series([data])[0].frames],
            kept_received=kept.frames,
        )
    console.print()
    console.print(as_text(summary))
    if json_path is not None:
        json_path.write_text(json.dumps(summary.as_json(), indent=1) + "\n")
    wrong = problems(summary)
    for problem in wrong:
        typer.echo(f"hitfinder demo: {problem}", err=True)
    return 1 if wrong or service.returncode else 0


def configuration(ports: Ports) -> str:
    """The service's, on these ports."""
    return _CONFIG.format_map(asdict(ports))


def demo_series(console: Console) -> Path:
    """The simulated file: made once, then kept in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hitfinder"
    path = cache / f"demo-{__version__}.h5"
    if path.is_file():
        return path
    with console.status(f"simulating {FRAMES} frames (once; kept in {cache}) …"):
        cache.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        try:
            write_demo_series(partial, frames=FRAMES)
            partial.rename(path)
        finally:
            partial.unlink(missing_ok=True)
    return path


def free_ports() -> Ports:
    """Ports that nobody has now."""
    names = [field.name for field in fields(Ports)]
    with ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in names]
        for one in held:
            one.bind(("127.0.0.1", 0))
        return Ports(**{n: one.getsockname()[1] for n, one in zip(names, held, strict=True)})


def started(*arguments: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """A hitfinder command in a process of its own, ended whatever happens here."""
    return process_of([sys.executable, "-m", "hitfinder", *arguments])


@contextmanager
def process_of(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A program, ended whatever happens here."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603  not a user's text
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def receivers(ports: Ports, stack: ExitStack) -> tuple[Receiver, KeptReceiver]:
    """The verdicts and the kept frames of a service on these ports."""
    context = new_context()
    stack.callback(context.destroy)
    verdicts = Receiver(
        ReceiverSettings(
            endpoint=f"tcp://127.0.0.1:{ports.verdicts}", socket="sub", high_water_mark=100_000
        ),
        context,
    )
    kept = Receiver(ReceiverSettings(endpoint=f"tcp://127.0.0.1:{ports.kept}"), context)
    for receiver in (verdicts, kept):
        receiver.open()
        stack.callback(receiver.close)
    return verdicts, KeptReceiver(kept)


def wait_ready(url: str, service: subprocess.Popen[bytes]) -> None:
    """Until the address answers 200. Raises DemoError."""
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if service.poll() is not None:
            raise DemoError("the service ended before it was ready; its message stands above")
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310  a loopback http address
                return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.05)
    raise DemoError(f"the service was not ready within {START_S:.0f} s")


def _wait_heard(view: View, verdicts: Receiver) -> None:
    """Until the verdict stream is heard, so that no verdict is missed."""
    end = time.monotonic() + START_S
    while view.heard_ns is None:
        listen(verdicts, view, 0.02)
        if time.monotonic() > end:
            raise DemoError("the service publishes no verdicts")


def _show(
    view: View,
    verdicts: Receiver,
    kept: KeptReceiver,
    service: subprocess.Popen[bytes],
    sender: subprocess.Popen[bytes],
    console: Console,
    count: int,
) -> None:
    """The live table, until the sender is done and the service has caught up."""
    sender_end: float | None = None
    redraw_at = 0.0
    with Live(console=console, auto_refresh=False) as live:
        while not _is_over(view.totals, count, sender_end):
            if service.poll() is not None:
                raise DemoError("the service ended before its time; its message stands above")
            if sender.poll() is not None and sender_end is None:
                sender_end = time.monotonic()
                if sender.returncode:
                    raise DemoError("the sender failed; its message stands above")
            listen(verdicts, view, 0.02)
            kept.drain()
            if time.monotonic() >= redraw_at:
                redraw_at = time.monotonic() + REDRAW_S
                live.update(render(view, "demo", time.monotonic_ns()), refresh=True)


def _is_over(totals: Totals | None, count: int, sender_end: float | None) -> bool:
    if sender_end is None:
        return False
    caught_up = totals is not None and totals.received >= count and totals.in_flight == 0
    return caught_up or time.monotonic() > sender_end + FINISH_S


def _totals(path: Path) -> Totals:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Totals)
    except FileNotFoundError as error:
        raise DemoError("the service wrote no summary; its message stands above") from error
