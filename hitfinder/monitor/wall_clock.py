"""Monotonic times as times of day, on a machine whose clock may be set while the page runs.

Everything here is kept in monotonic time, which no setting of the clock touches. What this file
does not know: what happened at those times.
"""

from collections.abc import Callable

STEP_NS = 1_000_000_000
"""The clock was set when it is off by this; less is followed no more, lest past times tremble."""


class WallClock:
    """Nanoseconds since 1970 of a monotonic time, by what the machine's clock says now."""

    def __init__(self, monotonic_ns: Callable[[], int], unix_ns: Callable[[], int]) -> None:
        self._monotonic_ns = monotonic_ns
        self._unix_ns = unix_ns
        self._offset_ns = unix_ns() - monotonic_ns()

    def __call__(self, at_ns: int) -> int:
        """The time of day at a monotonic time."""
        offset_ns = self._unix_ns() - self._monotonic_ns()
        if abs(offset_ns - self._offset_ns) >= STEP_NS:
            self._offset_ns = offset_ns
        return self._offset_ns + at_ns
