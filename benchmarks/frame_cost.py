"""What a frame costs besides pixels, model and sockets: line, ledger, verdict, metrics, log.

    python -m benchmarks.frame_cost

Steps frames by hand through ingest, judge and publish with the fakes of the tests, and prints the
processor time of one frame, the least of several rounds. To compare two commits, run it in a
checkout of each, in turns.
"""

import tempfile
import time
from pathlib import Path

from tests.serving.bench import HIT, MISS, WAIT_MS, Bench, frame

FRAMES = 4000
ROUNDS = 5
HIT_EVERY = 5


def one_round(bench: Bench, series: str) -> float:
    """Seconds of processor time a frame."""
    events = [frame(n, MISS if n % HIT_EVERY else HIT, series) for n in range(FRAMES)]
    bench.decoder.events |= {bytes(event.parts[0]): event for event in events}
    bench.source.messages.extend(event.parts for event in events)
    started = time.process_time()
    for _ in events:
        bench.ingest.step(0)
    while len(bench.backlog):
        bench.judge.step()
    while not bench.judge.idle:
        bench.clock.pass_ms(WAIT_MS)
        bench.judge.step()
    bench.publish_all()
    seconds = (time.process_time() - started) / FRAMES
    bench.kept.taken.clear()
    bench.vetoed.taken.clear()
    bench.verdict_sink.taken.clear()
    return seconds


def main() -> None:
    """Print the least of ROUNDS."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), max_bytes=10**9, judge_bytes=10**9, batch_size=8)
        seconds = min(one_round(bench, str(number)) for number in range(ROUNDS))
        bench.let_die()
    print(f"{seconds * 1e6:.1f} µs a frame")


if __name__ == "__main__":
    main()
