"""What the second step costs the first: latencies with and without it, in turns.

    python -m benchmarks.second_step --diffuse models/diffuse --rounds 5 --seconds 20
    python -m benchmarks.second_step --rounds 5 --seconds 20

The demo's series at 120 Hz (1750 x 1750 uint16, bslz4, a fifth of it hits) through the service over
local sockets, sender and receivers included. Without `--diffuse` the hit model stands in for the
second one: at a whole frame it takes as long as that one may, 15 ms. A miss has its outcome from
the hit model alone, so its latency shows what the second step takes from the first; a hit has it
when both have spoken; "published" is when a verdict leaves in its order. Exits non-zero when a
frame is lost or not judged.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from hitfinder.dataset.series import open_series
from hitfinder.inference.model_card import load_card, shipped_models, write_card
from hitfinder.ledger.report import COLUMNS, read_frames
from hitfinder.simulation.series import write_demo_series
from hitfinder.transport.settings import ReceiverSettings
from hitfinder.transport.sockets import Receiver, new_context
from hitfinder.wire.verdicts import VerdictMessage, decode

FRAMES = 60
CONFIG = """\
[input]
endpoint = "ipc://{folder}/frames"
protocol = "dectris-v2"
[model]
device = "cpu"
[detector]
shape = [{rows}, {cols}]
[kept]
endpoint = "ipc://{folder}/kept"
[verdicts]
endpoint = "ipc://{folder}/verdicts"
[http]
port = "off"
[log]
level = "error"
"""
SECOND_STEP = """\
[diffuse]
artifact = "{artifact}"
device = "cpu"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One run of the service; latencies in ms, (frames,)."""

    misses: np.ndarray
    hits: np.ndarray
    published: np.ndarray
    lost: int
    unjudged: int
    not_judged_twice: int


def run(data: Path, artifact: Path | None, seconds: float, rate: float) -> Round:
    """The whole series through a service of its own."""
    count = round(seconds * rate)
    rows, cols = open_series([data])[0].frames[0].load().shape
    context = new_context()
    with tempfile.TemporaryDirectory(prefix="second-step-") as name:
        folder = Path(name)
        config = folder / "hitfinder.toml"
        second = "" if artifact is None else SECOND_STEP.format(artifact=artifact.resolve())
        config.write_text(CONFIG.format(folder=folder, rows=rows, cols=cols) + second)
        command = [sys.executable, "-m", "hitfinder"]
        sent = ["--rate", str(rate), "--loop", "--count", str(count)]
        service = subprocess.Popen(
            [*command, "serve", str(config), "--summary-json", str(folder / "totals.json")],
            stdout=subprocess.DEVNULL,
        )
        endpoint = f"ipc://{folder}"
        kept = Receiver(ReceiverSettings(endpoint=f"{endpoint}/kept"), context)
        verdicts = Receiver(
            ReceiverSettings(
                endpoint=f"{endpoint}/verdicts", socket="sub", high_water_mark=100_000
            ),
            context,
        )
        for receiver in (kept, verdicts):
            receiver.open()
        while verdicts.receive(100) is None:
            if service.poll() is not None:
                sys.exit("the service ended before it began")
        sender = subprocess.Popen(
            [*command, "replay", str(data), "--bind", f"{endpoint}/frames", *sent],
            stdout=subprocess.DEVNULL,
        )
        published: list[float] = []
        while len(published) < count:
            if (parts := verdicts.receive(100)) is not None:
                message = decode(parts[0])
                if isinstance(message, VerdictMessage):
                    published.append(message.latency_ms)
            while kept.receive(0) is not None:
                pass
        sender.wait()
        service.send_signal(signal.SIGTERM)
        while service.poll() is None:
            kept.receive(20)
        for receiver in (kept, verdicts):
            receiver.close()
        totals = json.loads((folder / "totals.json").read_text())
        table = list(read_frames(folder / "ledger.sqlite"))
    context.destroy()
    outcome = np.array([row[COLUMNS.index("outcome")] for row in table])
    latency_ms = np.array([row[COLUMNS.index("latency_us")] for row in table]) / 1000
    return Round(
        misses=latency_ms[outcome == "vetoed"],
        hits=latency_ms[outcome == "kept"],
        published=np.array(published),
        lost=totals["lost"] + totals["dropped"] + count - totals["received"],
        unjudged=sum(totals["unjudged"].values()),
        not_judged_twice=sum(totals["diffuse_unjudged"].values()),
    )


def stand_in(folder: Path) -> Path:
    """The hit model under another name."""
    shutil.copytree(shipped_models() / "hit", folder)
    write_card(folder, msgspec.structs.replace(load_card(folder), task="diffuse", name="stand-in"))
    return folder


def main() -> int:
    """Exit status 0 when no frame was lost and every one judged by the hit model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--diffuse", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=120.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="second-step-") as name:
        data, artifact = Path(name) / "demo.h5", options.diffuse
        write_demo_series(data, frames=FRAMES)
        if artifact is None:
            artifact = stand_in(Path(name) / "stand-in")
        pairs = []
        for number in range(options.rounds):
            pair = [run(data, one, options.seconds, options.rate) for one in (None, artifact)]
            pairs.append(pair)
            without, both = (f"{np.percentile(one.hits, 99):.1f}" for one in pair)
            print(f"round {number + 1}: p99 of hits {without} ms without, {both} ms with")
    print("| latency, ms | percentile | without | with | ratio, median (range) |")
    print("|---|---|---|---|---|")
    for what in ("misses", "hits", "published"):
        for percentile in (50, 99):
            pairs_ms = np.array(
                [[np.percentile(getattr(one, what), percentile) for one in p] for p in pairs]
            )  # (rounds, 2)
            ratio = pairs_ms[:, 1] / pairs_ms[:, 0]
            without, both = np.median(pairs_ms, axis=0)
            spread = f"{np.median(ratio):.2f} ({ratio.min():.2f}–{ratio.max():.2f})"
            print(f"| {what} | p{percentile} | {without:.1f} | {both:.1f} | {spread} |")
    lost, unjudged = (
        [sum(getattr(pair[at], what) for pair in pairs) for at in (0, 1)]
        for what in ("lost", "unjudged")
    )
    hits = sum(len(pair[1].hits) for pair in pairs)
    shed = sum(pair[1].not_judged_twice for pair in pairs)
    print(f"lost {lost}, unjudged {unjudged} (without, with); {hits} hits, {shed} not judged twice")
    return 1 if sum(lost) + sum(unjudged) else 0


if __name__ == "__main__":
    sys.exit(main())
