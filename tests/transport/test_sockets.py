"""Real sockets on loopback."""

import socket
import time
from collections.abc import Iterator
from typing import Any, TypeVar

import pytest
import zmq

from hitfinder.errors import BadMessageError, EndpointError
from hitfinder.frame import Part
from hitfinder.transport.settings import ReceiverSettings, SenderSettings
from hitfinder.transport.sockets import MAX_PARTS, REATTACH_MS, Receiver, Sender, new_context

PATIENCE_MS = 5000
S = TypeVar("S", Sender, Receiver)


class Sockets:
    """Opens sockets, and closes them at the end of a test."""

    def __init__(self) -> None:
        self.context = new_context()
        self._open: list[Sender | Receiver] = []

    def sender(self, **settings: int | str) -> Sender:
        return self._opened(Sender(SenderSettings.model_validate(settings), self.context))

    def receiver(self, **settings: int | str) -> Receiver:
        return self._opened(Receiver(ReceiverSettings.model_validate(settings), self.context))

    def pair(self, endpoint: str, **receiver: int | str) -> tuple[Sender, Receiver]:
        return (
            self.sender(endpoint=endpoint, high_water_mark=2),
            self.receiver(endpoint=endpoint, **receiver),
        )

    def close(self) -> None:
        for one in self._open:
            one.close()
        self.context.destroy()

    def _opened(self, one: S) -> S:
        one.open()
        self._open.append(one)
        return one


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    sockets = Sockets()
    yield sockets
    sockets.close()


@pytest.fixture
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"ipc://{tmp_path_factory.mktemp('s')}/socket"


def send(sender: Sender, *parts: Part) -> None:
    """A connection takes a moment; nothing is accepted before."""
    end = time.monotonic() + PATIENCE_MS / 1000
    while not sender.offer(parts):
        assert time.monotonic() < end, "nobody took the message"
        time.sleep(0.001)


def test_parts_arrive_as_they_were_sent(sockets: Sockets, endpoint: str) -> None:
    sender, receiver = sockets.pair(endpoint)
    parts = (b'{"htype":"x"}', b"", bytes(range(256)) * 1000)
    send(sender, *parts)
    received = receiver.receive(PATIENCE_MS)
    assert received is not None
    assert [bytes(part) for part in received] == list(parts)


def test_received_parts_go_on_without_a_copy(
    sockets: Sockets, tmp_path_factory: pytest.TempPathFactory
) -> None:
    first = f"ipc://{tmp_path_factory.mktemp('a')}/s"
    second = f"ipc://{tmp_path_factory.mktemp('b')}/s"
    sender, middle_in = sockets.pair(first)
    middle_out, receiver = sockets.pair(second)
    blob = bytes(range(256)) * 4000
    send(sender, b"head", blob)
    parts = middle_in.receive(PATIENCE_MS)
    assert parts is not None
    send(middle_out, *parts)
    onward = receiver.receive(PATIENCE_MS)
    assert onward is not None
    assert bytes(onward[1]) == blob
    # Still whole here: sending on must not take the buffer away.
    assert bytes(parts[1]) == blob


def test_too_many_parts_are_refused_and_the_next_message_comes(
    sockets: Sockets, endpoint: str
) -> None:
    sender, receiver = sockets.pair(endpoint)
    send(sender, *[b"x"] * (MAX_PARTS + 1))
    send(sender, b"good")
    with pytest.raises(BadMessageError, match="33 parts"):
        receiver.receive(PATIENCE_MS)
    good = receiver.receive(PATIENCE_MS)
    assert good is not None
    assert bytes(good[0]) == b"good"


def test_parts_that_are_too_large_together_are_refused(sockets: Sockets, endpoint: str) -> None:
    sender, receiver = sockets.pair(endpoint, max_message_bytes=1024)
    send(sender, b"x" * 1000, b"x" * 1000)
    with pytest.raises(BadMessageError, match="2000 bytes"):
        receiver.receive(PATIENCE_MS)


