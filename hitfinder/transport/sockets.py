"""A receiver and a sender over ZeroMQ, and what each does when the other side is slow or gone.

A message is a tuple of parts. Received parts are memoryviews over libzmq's own buffers and are
sent on without a copy: `part.obj` is the zmq.Frame they view. Sockets belong to one thread.

libzmq counts its high-water mark in messages, not bytes, and refuses messages above
MAXMSGSIZE by dropping the connection; both are settings. TCP keep-alive notices a pulled cable.
What this file does not know: what a message means.
"""

import contextlib
from collections import deque
from collections.abc import Sequence

import zmq

from hitfinder.errors import BadMessageError, EndpointError
from hitfinder.frame import Part
from hitfinder.transport.settings import ReceiverSettings, SenderSettings

REATTACH_MS = 2000
"""How long a receiver that libzmq abandoned waits, lest it hammer a sender that misbehaves."""

MAX_PARTS = 32
"""Parts of the longest message that any protocol here has is 10; more is no protocol's."""

Context = zmq.Context["zmq.Socket[bytes]"]

_SOCKET_TYPES = {"pull": zmq.PULL, "sub": zmq.SUB, "push": zmq.PUSH, "pub": zmq.PUB}

_Options = dict[int, int | bytes]

_ALWAYS: _Options = {
    zmq.LINGER: 0,
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 10,
    zmq.TCP_KEEPALIVE_INTVL: 5,
    zmq.TCP_KEEPALIVE_CNT: 3,
}

_CONNECTION_EVENTS: dict[int, str] = {
    zmq.EVENT_HANDSHAKE_SUCCEEDED: "connected",
    zmq.EVENT_DISCONNECTED: "disconnected",
    zmq.EVENT_CONNECT_RETRIED: "retried",
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "failed",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "failed",
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: "failed",
}


def new_context() -> Context:
    """A ZeroMQ context, with one I/O thread. `destroy` it at the end."""
    return zmq.Context()


class Connections:
    """Who is connected to a socket, from libzmq's own monitor.

    `abandoned` says that a connection ended and libzmq does not try again: it gives up a peer
    that broke its protocol, by a message above MAXMSGSIZE above all.

    libzmq's I/O thread blocks when nobody reads the monitor: whoever owns a socket pumps it
    whenever it sends, or finds nothing to receive (which a blocked I/O thread leads to).
    """

    def __init__(self, socket: "zmq.Socket[bytes]") -> None:
        self._socket = socket
        self._monitor = socket.get_monitor_socket(sum(_CONNECTION_EVENTS))
        self.abandoned = False
        self._failed = False
        self._unseen: deque[str] = deque(maxlen=1000)

    def close(self) -> None:
        """Stop watching."""
        if self._monitor.closed:
            return
        self._socket.disable_monitor()
        self._monitor.close(0)

    def changes(self) -> list[str]:
        """In order, each "connected", "disconnected" or "refused" since the last call. Never
        blocks.
        """
        self.pump()
        seen = list(self._unseen)
        self._unseen.clear()
        return seen

    def take_up(self) -> None:
        """What libzmq gave up is tried again; told as "refused"."""
        self.abandoned = False
        self._unseen.append("refused")

    def pump(self) -> None:
        """Take in what the monitor has to say."""
        while int(self._monitor.get(zmq.EVENTS)) & zmq.POLLIN:
            head, _ = self._monitor.recv_multipart()
            self._note(_CONNECTION_EVENTS[int.from_bytes(head[:2], "little")])

    def _note(self, name: str) -> None:
        self.abandoned = name == "disconnected"
        # A handshake that fails is followed by a disconnection without a connection before it.
        failed, self._failed = self._failed, name == "failed"
        if name in ("connected", "disconnected") and not failed:
            self._unseen.append(name)


