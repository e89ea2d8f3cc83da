"""The real service in a process of its own, and what a test needs around it."""

import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hitfinder.frame import Event, Frame, Part
from hitfinder.ledger.report import LedgerReport, read_report
from hitfinder.transport.settings import ReceiverSettings, SenderSettings
from hitfinder.transport.sockets import Receiver, Sender, new_context
from hitfinder.wire import PROTOCOLS
from hitfinder.wire.verdicts import Heartbeat, Message, VerdictMessage, decode

PATIENCE_S = 30.0
PATIENT = "[pressure]\ndeadline_ms = 30000\n"
"""So that a busy machine does not let frames go on unjudged where a test wants them judged."""

S = TypeVar("S", Sender, Receiver)


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]


def until(holds: Callable[[], object], what: str, seconds: float = PATIENCE_S) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"did not happen within {seconds} s: {what}"
        time.sleep(0.01)


@dataclass
class Outcome:
    """How a finished service ended."""

    code: int
    text: str


class Bench:
    """One service, its sender, and its receivers, over TCP on this machine."""

    def __init__(self, folder: Path, protocol: str = "dectris-v2", more: str = PATIENT) -> None:
        self.folder = folder
        self.frames, self.kept_port, self.verdict_port, self.http = free_ports(4)
        self.config = folder / "hitfinder.toml"
        self.config.write_text(f"""
{more}
[input]
endpoint = "tcp://127.0.0.1:{self.frames}"
protocol = "{protocol}"
max_message_bytes = 33554432
[verdicts]
endpoint = "tcp://127.0.0.1:{self.verdict_port}"
[http]
port = {self.http}
[model]
device = "cpu"
""")
        self.context = new_context()
        self.decoder = PROTOCOLS[protocol].decoder()
        self.log = folder / "log"
        self._sockets: list[Sender | Receiver] = []
        self._verdicts: list[Verdicts] = []
        self._process: subprocess.Popen[bytes] | None = None

    def with_kept(self, rule: str = "") -> None:
        """Pass hits on, to `receiver`; say so before the start."""
        kept = f'[kept]\nendpoint = "tcp://127.0.0.1:{self.kept_port}"\n'
        self.config.write_text(f"{self.config.read_text()}{kept}{rule}\n")

    def start(self, *options: str, wait: bool = True) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "hitfinder", "serve", str(self.config), *options],
                stdout=log,
                stderr=log,
            )
        if wait:
            until(self.is_ready, "the service is ready")

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return self.page("/readyz")[0] == 200

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None
        return self._process

    def page(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except (urllib.error.URLError, TimeoutError):
            return 0, ""

    def metric(self, name: str) -> float:
        for line in self.page("/metrics")[1].splitlines():
            if line.startswith(f"{name} "):
                return float(line.rpartition(" ")[2])
        raise AssertionError(f"no metric {name}")

    def stop(self) -> Outcome:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE_S)
        return Outcome(code=code, text=self.log.read_text())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def sender(self) -> Sender:
        """Where the detector would be."""
        settings = SenderSettings(endpoint=f"tcp://127.0.0.1:{self.frames}", high_water_mark=100)
        return self._opened(Sender(settings, self.context))

    def send(self, sender: Sender, messages: Sequence[tuple[Part, ...]]) -> None:
        for parts in messages:
            until(lambda parts=parts: sender.offer(parts), "a message is taken")  # type: ignore[misc]

    def receiver(self) -> Receiver:
        """Where the file writer would be."""
        settings = ReceiverSettings(endpoint=f"tcp://127.0.0.1:{self.kept_port}")
        return self._opened(Receiver(settings, self.context))

    def verdicts(self) -> "Verdicts":
        settings = ReceiverSettings(
            endpoint=f"tcp://127.0.0.1:{self.verdict_port}", socket="sub", high_water_mark=100_000
        )
        self._verdicts.append(Verdicts(self._opened(Receiver(settings, self.context))))
        return self._verdicts[-1]

    def report(self) -> LedgerReport:
        return read_report(self.folder / "ledger.sqlite")

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        for verdicts in self._verdicts:
            verdicts.finish()
        for one in self._sockets:
            one.close()
        self.context.destroy()

    def _opened(self, one: S) -> S:
        one.open()
        self._sockets.append(one)
        return one


class Verdicts:
    """What the verdict stream says."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._open = True
        self.all: list[Message] = []

    def finish(self) -> None:
        self.listen()
        self._open = False

    def listen(self) -> None:
        while self._open and (parts := self._receiver.receive(0)) is not None:
            self.all.append(decode(parts[0]))

    def heard(self, count: int) -> None:
        """Wait until so many are published."""
        until(lambda: len(self.frames()) >= count, f"{count} verdicts are published")

    def frames(self) -> list[VerdictMessage]:
        self.listen()
        return [message for message in self.all if isinstance(message, VerdictMessage)]

    def beats(self) -> list[Heartbeat]:
        self.listen()
        return [message for message in self.all if isinstance(message, Heartbeat)]


@contextmanager
def bench(folder: Path, protocol: str = "dectris-v2", more: str = PATIENT) -> Iterator[Bench]:
    made = Bench(folder, protocol, more)
    try:
        yield made
    finally:
        made.close()


def drain(receiver: Receiver) -> list[tuple[bytes, ...]]:
    taken = []
    while (parts := receiver.receive(0)) is not None:
        taken.append(tuple(bytes(part) for part in parts))
    return taken


def passed_on(
    sender: Sender,
    receiver: Receiver,
    messages: Iterable[tuple[Part, ...]],
    count: int,
    seconds: float = PATIENCE_S,
) -> Iterator[tuple[bytes, ...]]:
    """Send messages and give those that come out, `count` in all. Reads while it waits to send: a
    service whose buffers are full on both sides would wait for its test.
    """
    left = iter(messages)
    parts = next(left, None)
    end = time.monotonic() + seconds
    while count:
        assert time.monotonic() < end, f"after {seconds} s {count} messages have not come"
        if sent := parts is not None and sender.offer(parts):
            parts = next(left, None)
        came = drain(receiver)
        count -= len(came)
        yield from came
        if not sent and not came:
            time.sleep(0.01)


def kinds(events: Sequence[Event]) -> list[str]:
    return [str(one.number) if isinstance(one, Frame) else type(one).__name__ for one in events]
