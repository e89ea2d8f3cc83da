"""What frame numbers tell: which were lost upstream, which came twice, which came late.

    announced = distinct frames + lost        once a series that was seen from its start has ended
    lost so far = numbers skipped             while it runs, or when nothing was announced

Numbers missing after the last one received count as lost only at the series' end, and only when
the sender announced how many it would send; the sender may also have been stopped early, which
from here looks the same. A series joined midway owes nothing from before the first frame seen.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

MAX_JUMP = 1_000_000
"""A number further ahead than this is a stray: a damaged header, not a million lost frames."""


class Arrival(StrEnum):
    """How a frame's number fits into its series."""

    NEXT = "next"
    LATE = "late"
    DUPLICATE = "duplicate"
    STRAY = "stray"


class NumberSet:
    """A set of integers kept as runs; adding in order costs nothing and holds one run."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        self.count = 0

    def add(self, number: int) -> bool:
        """Add; False when it was there."""
        at = bisect_right(self._starts, number)
        if at and number < self._stops[at - 1]:
            return False
        joins_left = at > 0 and self._stops[at - 1] == number
        joins_right = at < len(self._starts) and self._starts[at] == number + 1
        if joins_left and joins_right:
            self._stops[at - 1] = self._stops.pop(at)
            del self._starts[at]
        elif joins_left:
            self._stops[at - 1] = number + 1
        elif joins_right:
            self._starts[at] = number
        else:
            self._starts.insert(at, number)
            self._stops.insert(at, number + 1)
        self.count += 1
        return True

    @property
    def runs(self) -> list[tuple[int, int]]:
        """(start, stop) of each run, stop excluded."""
        return list(zip(self._starts, self._stops, strict=True))

    @classmethod
    def of_runs(cls, runs: Iterable[tuple[int, int]]) -> "NumberSet":
        """The inverse of `runs`; they are in order and do not touch."""
        made = cls()
        for start, stop in runs:
            made._starts.append(start)
            made._stops.append(stop)
            made.count += stop - start
        return made

    @property
    def first(self) -> int | None:
        """The smallest member."""
        return self._starts[0] if self._starts else None

    @property
    def last(self) -> int | None:
        """The largest member."""
        return self._stops[-1] - 1 if self._stops else None


@dataclass(slots=True, kw_only=True)
class SeriesCount:
    """One series' numbers. `started` says whether its start was seen."""

    started: bool
    announced: int | None = None
    ended: bool = False
    duplicates: int = 0
    late: int = 0
    stray: int = 0
    numbers: NumberSet = field(default_factory=NumberSet)

    def arrive(self, number: int) -> Arrival:
        """Count one frame."""
        last = self.numbers.last
        limit = max(-1 if last is None else last, (self.announced or 0) - 1)
        # A series joined midway may begin at any number.
        if number > limit + MAX_JUMP and (last is not None or self.started):
            self.stray += 1
            return Arrival.STRAY
        if not self.numbers.add(number):
            self.duplicates += 1
            return Arrival.DUPLICATE
        if last is not None and number < last:
            self.late += 1
            return Arrival.LATE
        return Arrival.NEXT

    @property
    def lost(self) -> int:
        """Frames that the sender sent, or said it would send, and that never came."""
        missing = self._skipped
        if self.ended and self.started and self.announced is not None:
            # Strays arrived, whatever their number says.
            missing = max(missing, self.announced - self.numbers.count - self.stray)
        return missing

    @property
    def lost_at_end(self) -> int:
        """The part of `lost` that lies after the last frame received."""
        return self.lost - self._skipped

    @property
    def _skipped(self) -> int:
        first, last = self.numbers.first, self.numbers.last
        if first is None or last is None:
            return 0
        # Senders count from 0 or from 1; a last number equal to the announced one tells.
        from_one = self.announced is not None and last >= self.announced
        base = min(first, int(from_one)) if self.started and first > 1 else first
        return last - base + 1 - self.numbers.count
