"""`hitfinder demo --watch`: the demo until Ctrl-C, for looking on.

Service, sender and live page run in processes of their own, and Prometheus where it is installed,
with the rules of a checkout; this one shows the verdicts and takes the kept frames. Whatever ends
this process ends the others.
"""

import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

import typer
from rich.console import Console
from rich.live import Live

import hitfinder
from hitfinder.commands.demo import (
    REDRAW_S,
    DemoError,
    KeptReceiver,
    Ports,
    configuration,
    demo_series,
    free_ports,
    process_of,
    receivers,
    started,
    wait_ready,
)
from hitfinder.commands.verdict_table import View, render
from hitfinder.commands.watch import listen
from hitfinder.transport.sockets import Receiver

RULES = Path(hitfinder.__file__).parents[1] / "deploy" / "prometheus"
"""Where a checkout has alerts; an installed package has none."""

STOP_S = 10.0

_SCRAPE = """\
global:
  scrape_interval: 1s
  evaluation_interval: 1s
rule_files: [{rules}]
scrape_configs:
  - job_name: hitfinder
    static_configs:
      - targets: ["127.0.0.1:{http}"]
"""

Running = Mapping[str, "subprocess.Popen[bytes]"]


def run(*, rate_hz: float) -> int:
    """Exit status 0 after Ctrl-C or SIGTERM; raises DemoError when one of the processes ends."""
    asked = _asked_to_end()
    console = Console()
    data = demo_series(console)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hitfinder-demo-")))
        ports = free_ports()
        config = folder / "hitfinder.toml"
        config.write_text(configuration(ports))
        running = {"the service": stack.enter_context(started("serve", str(config)))}
        verdicts, kept = receivers(ports, stack)
        try:
            wait_ready(f"http://127.0.0.1:{ports.http}/readyz", running["the service"])
            running["the live page"] = stack.enter_context(started("monitor", str(config)))
            page = f"http://127.0.0.1:{ports.page}/"
            wait_ready(page, running["the live page"])
            running |= _prometheus(folder, ports, stack)
            source = f"tcp://127.0.0.1:{ports.frames}"
            sending = ("replay", str(data), "--bind", source, "--rate", str(rate_hz), "--loop")
            running["the sender"] = stack.enter_context(started(*sending))
            typer.echo(f"live page: {page}")
            if "Prometheus" in running:
                typer.echo(f"Prometheus: http://127.0.0.1:{ports.prometheus}/alerts")
            typer.echo("Ctrl-C ends all of it")
            _show(verdicts, kept, running, console, asked)
        except KeyboardInterrupt:
            pass
        _end(running, kept)
    return 0


def _asked_to_end() -> threading.Event:
    """Set by Ctrl-C and its like, which are exceptions besides: one alone could be raised where
    Python ignores it, in a destructor, and then nothing would end.
    """
    asked = threading.Event()

    def end(number: int, _: FrameType | None) -> None:
        asked.set()
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    return asked


def _prometheus(folder: Path, ports: Ports, stack: ExitStack) -> Running:
    """A Prometheus of its own, if there is one on this machine."""
    program = shutil.which("prometheus")
    if program is None:
        return {}
    listed = RULES / "prometheus.yml"
    found: list[str] = []
    if listed.is_file():
        names = re.findall(r"^  - (\S+\.yml)$", listed.read_text(encoding="utf-8"), re.MULTILINE)
        found = [str(RULES / name) for name in names]
    file = folder / "prometheus.yml"
    file.write_text(_SCRAPE.format(rules=", ".join(map(repr, found)), http=ports.http))
    arguments = [
        program,
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{ports.prometheus}",
        "--log.level=error",
    ]
    return {"Prometheus": stack.enter_context(process_of(arguments))}


def _show(
    verdicts: Receiver,
    kept: KeptReceiver,
    running: Running,
    console: Console,
    asked: threading.Event,
) -> None:
    """The live table, until `asked` to end."""
    view = View()
    redraw_at = 0.0
    with Live(console=console, auto_refresh=False) as live:
        while not asked.is_set():
            for name, process in running.items():
                if process.poll() is not None:
                    raise DemoError(f"{name} ended before its time; its message stands above")
            listen(verdicts, view, 0.02)
            kept.drain()
            if time.monotonic() >= redraw_at:
                redraw_at = time.monotonic() + REDRAW_S
                live.update(render(view, "demo", time.monotonic_ns()), refresh=True)


def _end(running: Running, kept: KeptReceiver) -> None:
    """Ask all to stop, and take what the service still has to give."""
    for process in reversed(list(running.values())):
        process.terminate()
    end = time.monotonic() + STOP_S
    while any(process.poll() is None for process in running.values()) and time.monotonic() < end:
        kept.drain()
        time.sleep(0.02)
