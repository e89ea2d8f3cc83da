"""`hitfinder demo --watch`: everything runs, and ends with it."""

import json
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.system.harness import PATIENCE_S, until

pytest.importorskip("starlette", reason="the live page is not installed: pip install '.[monitor]'")
pytestmark = pytest.mark.system


def children(process: int) -> list[int]:
    return [
        int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()
    ]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's /proc")
def test_the_page_is_told_and_everything_ends_with_the_demo() -> None:
    command = [sys.executable, "-m", "hitfinder", "demo", "--watch", "--rate", "20"]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert demo.stdout is not None
    try:
        page = next(line for line in demo.stdout if line.startswith("live page: "))
        url = page.removeprefix("live page: ").strip()
        # Whoever prints must not wait for whoever reads.
        reading = threading.Thread(target=demo.stdout.read, daemon=True)
        reading.start()

        def received() -> int:
            try:
                with urllib.request.urlopen(f"{url}api/status", timeout=5) as answer:
                    totals = json.load(answer)["totals"]
            except (urllib.error.URLError, TimeoutError):
                return 0
            return 0 if totals is None else int(totals["received"])

        until(lambda: received() > 20, "the page is told of frames", 2 * PATIENCE_S)
        started = children(demo.pid)
        assert len(started) >= 3
        demo.send_signal(signal.SIGINT)
        assert demo.wait(PATIENCE_S) == 0
        reading.join(PATIENCE_S)
        assert not [one for one in started if Path(f"/proc/{one}").exists()]
    finally:
        demo.kill()
        demo.wait()
        demo.stdout.close()
