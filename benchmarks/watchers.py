"""What looking on costs: the demo's stream with live page and Prometheus beside it, and without.

    python -m benchmarks.watchers --turns 5 --seconds 20

Turns alternate, each a whole `hitfinder demo` at 120 frames/s with its own service. In those that
are watched, `hitfinder monitor` runs on the same machine, a reader takes its events and the pixels
of every new frame as a browser does, and Prometheus scrapes once a second where it is installed.
Reported are medians over turns: the latency from arrival to verdict, and the processor time of the
service (Linux), which a busy machine spoils less. Exits non-zero when a frame is lost, or when the
median p99 with watchers is more than a tenth above the one without.
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
import urllib.parse
import urllib.request
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hitfinder.commands.demo import wait_ready
from hitfinder.serving.publish import share_of
from hitfinder.serving.samples import Samples
from hitfinder.transport.settings import ReceiverSettings, SenderSettings
from hitfinder.transport.sockets import Receiver, Sender, new_context
from hitfinder.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

ALLOWED = 1.1
_SCRAPE = """\
global:
  scrape_interval: 1s
scrape_configs:
  - job_name: hitfinder
    static_configs:
      - targets: ["127.0.0.1:{http}"]
"""


@dataclass
class Seen:
    """What the reader took."""

    snapshots: int = 0
    frames: int = 0
    received: int = 0


class Reader(threading.Thread):
    """A browser's part: every event, and the pixels of every newest hit."""

    def __init__(self, page: str) -> None:
        super().__init__(daemon=True)
        self._page = page
        self.seen = Seen()

    def run(self) -> None:
        """Until the page goes away."""
        last = ""
        try:
            with urllib.request.urlopen(f"{self._page}api/events", timeout=30) as events:
                for line in events:
                    if not line.startswith(b"data: "):
                        continue
                    told = json.loads(line[6:])
                    self.seen.snapshots += 1
                    self.seen.received = (told["totals"] or {}).get("received", 0)
                    newest = next((f["verdict"] for f in told["frames"] if f["shown"]), None)
                    if newest is None or str(newest["frame"]) == last:
                        continue
                    last = str(newest["frame"])
                    query = urllib.parse.urlencode({"series": newest["series"], "number": last})
                    for kind in ("", "/image", "/spots"):
                        with urllib.request.urlopen(f"{self._page}api/frame{kind}?{query}") as got:
                            got.read()
                    self.seen.frames += 1
        except OSError:
            return  # the page went away with its demo


@contextmanager
def program(*command: str) -> "Iterator[subprocess.Popen[bytes]]":
    """A watcher, ended whatever happens."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


class Meter(threading.Thread):
    """Reads the processor time of the demo's service until it ends."""

    def __init__(self, demo: int) -> None:
        super().__init__(daemon=True)
        self._children = Path(f"/proc/{demo}/task/{demo}/children")
        self.seconds = 0.0

    def run(self) -> None:
        """Look five times a second."""
        ticks = os.sysconf("SC_CLK_TCK")
        while True:
            try:
                children = self._children.read_text().split()
            except OSError:
                return
            for child in children:
                with contextlib.suppress(OSError):  # it may just have ended
                    if b"\0serve\0" in Path(f"/proc/{child}/cmdline").read_bytes():
                        told = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
                        self.seconds = (int(told[11]) + int(told[12])) / ticks
            time.sleep(0.2)


