"""The two ends of a wire, each a process of its own: a sender at full speed, and a bare receiver.

    python -m benchmarks.wire_peers send FRAMES.npy ENDPOINT --protocol dectris-v2 --encoding raw
    python -m benchmarks.wire_peers receive ENDPOINT --seconds 2

The sender repeats the frames, numbered on, until it is told to stop, or, given the service's
verdict stream, until it has counted verdicts for some seconds. With `--window` it is a closed loop:
it sends a frame only while fewer than so many are without a verdict. So the service gets frames as
fast as it judges them, and no faster. Pixels are sent from where they lie, without a copy; a
frame's number is written into its message once ZeroMQ has let go of it.
What this file does not know: what the figures are held against (`wire`).
"""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import zmq
from numpy.typing import NDArray

from hitfinder.frame import Detector, Frame, Payload, SeriesStarted, array_payload
from hitfinder.wire import PROTOCOLS
from hitfinder.wire.compression import recoded
from hitfinder.wire.protocol import Encoder

WARM_S = 0.5
"""Sent and not counted: connections open slowly, and buffers are new."""

NUMBER = b"\x68image_id\x1a"
"""In stream v2, the key before a frame's number when that takes four bytes."""

UNJUDGED = b'"outcome":"unjudged"'
VERDICT = b'{"type":"verdict"'


class Numbered:
    """A message of stream v2 whose frame number is written anew each time it is sent."""

    def __init__(self, encoder: Encoder, payload: Payload) -> None:
        (parts,) = encoder.frame(Frame(series="1", number=2**16, payload=payload))
        self._message = bytearray(parts[0])
        self._place = self._message.index(NUMBER) + len(NUMBER)
        self._sent: zmq.MessageTracker | None = None

    def send(self, socket: "zmq.Socket[bytes]", number: int) -> None:
        """Blocks while the receiver is slow."""
        if self._sent is not None:
            self._sent.wait()
        self._message[self._place : self._place + 4] = number.to_bytes(4)
        self._sent = socket.send(self._message, copy=False, track=True)


class Headed:
    """A message of array-1.0: the number stands in a part of its own."""

    def __init__(self, encoder: Encoder, payload: Payload) -> None:
        self._encoder = encoder
        self._payload = payload

    def send(self, socket: "zmq.Socket[bytes]", number: int) -> None:
        """Blocks while the receiver is slow."""
        (parts,) = self._encoder.frame(Frame(series="1", number=number, payload=self._payload))
        socket.send(parts[0], zmq.SNDMORE)
        socket.send(parts[1], copy=False)


FORMS = {"dectris-v2": Numbered, "array-1.0": Headed}


def payloads(frames: NDArray[np.uint16], encoding: str) -> Iterator[Payload]:
    """(N, rows, cols) as they travel."""
    for pixels in frames:
        yield recoded(array_payload(pixels), carried=(encoding,), encoding=encoding)


class Verdicts:
    """Counts what the service says."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str) -> None:
        self._socket = context.socket(zmq.SUB)
        self._socket.set(zmq.SUBSCRIBE, b"")
        self._socket.set(zmq.RCVHWM, 0)
        self._socket.connect(endpoint)
        self.judged = self.unjudged = 0
        self._socket.recv()  # a heartbeat: from here on nothing is missed

    def wait(self, timeout_ms: int) -> None:
        """Count all there is; waits for the first."""
        if not self._socket.poll(timeout_ms):
            return
        while True:
            try:
                verdict = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            if verdict.startswith(VERDICT):
                if UNJUDGED in verdict:
                    self.unjudged += 1
                else:
                    self.judged += 1


def send(arguments: argparse.Namespace) -> None:
    """Send until the count is done, or for ever."""
    frames: NDArray[np.uint16] = np.load(arguments.frames)
    encoder = PROTOCOLS[arguments.protocol].encoder()
    made = [FORMS[arguments.protocol](encoder, one) for one in payloads(frames, arguments.encoding)]
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.PUSH)
    socket.set(zmq.SNDHWM, 4)
    socket.set(zmq.LINGER, 0)
    socket.bind(arguments.endpoint)
    for parts in encoder.start(
        SeriesStarted(series="1", detector=Detector(shape=frames.shape[1:]))
    ):
        socket.send_multipart(parts)
    if arguments.verdicts is None:
        for number in itertools.count():
            made[number % len(made)].send(socket, number)
    verdicts = Verdicts(context, arguments.verdicts)
    number = arguments.first
    begin = end = None
    before = (0, 0)
    while end is None or time.perf_counter() < end:
        in_flight = number - arguments.first - verdicts.judged - verdicts.unjudged
        if arguments.window and in_flight >= arguments.window:
            verdicts.wait(100)
        else:
            made[number % len(made)].send(socket, number)
            number += 1
            if number % 8 == 0:
                verdicts.wait(0)
        if begin is None and verdicts.judged + verdicts.unjudged:
            begin = time.perf_counter() + WARM_S
        if end is None and begin is not None and time.perf_counter() >= begin:
            begin, before = time.perf_counter(), (verdicts.judged, verdicts.unjudged)
            end = begin + arguments.seconds
    assert begin is not None
    seconds = time.perf_counter() - begin
    judged, unjudged = verdicts.judged - before[0], verdicts.unjudged - before[1]
    last = time.perf_counter() + 5
    while (
        number - arguments.first > verdicts.judged + verdicts.unjudged
        and time.perf_counter() < last
    ):
        verdicts.wait(100)
    json.dump(
        {"judged_per_s": judged / seconds, "unjudged_per_s": unjudged / seconds, "next": number},
        sys.stdout,
    )


def receive(arguments: argparse.Namespace) -> None:
    """Nothing but receiving."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.PULL)
    socket.set(zmq.RCVHWM, 16)
    socket.connect(arguments.endpoint)
    last = 2 if arguments.protocol == "array-1.0" else 1
    for _ in range(last):
        socket.recv(copy=False)
    warm = time.perf_counter() + WARM_S
    while time.perf_counter() < warm:
        for _ in range(last):
            socket.recv(copy=False)
    begin = now = time.perf_counter()
    cpu = time.process_time()
    count = 0
    while now < begin + arguments.seconds:
        for _ in range(last):
            socket.recv(copy=False)
        count += 1
        now = time.perf_counter()
    json.dump(
        {"per_s": count / (now - begin), "cpu_ms": 1e3 * (time.process_time() - cpu) / count},
        sys.stdout,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    sends = commands.add_parser("send")
    sends.add_argument("frames", type=Path)
    sends.add_argument("endpoint")
    sends.add_argument("--protocol", default="dectris-v2")
    sends.add_argument("--encoding", default="raw")
    sends.add_argument("--verdicts")
    sends.add_argument("--window", type=int, default=0)
    sends.add_argument("--first", type=int, default=0)
    sends.add_argument("--seconds", type=float, default=2.0)
    sends.set_defaults(run=send)
    receives = commands.add_parser("receive")
    receives.add_argument("endpoint")
    receives.add_argument("--protocol", default="dectris-v2")
    receives.add_argument("--seconds", type=float, default=2.0)
    receives.set_defaults(run=receive)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