class Receiver:
    """Takes messages in. `open` first; `close` last."""

    def __init__(self, settings: ReceiverSettings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._alone_ms = 0

    def open(self) -> None:
        """Bind or connect. Raises EndpointError."""
        options: _Options = {
            zmq.RCVHWM: self._settings.high_water_mark,
            zmq.MAXMSGSIZE: self._settings.max_message_bytes,
        }
        if self._settings.socket == "sub":
            options[zmq.SUBSCRIBE] = b""
        self._socket, self._connections = _opened(self._settings, self._context, options)
        self._timeout_ms = -1

    def receive(self, timeout_ms: int) -> tuple[Part, ...] | None:
        """The next message, or None after `timeout_ms`.

        Raises BadMessageError for one of more than MAX_PARTS parts or of more than
        max_message_bytes in all; it has then been read to its end and dropped.
        """
        frame = self._first(timeout_ms)
        if frame is None:
            self._reattach_if_abandoned(timeout_ms)
            return None
        parts: list[Part] = []
        size = count = 0
        while frame is not None:
            count += 1
            size += len(frame)
            if count <= MAX_PARTS and size <= self._settings.max_message_bytes:
                parts.append(frame.buffer)
            frame = self._socket.recv(copy=False) if frame.more else None
        if count > MAX_PARTS:
            raise BadMessageError("parts", f"message of {count} parts; no protocol has {MAX_PARTS}")
        if size > self._settings.max_message_bytes:
            raise BadMessageError(
                "size", f"message of {size} bytes in {count} parts; raise max_message_bytes"
            )
        return tuple(parts)

    def _first(self, timeout_ms: int) -> zmq.Frame | None:
        """A message's first part. What is there already is taken without asking whether it is."""
        with contextlib.suppress(zmq.Again):
            return self._socket.recv(zmq.NOBLOCK, copy=False)
        self._connections.pump()
        if timeout_ms != self._timeout_ms:
            self._timeout_ms = timeout_ms
            self._socket.set(zmq.RCVTIMEO, timeout_ms)
        with contextlib.suppress(zmq.Again):
            return self._socket.recv(copy=False)
        return None

    def _reattach_if_abandoned(self, waited_ms: int) -> None:
        """Connect anew to a sender that libzmq gave up. Nothing waits in the socket now."""
        if self._settings.mode == "bind" or not self._connections.abandoned:
            self._alone_ms = 0
            return
        self._alone_ms += waited_ms
        if self._alone_ms >= REATTACH_MS:
            self._connections.take_up()
            with contextlib.suppress(zmq.ZMQError):  # there may be nothing left to disconnect
                self._socket.disconnect(self._settings.endpoint)
            _attach(self._socket, self._settings.endpoint, "connect")

    def connection_changes(self) -> list[str]:
        """In order, each "connected" or "disconnected" since the last call, and "refused" where a
        sender was hung up on because of what it sent, a message above max_message_bytes above all.
        """
        return self._connections.changes()

    def close(self) -> None:
        """Close; messages still in the socket's own buffer are lost. Twice does no harm."""
        self._connections.close()
        self._socket.close()


class Sender:
    """Sends messages out, never blocking. `open` first."""

    def __init__(self, settings: SenderSettings, context: Context) -> None:
        self._settings = settings
        self._context = context

    def open(self) -> None:
        """Bind or connect. Raises EndpointError."""
        options: _Options = {
            zmq.SNDHWM: self._settings.high_water_mark,
            # Without it a PUSH accepts messages for a receiver that has never been there.
            zmq.IMMEDIATE: 1,
        }
        self._socket, self._connections = _opened(self._settings, self._context, options)

    def offer(self, parts: Sequence[Part]) -> bool:
        """Hand a message to libzmq; False when nobody takes it now (a PUB always takes it).

        Where its receiver goes away between two parts, libzmq throws the rest away, up to the
        message's end: it is told that end, or it would take the next message for the rest.
        """
        self._connections.pump()
        is_taken = True
        for index, part in enumerate(parts, 1):
            more = 0 if index == len(parts) else zmq.SNDMORE
            try:
                self._socket.send(_sendable(part), zmq.NOBLOCK | more, copy=False)
            except zmq.Again:
                if index == 1:
                    return False
                is_taken = False
        return is_taken

    def connection_changes(self) -> list[str]:
        """In order, each "connected" or "disconnected" since the last call."""
        return self._connections.changes()

    def close(self, linger_ms: int = 0) -> None:
        """Close, giving libzmq `linger_ms` to hand over what it accepted."""
        self._connections.close()
        self._socket.close(linger_ms)


def _opened(
    settings: ReceiverSettings | SenderSettings, context: Context, options: _Options
) -> tuple["zmq.Socket[bytes]", Connections]:
    socket = context.socket(_SOCKET_TYPES[settings.socket])
    for option, value in {**_ALWAYS, **options}.items():
        socket.set(option, value)
    connections = Connections(socket)
    try:
        _attach(socket, settings.endpoint, settings.mode)
    except EndpointError:
        connections.close()
        socket.close()
        raise
    return socket, connections


def _sendable(part: Part) -> "zmq.Frame | Part":
    if isinstance(part, memoryview) and isinstance(part.obj, zmq.Frame):
        return part.obj
    return part


def _attach(socket: "zmq.Socket[bytes]", endpoint: str, mode: str) -> None:
    act = socket.bind if mode == "bind" else socket.connect
    try:
        act(endpoint)
    except zmq.ZMQError as error:
        raise EndpointError(
            f"cannot {mode} {endpoint}: {error.strerror}; is the address right, and is "
            f"another process on it?"
        ) from error
