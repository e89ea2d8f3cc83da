"""The rules and dashboards of deploy/ on the real server, while a service runs, fails and recovers.

Debian's `prometheus` scrapes a real service that `hitfinder replay` feeds. Its configuration and
rules are the repository's own, ten times as fast: see tests/system/prometheus.py.
"""

import json
import math
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.docs.pages import ROOT
from tests.system.harness import Bench, bench, drain, until
from tests.system.prometheus import Prometheus, faster

pytestmark = pytest.mark.system

DASHBOARDS = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
SLOW_HZ = 10

CONFIG = """
[pressure]
deadline_ms = 2000
[region]
kind = "whole"
"""


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hits and misses of 0.6 megapixels: cheap at SLOW_HZ, too much at full speed."""
    rng = np.random.default_rng(6)
    pixels = rng.poisson(2.0, (8, 768, 768)).astype(np.uint16)
    for row in range(20, 740, 60):
        for col in range(20, 740, 60):
            pixels[::2, row : row + 2, col : col + 2] += np.array([[200, 80], [80, 30]], np.uint16)
    path = tmp_path_factory.mktemp("frames") / "frames.npy"
    np.save(path, pixels)
    return path


class Watched:
    """A service with a receiver for what it keeps, and the Prometheus that scrapes it."""

    def __init__(self, service: Bench, prometheus: Prometheus, frames: Path) -> None:
        self.service = service
        self.prometheus = prometheus
        self._frames = frames
        self._receiver = service.receiver()

    @contextmanager
    def sender(self, rate_hz: float | None = None) -> Iterator["subprocess.Popen[bytes]"]:
        """`hitfinder replay`, for ever, at a rate or as fast as it is taken."""
        command = [sys.executable, "-m", "hitfinder", "replay", str(self._frames), "--loop"]
        command += ["--bind", f"tcp://127.0.0.1:{self.service.frames}"]
        command += [] if rate_hz is None else ["--rate", str(rate_hz)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def until_firing(self, alert: str) -> str:
        """Until it fires; what it says in one line."""
        self.until(lambda: alert in self.prometheus.firing(), f"{alert} fires")
        return self.prometheus.firing()[alert]["summary"]

    def until_clear(self, alert: str) -> None:
        self.until(lambda: alert not in self.prometheus.firing(), f"{alert} clears")

    def until_flowing(self) -> None:
        rate = "hitfinder:frames_received:rate1m"
        self.until(lambda: sum(self.prometheus.values(rate)) > 1, "frames flow")

    def until(self, holds: Callable[[], object], what: str) -> None:
        def look() -> bool:
            drain(self._receiver)
            return bool(holds())

        until(look, what, 60)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, frames: Path) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    with bench(folder, more=CONFIG) as service:
        prometheus = Prometheus(folder, service.http)
        text = service.config.read_text()
        kept = f'[kept]\nendpoint = "tcp://127.0.0.1:{service.kept_port}"\n'
        service.config.write_text(text + kept)
        service.start()
        with prometheus.running():
            yield Watched(service, prometheus, frames)


def test_only_durations_differ_from_the_rules_that_are_deployed() -> None:
    rules = "record: a:rate5m\nexpr: rate(b_total[5m]) > 10 and c offset 1h\nfor: 30s\n"
    assert faster(rules) == (
        "record: a:rate5m\nexpr: rate(b_total[30000ms]) > 10 and c offset 360000ms\nfor: 3000ms\n"
    )


def test_every_rule_evaluates(watched: Watched) -> None:
    with watched.sender(SLOW_HZ):
        watched.until_flowing()
        watched.until(
            lambda: all(rule["health"] == "ok" for rule in watched.prometheus.rules()),
            "every rule has been evaluated",
        )
    rules = watched.prometheus.rules()
    assert len(rules) == 28
    assert [rule for rule in rules if rule.get("lastError")] == []


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_query_of_every_panel_returns_data(watched: Watched, path: Path) -> None:
    queries = [
        (panel["title"], target["expr"].replace("$instance", ".*"))
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]
        for target in panel.get("targets", [])
    ]
    assert len(queries) > 15
    with watched.sender(SLOW_HZ):
        watched.until_flowing()

        for title, expr in queries:
            # The first scrapes may be of the time before the first frame: a share of nothing.
            watched.until(
                lambda expr=expr: not all(map(math.isnan, watched.prometheus.values(expr))),  # type: ignore[misc]
                f"{title} has data: {expr}",
            )


def test_a_sender_that_stalls_is_told_until_it_goes_on(watched: Watched) -> None:
    with watched.sender(SLOW_HZ) as sender:
        watched.until_flowing()
        watched.until_clear("NoFramesArriving")
        sender.send_signal(signal.SIGSTOP)
        said = watched.until_firing("NoFramesArriving")
        assert said == "A series is under way, but no frame has arrived for a minute"
        sender.send_signal(signal.SIGCONT)
        watched.until_clear("NoFramesArriving")


def test_overload_is_told_until_it_is_over(watched: Watched) -> None:
    with watched.sender():
        said = watched.until_firing("UnjudgedShareHigh")
        assert said.endswith(" of frames go on unjudged: overload")
    with watched.sender(SLOW_HZ):
        watched.until_clear("UnjudgedShareHigh")


def test_a_service_that_is_killed_is_told_until_it_is_back(watched: Watched) -> None:
    watched.until_clear("ServiceDown")
    watched.service.kill()
    said = watched.until_firing("ServiceDown")
    assert f"localhost:{watched.service.http} does not answer" in said
    watched.service.start()
    watched.until_clear("ServiceDown")