def turn(seconds: float, *, watched: bool) -> tuple[dict[str, Any], Seen | None]:
    """One demo's summary, and what was seen of it."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        summary = Path(folder) / "summary.json"
        options = ["--seconds", str(seconds), "--json", str(summary)]
        demo = subprocess.Popen(
            [sys.executable, "-m", "hitfinder", "demo", *options], stdout=subprocess.PIPE, text=True
        )
        meter = Meter(demo.pid)
        meter.start()
        assert demo.stdout is not None
        line = next(line for line in demo.stdout if "hitfinder monitor" in line)
        config = line.partition("hitfinder monitor ")[2].partition(",")[0].strip()
        ports = tomllib.loads(Path(config).read_text())
        reader = None
        if watched:
            reader = watch(config, ports, Path(folder), stack)
        threading.Thread(target=demo.stdout.read, daemon=True).start()
        if demo.wait():
            raise SystemExit("the demo failed; its message stands above")
        told: dict[str, Any] = json.loads(summary.read_text())
        told["service_cpu_s"] = meter.seconds
    return told, None if reader is None else reader.seen


def watch(config: str, ports: dict[str, Any], folder: Path, stack: ExitStack) -> Reader:
    """Start page, reader, and Prometheus if there is one."""
    page = stack.enter_context(program(sys.executable, "-m", "hitfinder", "monitor", config))
    prometheus = shutil.which("prometheus")
    if prometheus is not None:
        scrape = folder / "prometheus.yml"
        scrape.write_text(_SCRAPE.format(http=ports["http"]["port"]))
        listen = ("--web.listen-address=127.0.0.1:0", f"--storage.tsdb.path={folder / 'tsdb'}")
        stack.enter_context(program(prometheus, f"--config.file={scrape}", *listen))
    url = f"http://127.0.0.1:{ports['monitor']['port']}/"
    wait_ready(url, page)
    reader = Reader(url)
    reader.start()
    return reader


def cost() -> tuple[float, float]:
    """Microseconds of the publish thread's processor time for a frame that is not sampled, and for
    one that is, 128 KiB to a subscriber that takes it.
    """
    context = new_context()
    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/samples"
        # Back to back, far more go out than a real sample's mark has room for.
        settings = SenderSettings(endpoint=endpoint, socket="pub", high_water_mark=1000)
        samples = Samples(Sender(settings, context), {Outcome.KEPT: 1.0})
        samples.open()
        subscriber = Receiver(ReceiverSettings(endpoint=endpoint, socket="sub"), context)
        subscriber.open()
        parts = (bytes(2**17),)
        while subscriber.receive(10) is None:
            samples.frame(Outcome.KEPT, 0.5, b"verdict", parts, time.monotonic_ns() * 1000)
        spent = []
        for step_ns, times in ((0, 200_000), (10_000_000_000, 2_000)):
            taken_s = 0.0
            at_ns = 2**60
            samples.frame(Outcome.KEPT, 0.5, b"verdict", parts, at_ns)
            for number in range(times):
                at_ns += step_ns
                before_s = time.thread_time()
                chance = share_of("1", number)
                samples.frame(Outcome.KEPT, chance, b"verdict", parts, at_ns)
                taken_s += time.thread_time() - before_s
                if step_ns:
                    subscriber.receive(1000)
            spent.append(1e6 * taken_s / times)
        subscriber.close()
        samples.close(0)
        context.destroy()
    return spent[0], spent[1]


def main() -> int:
    """Run all turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    print(
        f"{os.cpu_count()} cores, Prometheus {'is' if shutil.which('prometheus') else 'not'} here"
    )
    idle_us, sampled_us = cost()
    print(
        f"publish thread: {idle_us:.1f} us a frame, {sampled_us:.1f} us a sampled frame", flush=True
    )
    runs: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    for number in range(2 * options.turns):
        # Which goes first alternates, so that a machine that warms up favours neither.
        watched = (number % 2 == 1) != (number // 2 % 2 == 1)
        told, seen = turn(options.seconds, watched=watched)
        runs[watched].append(told)
        load = os.getloadavg()[0]
        print(
            f"{'watched' if watched else 'alone':8} p50 {told['latency_p50_ms']:8.2f} "
            f"p99 {told['latency_p99_ms']:8.2f} ms, service {told['service_cpu_s']:.2f} s of CPU, "
            f"lost {told['lost']}, unjudged {told['unjudged']}, load {load:.1f} {seen or ''}",
            flush=True,
        )
    lost = sum(told["lost"] + told["dropped"] for both in runs.values() for told in both)
    medians = {
        key: [statistics.median(told[key] for told in runs[watched]) for watched in (False, True)]
        for key in ("latency_p50_ms", "latency_p99_ms", "service_cpu_s")
    }
    for key, (alone, beside) in medians.items():
        print(f"{key}: alone {alone:.2f}, watched {beside:.2f}, ratio {beside / alone:.2f}")
    print(f"lost or dropped: {lost}")
    alone, beside = medians["latency_p99_ms"]
    return int(lost > 0 or beside > ALLOWED * alone)


if __name__ == "__main__":
    sys.exit(main())
