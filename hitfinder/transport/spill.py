"""Messages waiting on disk until their receiver is back: a first-in-first-out folder.

One file a message, named by a rising number, written and synced beside its place and renamed into
it, so that a crash or a power cut leaves whole messages only. Messages left by an earlier life of
the service are sent first. A file that is not what was written is set aside (`.damaged`) and
counted, never fatal. File format: for each part `>Q` its length, then its bytes.
"""

import contextlib
import os
import struct
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from hitfinder.errors import EndpointError
from hitfinder.frame import Part, nbytes

_LENGTH = struct.Struct(">Q")


class Spill:
    """`open` reads what is there. Used by one thread."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._waiting: deque[tuple[Path, int]] = deque()
        self._next = 0
        self._first: list[Part] | None = None
        self.bytes = 0
        self.damaged = 0

    def open(self) -> None:
        """Make the folder and find messages of an earlier life. Raises EndpointError."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for partial in self._folder.glob("*.partial"):
                partial.unlink()
            files = sorted(p for p in self._folder.glob("*.message") if p.stem.isdecimal())
            self._waiting.extend((path, path.stat().st_size) for path in files)
        except OSError as error:
            raise EndpointError(
                f"spill_folder {self._folder}: {error.strerror}; name a folder that can be written"
            ) from error
        self.bytes = sum(size for _, size in self._waiting)
        self._next = int(files[-1].stem) + 1 if files else 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, parts: Sequence[Part]) -> bool:
        """Write one message; False when the bound is reached or the disk refuses it."""
        size = nbytes(parts) + len(parts) * _LENGTH.size
        if self.bytes + size > self._max_bytes:
            return False
        path = self._folder / f"{self._next:012d}.message"
        partial = path.with_suffix(".partial")
        try:
            with partial.open("wb") as file:
                for part in parts:
                    file.write(_LENGTH.pack(len(part)))
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            partial.rename(path)
        except OSError:
            # A full disk is the bound that the settings did not foresee: dropped, and counted by
            # whoever asked. What was written of it is removed at the next start.
            return False
        self._next += 1
        self._waiting.append((path, size))
        self.bytes += size
        return True

    def first(self) -> list[Part] | None:
        """The oldest whole message; it stays until `remove_first`. None when there is none."""
        while self._first is None and self._waiting:
            path, _ = self._waiting[0]
            try:
                self._first = _parts(path.read_bytes())
            except (OSError, struct.error):
                self._set_aside()
        return self._first

    def remove_first(self) -> None:
        """Forget the oldest message: it was sent."""
        path, size = self._waiting.popleft()
        self._first = None
        self.bytes -= size
        # A folder that keeps the file makes the next life send it again: twice beats never.
        with contextlib.suppress(OSError):
            path.unlink()

    def _set_aside(self) -> None:
        path, size = self._waiting.popleft()
        self.bytes -= size
        self.damaged += 1
        with contextlib.suppress(OSError):  # gone, or a folder that changes nothing any more
            path.rename(path.with_suffix(".damaged"))


def _parts(content: bytes) -> list[Part]:
    """Raises struct.error when the content is not whole messages' parts."""
    view = memoryview(content)
    parts: list[Part] = []
    position = 0
    while position < len(view):
        (length,) = _LENGTH.unpack_from(view, position)
        position += _LENGTH.size
        if position + length > len(view):
            raise struct.error("cut short")
        parts.append(view[position : position + length])
        position += length
    if not parts:
        raise struct.error("empty")
    return parts
