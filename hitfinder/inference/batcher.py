"""When a batch is ready: at its size, or when its first item has waited long enough.

Pure: the clock is passed in, and nothing here waits, sleeps or knows what an item is. The timer
starts at the first item, not at each, so that a slow trickle cannot put a batch off for ever.
"""

from typing import Generic, TypeVar

T = TypeVar("T")

BATCH_SIZES = (1, 2, 4, 8, 16, 32)
"""The sizes that run. A runtime prepares anew for every new shape (CUDA for up to a second), so
batches are padded to few sizes, all of them warmed beforehand."""


def padded_size(n: int) -> int:
    """The smallest of BATCH_SIZES that holds `n` items. Raises ValueError outside 1 to 32."""
    for size in BATCH_SIZES:
        if 1 <= n <= size:
            return size
    raise ValueError(f"a batch of {n} items does not fit sizes {BATCH_SIZES}")


class Batcher(Generic[T]):
    """Collects items, in order, none twice and none lost."""

    def __init__(self, size: int, wait_ns: int) -> None:
        self._size = size
        self._wait_ns = wait_ns
        self._items: list[tuple[T, int]] = []

    def __len__(self) -> int:
        """Items that wait."""
        return len(self._items)

    def add(self, item: T, now_ns: int) -> None:
        """Take an item in. More than `size` may wait; they leave in batches of `size`."""
        self._items.append((item, now_ns))

    def closes_at_ns(self) -> int | None:
        """When the batch that is filling is ready: a time in the past when it is full, None when
        nothing waits.
        """
        if not self._items:
            return None
        first_ns = self._items[0][1]
        return first_ns if len(self._items) >= self._size else first_ns + self._wait_ns

    def take(self, now_ns: int) -> list[T]:
        """Up to `size` items, oldest first, if they are ready; otherwise an empty list."""
        closes_at_ns = self.closes_at_ns()
        if closes_at_ns is None or (now_ns < closes_at_ns and len(self._items) < self._size):
            return []
        return self.flush()

    def flush(self) -> list[T]:
        """Up to `size` items, oldest first, ready or not: for the end of a series."""
        batch, self._items = self._items[: self._size], self._items[self._size :]
        return [item for item, _ in batch]
