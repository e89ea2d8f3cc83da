"""Messages waiting on disk until their receiver is back: a first-in-first-out folder.

One file a message, named by a rising number, written beside its place and renamed into it, so
that a crash leaves whole messages only. Messages left by an earlier life of the service are sent
first. File format: for each part `>Q` its length, then its bytes.
"""

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

    def open(self) -> None:
        """Make the folder and find messages of an earlier life. Raises EndpointError."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            files = sorted(self._folder.glob("*.message"))
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
            partial.rename(path)
        except OSError:
            # A full disk is the bound that the settings did not foresee: drop, counted.
            partial.unlink(missing_ok=True)
            return False
        self._next += 1
        self._waiting.append((path, size))
        self.bytes += size
        return True

    def first(self) -> list[Part]:
        """The oldest message; it stays until `remove_first`. Read from disk once."""
        if self._first is not None:
            return self._first
        view = memoryview(self._waiting[0][0].read_bytes())
        parts: list[Part] = []
        position = 0
        while position < len(view):
            (length,) = _LENGTH.unpack_from(view, position)
            position += _LENGTH.size
            parts.append(view[position : position + length])
            position += length
        self._first = parts
        return parts

    def remove_first(self) -> None:
        """Forget the oldest message: it was sent."""
        self._first = None
        path, size = self._waiting.popleft()
        path.unlink()
        self.bytes -= size
