"""Stall rules, and messages that wait on disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest

from hitfinder.frame import Part
from hitfinder.transport.outlet import Offered, Outlet
from hitfinder.transport.spill import Spill


class Socket:
    """Takes messages while `flows`."""

    def __init__(self) -> None:
        self.flows = True
        self.taken: list[tuple[bytes, ...]] = []

    def open(self) -> None: ...

    def close(self, linger_ms: int) -> None: ...

    def connection_changes(self) -> list[str]:
        return []

    def offer(self, parts: Sequence[Part]) -> bool:
        if self.flows:
            self.taken.append(tuple(bytes(part) for part in parts))
        return self.flows


def spilling(socket: Socket, folder: Path, max_bytes: int = 10_000) -> Outlet:
    outlet = Outlet(socket, "spill", Spill(folder, max_bytes))
    outlet.open()
    return outlet


@pytest.mark.parametrize(
    ("rule", "answer"), [("backpressure", Offered.STALLED), ("drop", Offered.DROPPED)]
)
def test_rules_without_a_disk(rule: Literal["backpressure", "drop"], answer: Offered) -> None:
    socket = Socket()
    outlet = Outlet(socket, rule)
    assert outlet.offer((b"1",)) is Offered.SENT
    socket.flows = False
    assert outlet.offer((b"2",)) is answer
    assert socket.taken == [(b"1",)]


def test_spilled_messages_follow_in_order(tmp_path: Path) -> None:
    socket = Socket()
    outlet = spilling(socket, tmp_path)
    socket.flows = False
    assert [outlet.offer((b"a", b"", b"%d" % n)) for n in range(20)] == [Offered.SPILLED] * 20
    assert outlet.waiting_bytes > 0
    socket.flows = True
    # The backlog is sent in bounded steps, and what comes meanwhile queues behind it.
    assert outlet.offer((b"a", b"", b"20")) is Offered.SPILLED
    while outlet.catch_up():
        pass
    assert outlet.offer((b"a", b"", b"21")) is Offered.SENT
    assert socket.taken == [(b"a", b"", b"%d" % n) for n in range(22)]
    assert outlet.waiting_bytes == 0
    assert list(tmp_path.iterdir()) == []


def test_beyond_its_bound_a_spill_drops(tmp_path: Path) -> None:
    socket = Socket()
    outlet = spilling(socket, tmp_path, max_bytes=2000)
    socket.flows = False
    answers = [outlet.offer((bytes(900),)) for _ in range(4)]
    assert answers == [Offered.SPILLED, Offered.SPILLED, Offered.DROPPED, Offered.DROPPED]


def test_messages_of_an_earlier_life_are_sent_first(tmp_path: Path) -> None:
    socket = Socket()
    socket.flows = False
    spilling(socket, tmp_path).offer((b"earlier",))
    (tmp_path / "000000000007.partial").write_bytes(b"half a mess")
    socket.flows = True
    assert spilling(socket, tmp_path).offer((b"later",)) is Offered.SENT
    assert socket.taken == [(b"earlier",), (b"later",)]


def test_a_disk_that_refuses_drops(tmp_path: Path) -> None:
    socket = Socket()
    outlet = spilling(socket, tmp_path / "gone")
    socket.flows = False
    (tmp_path / "gone").rmdir()
    assert outlet.offer((b"1",)) is Offered.DROPPED


@pytest.mark.parametrize("content", [b"", b"\x00\x00", b"\x00" * 7 + b"\x09" + b"short"])
def test_a_damaged_message_is_set_aside_and_counted(tmp_path: Path, content: bytes) -> None:
    socket = Socket()
    socket.flows = False
    outlet = spilling(socket, tmp_path)
    for name in (b"1", b"2", b"3"):
        outlet.offer((name,))
    (tmp_path / "000000000001.message").write_bytes(content)
    (tmp_path / "notes.message").write_text("not ours")
    again = spilling(socket, tmp_path)
    socket.flows = True
    assert again.catch_up() == 2
    assert socket.taken == [(b"1",), (b"3",)]
    assert again.damaged == 1
    assert (tmp_path / "000000000001.damaged").exists()


def test_a_message_that_someone_deleted_is_counted(tmp_path: Path) -> None:
    socket = Socket()
    socket.flows = False
    outlet = spilling(socket, tmp_path)
    outlet.offer((b"1",))
    (tmp_path / "000000000000.message").unlink()
    socket.flows = True
    assert outlet.offer((b"2",)) is Offered.SENT
    assert (socket.taken, outlet.damaged, outlet.waiting_bytes) == ([(b"2",)], 1, 0)


def test_a_folder_that_changes_nothing_any_more_does_not_stop_the_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "read-only")

    socket = Socket()
    socket.flows = False
    outlet = spilling(socket, tmp_path)
    outlet.offer((b"1",))
    outlet.offer((b"2",))
    (tmp_path / "000000000001.message").write_bytes(b"")
    monkeypatch.setattr(Path, "unlink", refuse)
    monkeypatch.setattr(Path, "rename", refuse)
    socket.flows = True
    assert outlet.catch_up() == 1
    assert (socket.taken, outlet.damaged) == ([(b"1",)], 1)
