"""The two ends of a wire, each a process of its own: a sender at full speed, and a bare receiver.

    python -m benchmarks.wire_peers send FRAMES.h5 ENDPOINT PROTOCOL ENCODING [--verdicts ...]
    python -m benchmarks.wire_peers receive ENDPOINT PARTS SECONDS

The sender repeats a file's frames, numbered on from FIRST: for ever, or, where it is told where the
service's VERDICTS come from, for SECONDS, and then says how many came. With a WINDOW it is a closed
loop: it sends only while fewer frames than that are without a verdict, so that the service gets
frames as fast as it judges them. Without (0), it sends all that the sockets take.

Pixels are sent from where they lie, without a copy; a frame's number is written into its message
once ZeroMQ has let go of it. What this file does not know: what the figures are held against.
"""

import argparse
import itertools
import sys
import time
from pathlib import Path
from typing import Protocol

import msgspec
import zmq

from hitfinder.dataset.frames import Series
from hitfinder.dataset.series import open_series
from hitfinder.frame import Frame, Part, Payload, SeriesStarted
from hitfinder.wire import PROTOCOLS
from hitfinder.wire.compression import recoded
from hitfinder.wire.protocol import Encoder

Socket = zmq.Socket[bytes]

WARM_S = 0.3
"""Sent and not counted: connections open slowly, and buffers are new."""

SENDER_HOLDS = 4
RECEIVER_HOLDS = 16
"""High-water marks; the receiver's is the service's default."""

AFTER_S = 5.0
"""How long verdicts may follow the last frame."""

NUMBER = b"\x68image_id\x1a"
"""In stream v2, the key before a frame's number when that takes four bytes."""

VERDICT = b'{"type":"verdict"'
UNJUDGED = b'"outcome":"unjudged"'


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What the sender says: verdicts a second, and how many frames it has sent in all."""

    judged_per_s: float
    unjudged_per_s: float
    sent: int


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """What the receiver says: messages a second, and its processor time for one."""

    per_s: float
    cpu_ms: float


class Shot(Protocol):
    """A frame that can be sent under any number."""

    def send(self, socket: Socket, number: int) -> None:
        """Blocks while the receiver is slow."""
        ...


class Numbered:
    """Of stream v2."""

    def __init__(self, encoder: Encoder, payload: Payload) -> None:
        (parts,) = encoder.frame(Frame(series="1", number=2**16, payload=payload))
        self._message = bytearray(parts[0])
        self._place = self._message.index(NUMBER) + len(NUMBER)
        self._sent: zmq.MessageTracker | None = None

    def send(self, socket: Socket, number: int) -> None:
        """See `Shot`."""
        if self._sent is not None:
            self._sent.wait()
        self._message[self._place : self._place + 4] = number.to_bytes(4)
        self._sent = socket.send(self._message, copy=False, track=True)


class Headed:
    """Of array-1.0, where the number stands in a part of its own."""

    def __init__(self, encoder: Encoder, payload: Payload) -> None:
        self._encoder = encoder
        self._payload = payload

    def send(self, socket: Socket, number: int) -> None:
        """See `Shot`."""
        (parts,) = self._encoder.frame(Frame(series="1", number=number, payload=self._payload))
        socket.send_multipart(parts, copy=False)


class Verdicts:
    """Counts what the service says."""

    def __init__(self, context: zmq.Context[Socket], endpoint: str) -> None:
        self._socket = context.socket(zmq.SUB)
        self._socket.set(zmq.SUBSCRIBE, b"")
        self._socket.set(zmq.RCVHWM, 0)
        self._socket.connect(endpoint)
        self.judged = self.unjudged = 0
        self._socket.recv()  # a heartbeat: from here on none is missed

    @property
    def count(self) -> int:
        """Of both kinds."""
        return self.judged + self.unjudged

    def take(self, timeout_ms: int) -> None:
        """Count all there are; waits for the first."""
        if not self._socket.poll(timeout_ms):
            return
        try:
            while True:
                self._note(self._socket.recv(zmq.NOBLOCK))
        except zmq.Again:
            return

    def _note(self, message: bytes) -> None:
        if message.startswith(VERDICT):
            if UNJUDGED in message:
                self.unjudged += 1
            else:
                self.judged += 1


def shots(series: Series, encoder: Encoder, protocol: str, encoding: str) -> list[Shot]:
    """A series' frames, ready to be sent."""
    kind = Headed if protocol == "array-1.0" else Numbered
    payloads = [
        recoded(one.load(), carried=(encoding,), encoding=encoding) for one in series.frames
    ]
    return [kind(encoder, payload) for payload in payloads]


