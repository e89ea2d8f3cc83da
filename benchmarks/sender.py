"""A detector for `benchmarks.rig`: sends a file's frames, several times, from one process.

    python -m benchmarks.sender FILE ENDPOINT PROTOCOL ENCODING

Binds ENDPOINT, then answers each JSON line with a JSON line: {"rate_hz": 120.0, "seconds": 3.0,
"series": 1} sends frames as series 1 for so long, in a loop, at this rate or, with null, as fast as
they are taken, and answers with what `hitfinder replay` says of that.
"""

import sys
import time
from pathlib import Path

import msgspec

from hitfinder.dataset.series import open_series
from hitfinder.replay.replayer import Replayer
from hitfinder.replay.settings import ReplaySettings
from hitfinder.settings import checked
from hitfinder.transport.settings import SenderSettings
from hitfinder.transport.sockets import Sender, new_context
from hitfinder.wire import PROTOCOLS

LINGER_MS = 5000
LONGEST_PAUSE_S = 0.1
"""So that the end is noticed soon."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One series."""

    rate_hz: float | None
    seconds: float
    series: int


def main() -> None:
    """Until stdin ends."""
    file, endpoint, protocol, encoding = sys.argv[1:]
    (series,) = open_series([Path(file)])
    place = {"endpoint": endpoint, "mode": "bind"}
    sender = Sender(checked(SenderSettings, place, "sender"), new_context())
    sender.open()
    for line in sys.stdin:
        order = msgspec.json.decode(line, type=Order)
        rate = {"rate_hz": order.rate_hz, "loop": True, "encoding": encoding}
        make = PROTOCOLS[protocol].encoder
        encoder = make(image_dtype=series.dtype.name) if protocol == "dectris-v2" else make()
        replayer = Replayer(
            series,
            encoder,
            sender,
            checked(ReplaySettings, rate, "sender"),
            series_id=str(order.series),
        )
        replayer.prepare()
        end = time.monotonic() + order.seconds
        while (pause_ns := replayer.step(time.monotonic_ns())) is not None:
            if time.monotonic() > end:
                replayer.stop()
            if pause_ns:
                time.sleep(min(pause_ns / 1e9, LONGEST_PAUSE_S))
        sys.stdout.buffer.write(msgspec.json.encode(replayer.summary()) + b"\n")
        sys.stdout.buffer.flush()
    sender.close(LINGER_MS)


if __name__ == "__main__":
    main()
