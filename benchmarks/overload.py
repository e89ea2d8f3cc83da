"""A sender at a multiple of what the service can judge: what is lost, what is held, what is told.

    python -m benchmarks.overload --times 3 --seconds 60

The service judges whole frames of the demo's series (1750 x 1750 uint16, bslz4) on one core; its
capacity is measured first, by the same frames without a rate, through `hitfinder classify`'s
judge. A receiver takes the kept stream. Exits non-zero when a frame is lost or totals differ.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import memory_bytes
from benchmarks.rig import ON_CPU, Setup, alone_per_s
from hitfinder.ledger.report import read_report
from hitfinder.simulation.series import write_demo_series
from hitfinder.transport.settings import ReceiverSettings
from hitfinder.transport.sockets import Receiver, new_context

BOUND_BYTES = 256 * 2**20
FRAMES = 30
CONFIG = """\
[input]
endpoint = "ipc://{folder}/frames"
protocol = "dectris-v2"
max_message_bytes = 33554432
[region]
kind = "whole"
[model]
device = "cpu"
[detector]
shape = [1750, 1750]
[pressure]
max_in_flight_bytes = {bound}
max_judge_queue_bytes = {bound}
[kept]
endpoint = "ipc://{folder}/kept"
[verdicts]
endpoint = "off"
[http]
port = "off"
[log]
level = "error"
"""


def run(times: float, seconds: float, folder: Path) -> dict[str, float]:
    """One overload; the figures by name."""
    data = folder / "series.h5"
    write_demo_series(data, frames=FRAMES)
    able = alone_per_s(Setup(data=data, more=f'{ON_CPU}[region]\nkind = "whole"\n'))
    rate = times * able
    count = int(rate * seconds)
    config = folder / "hitfinder.toml"
    config.write_text(CONFIG.format(folder=folder, bound=BOUND_BYTES))
    command = [sys.executable, "-m", "hitfinder"]
    totals_file = folder / "totals.json"
    service = subprocess.Popen(
        [*command, "serve", str(config), "--summary-json", str(totals_file)],
        stdout=subprocess.DEVNULL,
    )
    context = new_context()
    receiver = Receiver(ReceiverSettings(endpoint=f"ipc://{folder}/kept"), context)
    receiver.open()
    time.sleep(4)
    before = memory_bytes(service.pid)
    replay = [*command, "replay", str(data), "--bind", f"ipc://{folder}/frames", "--loop"]
    sender = subprocess.Popen(
        [*replay, "--rate", f"{rate:.1f}", "--count", str(count)], stdout=subprocess.DEVNULL
    )
    most = arrived = 0
    sent_at = None
    while sent_at is None or time.monotonic() < sent_at + 5:
        while receiver.receive(20) is not None:
            arrived += 1
        most = max(most, memory_bytes(service.pid))
        if sender.poll() is not None and sent_at is None:
            sent_at = time.monotonic()
    os.kill(service.pid, signal.SIGTERM)
    while service.poll() is None:
        arrived += receiver.receive(20) is not None
    while receiver.receive(200) is not None:
        arrived += 1
    receiver.close()
    context.destroy()
    totals = json.loads(totals_file.read_text())
    (series,) = read_report(folder / "ledger.sqlite").series
    return {
        "capacity_per_s": round(able, 1),
        "sent": count,
        "sent_per_s": round(rate, 1),
        "received": series.received,
        "lost": series.lost,
        "kept": series.kept,
        "vetoed": series.vetoed,
        "unjudged": series.unjudged,
        "judged_per_s": round((series.kept + series.vetoed) / seconds, 1),
        "forwarded": totals["forwarded"],
        # The series' start and end arrive, too.
        "arrived_downstream": arrived - 2,
        "memory_before_mb": round(before / 1e6),
        "memory_most_mb": round(most / 1e6),
        "memory_bound_mb": round((before + BOUND_BYTES) / 1e6),
        "balances": series.balances,
    }


def main() -> int:
    """Run and print; 0 when nothing was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--times", type=float, default=3.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = run(arguments.times, arguments.seconds, Path(folder))
    print(json.dumps(result, indent=1))
    good = (
        result["received"] == result["sent"]
        and result["lost"] == 0
        and result["balances"]
        and result["forwarded"] == result["arrived_downstream"]
        and result["forwarded"] == result["kept"] + result["unjudged"]
        and result["memory_most_mb"] <= result["memory_bound_mb"]
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
