"""The real Prometheus server, with this repository's rules, beside a service under test."""

import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import ROOT
from tests.system.harness import free_ports, until

FASTER = 10
"""Seconds of the real rules in one second of a test."""

RULES = ROOT / "deploy" / "prometheus"

_DURATION = re.compile(r"(?<=\[|\s)(\d+)(s|m|h)(?=\]|\s|\)|$)", re.MULTILINE)
_MS = {"s": 1000, "m": 60_000, "h": 3_600_000}


def binary(name: str) -> str:
    """The path of a program of Debian's package `prometheus`, or the test is skipped."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed: apt-get install prometheus")
    return path


def faster(text: str) -> str:
    """The same configuration or rules with every duration in it divided by FASTER, and no other
    change. Thresholds that are seconds of a metric stay as they are.
    """
    return _DURATION.sub(lambda found: f"{int(found[1]) * _MS[found[2]] // FASTER}ms", text)


class Prometheus:
    """A server over a service's port; asked through its HTTP interface."""

    def __init__(self, folder: Path, target_port: int) -> None:
        (self.port,) = free_ports(1)
        self._folder = folder
        self._program = binary("prometheus")
        for file in ("prometheus.yml", "recording.yml", "alerts.yml"):
            text = faster((RULES / file).read_text(encoding="utf-8"))
            text = text.replace("localhost:9110", f"localhost:{target_port}")
            # Nobody listens there in a test, and every refusal would be logged.
            text = re.sub(r"^alerting:\n(?: .*\n)+", "", text, flags=re.MULTILINE)
            (folder / file).write_text(text, encoding="utf-8")
        self.log = folder / "prometheus.log"

    @contextmanager
    def running(self) -> Iterator[None]:
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                [
                    self._program,
                    f"--config.file={self._folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                stdout=log,
                stderr=log,
            )
        try:
            until(lambda: self._is_ready(process), "Prometheus is ready")
            yield
        finally:
            process.terminate()
            process.wait(10)

    def ask(self, path: str, **parameters: str) -> Any:
        """The data that the interface answers with."""
        query = urllib.parse.urlencode(parameters)
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{query}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def values(self, expr: str) -> list[float]:
        """What a query gives now."""
        return [float(one["value"][1]) for one in self.ask("query", query=expr)["result"]]

    def rules(self) -> list[dict[str, Any]]:
        """Every rule, with its health."""
        return [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]

    def firing(self) -> dict[str, dict[str, str]]:
        """The alerts that fire now: their names, and what they say."""
        alerts = self.ask("alerts")["alerts"]
        return {
            one["labels"]["alertname"]: one["annotations"]
            for one in alerts
            if one["state"] == "firing"
        }

    def _is_ready(self, process: "subprocess.Popen[bytes]") -> bool:
        assert process.poll() is None, self.log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=5):
                return True
        except OSError:
            return False