def opened(protocol: str, series: Series) -> tuple[Encoder, list[tuple[Part, ...]]]:
    """An encoder, and the messages that open a series."""
    encoder = PROTOCOLS[protocol].encoder()
    return encoder, list(encoder.start(SeriesStarted(series="1", detector=series.detector)))


def counted(
    made: list[Shot], socket: Socket, verdicts: Verdicts, window: int, first: int, seconds: float
) -> Judged:
    """Send until verdicts were counted for `seconds`."""
    number, begin = first, None
    before = (0, 0)
    end = float("inf")
    while (now := time.perf_counter()) < end:
        if begin is None and verdicts.count:
            begin = now + WARM_S
        elif begin is not None and end == float("inf") and now >= begin:
            begin, before, end = now, (verdicts.judged, verdicts.unjudged), now + seconds
        if window and number - first - verdicts.count >= window:
            verdicts.take(100)
            continue
        made[number % len(made)].send(socket, number)
        number += 1
        if number % 4 == 0:
            verdicts.take(0)
    span_s = now - (begin or now)
    judged, unjudged = verdicts.judged - before[0], verdicts.unjudged - before[1]
    while verdicts.count < number - first and time.perf_counter() < end + AFTER_S:
        verdicts.take(100)
    return Judged(judged_per_s=judged / span_s, unjudged_per_s=unjudged / span_s, sent=number)


def send(arguments: argparse.Namespace) -> None:
    """A detector."""
    (series,) = open_series([arguments.frames])
    encoder, opening = opened(arguments.protocol, series)
    made = shots(series, encoder, arguments.protocol, arguments.encoding)
    context: zmq.Context[Socket] = zmq.Context()
    socket = context.socket(zmq.PUSH)
    socket.set(zmq.SNDHWM, SENDER_HOLDS)
    socket.set(zmq.LINGER, 0)
    verdicts = None if arguments.verdicts is None else Verdicts(context, arguments.verdicts)
    socket.bind(arguments.endpoint)
    if arguments.first == 0:
        for parts in opening:
            socket.send_multipart(parts)
    if verdicts is None:
        for number in itertools.count():
            made[number % len(made)].send(socket, number)
        return
    window, first, seconds = arguments.window, arguments.first, arguments.seconds
    tell(counted(made, socket, verdicts, window, first, seconds))


def receive(arguments: argparse.Namespace) -> None:
    """Nothing but receiving."""
    context: zmq.Context[Socket] = zmq.Context()
    socket = context.socket(zmq.PULL)
    socket.set(zmq.RCVHWM, RECEIVER_HOLDS)
    socket.connect(arguments.endpoint)
    begin = cpu = 0.0
    count = -1
    warm = end = float("inf")
    while (now := time.perf_counter()) < end:
        if warm == float("inf") and count > 0:
            warm = now + WARM_S
        elif begin == 0.0 and now >= warm:
            begin, cpu, count, end = now, time.process_time(), 0, now + arguments.seconds
        for _ in range(arguments.parts):
            socket.recv(copy=False)
        count += 1
    cpu = time.process_time() - cpu
    tell(Received(per_s=count / (now - begin), cpu_ms=1e3 * cpu / count))


def tell(what: Judged | Received) -> None:
    """As JSON, and the last that this process does: messages still on their way are nobody's."""
    sys.stdout.buffer.write(msgspec.json.encode(what))
    sys.stdout.buffer.flush()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(required=True)
    sends = commands.add_parser("send")
    sends.add_argument("frames", type=Path)
    sends.add_argument("endpoint")
    sends.add_argument("protocol")
    sends.add_argument("encoding")
    sends.add_argument("--verdicts")
    sends.add_argument("--window", type=int, default=0)
    sends.add_argument("--first", type=int, default=0)
    sends.add_argument("--seconds", type=float, default=1.0)
    sends.set_defaults(act=send)
    receives = commands.add_parser("receive")
    receives.add_argument("endpoint")
    receives.add_argument("parts", type=int)
    receives.add_argument("seconds", type=float)
    receives.set_defaults(act=receive)
    arguments = parser.parse_args()
    arguments.act(arguments)


if __name__ == "__main__":
    main()