def test_a_message_above_the_limit_is_refused_by_the_socket(
    sockets: Sockets, endpoint: str
) -> None:
    sender, receiver = sockets.pair(endpoint, max_message_bytes=1024)
    send(sender, b"x" * 5000)
    assert receiver.receive(300) is None
    assert "disconnected" in receiver.connection_changes()


def test_nobody_there_takes_nothing(sockets: Sockets, endpoint: str) -> None:
    sender = sockets.sender(endpoint=endpoint)
    assert not sender.offer((b"x",))


def test_a_receiver_that_stalls_is_noticed(sockets: Sockets, endpoint: str) -> None:
    sender, receiver = sockets.pair(endpoint, high_water_mark=2)
    send(sender, b"first")
    blob = bytes(1_000_000)
    accepted = 0
    end = time.monotonic() + 1
    while time.monotonic() < end:
        accepted += sender.offer((blob,))
    assert accepted < 30
    taken = 0
    while receiver.receive(500) is not None:
        taken += 1
    assert taken == accepted + 1


def test_a_message_whose_receiver_goes_away_between_two_parts_is_sent_to_its_end(
    sockets: Sockets, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen with libzmq 4.3.5: after a part that it refuses it throws away all up to the message's
    last part, and did that to the next message where the last part was never given to it.
    """
    sender = sockets.sender(endpoint=endpoint)
    given: list[tuple[bytes, bool]] = []

    def refuse_the_second(_socket: Any, part: bytes, flags: int, **_options: Any) -> None:
        given.append((part, bool(flags & zmq.SNDMORE)))
        if len(given) == 2:
            raise zmq.Again

    monkeypatch.setattr(zmq.Socket, "send", refuse_the_second)
    assert not sender.offer((b"1", b"2", b"3", b"4"))
    assert given == [(b"1", True), (b"2", True), (b"3", True), (b"4", False)]


def test_connections_are_told(sockets: Sockets, endpoint: str) -> None:
    sender, receiver = sockets.pair(endpoint)
    send(sender, b"x")
    assert receiver.receive(PATIENCE_MS) is not None
    assert receiver.connection_changes() == ["connected"]
    sender.close()
    end = time.monotonic() + PATIENCE_MS / 1000
    seen: list[str] = []
    while not seen and time.monotonic() < end:
        seen = receiver.connection_changes()
    assert seen == ["disconnected"]


def test_an_address_that_is_none_is_one_clear_line(sockets: Sockets) -> None:
    with pytest.raises(EndpointError, match=r"cannot bind tcp://nowhere\.invalid:5"):
        sockets.receiver(endpoint="tcp://nowhere.invalid:5", mode="bind")


def test_a_taken_address_is_one_clear_line(sockets: Sockets) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(EndpointError, match="in use"):
            sockets.sender(endpoint=f"tcp://127.0.0.1:{port}")


def test_a_sender_that_comes_late_is_connected_once(sockets: Sockets, endpoint: str) -> None:
    receiver = sockets.receiver(endpoint=endpoint)
    for _ in range(3):
        assert receiver.receive(REATTACH_MS) is None
    sender = sockets.sender(endpoint=endpoint)
    send(sender, b"first")
    assert receiver.receive(PATIENCE_MS) is not None
    assert receiver.receive(200) is None
    assert receiver.connection_changes() == ["connected"]


def test_a_sender_whose_message_was_refused_is_connected_again_once(
    sockets: Sockets, endpoint: str
) -> None:
    sender, receiver = sockets.pair(endpoint, max_message_bytes=1024)
    send(sender, b"x" * 5000)
    seen: list[str] = []
    end = time.monotonic() + PATIENCE_MS / 1000
    while len(seen) < 4 and time.monotonic() < end:
        assert receiver.receive(100) is None
        seen += receiver.connection_changes()
    assert seen == ["connected", "disconnected", "refused", "connected"]
    send(sender, b"good")
    assert receiver.receive(PATIENCE_MS) is not None
    assert receiver.connection_changes() == []
