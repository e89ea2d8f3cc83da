"""A series that is under way: what was counted, and whether a frame still belongs to it.

What this file does not know: the file on disk.
"""

import json
from dataclasses import dataclass

from hitfinder.ledger.counting import MAX_JUMP, SeriesCount

MOST_LATE = 100
"""A frame later than this many numbers is not late: its series began anew."""

MOST_RUNS = 1000
"""A series of more runs of frame numbers is read back from its frames, if it must be."""


@dataclass(slots=True, kw_only=True)
class OpenSeries:
    """A series that may still get frames; `row` is its place in the table `series`."""

    row: int
    count: SeriesCount
    received: int = 0
    last_unix_ns: int = 0
    ended: str | None = None
    touched: bool = True
    """Whether this session saw anything of it; False for one taken over and silent since."""
    last_stray: int | None = None
    """The last frame's number, if it was a stray."""
    lost_before: int = 0
    duplicates_before: int = 0

    @property
    def lost(self) -> int:
        """What this session adds."""
        return max(0, self.count.lost - self.lost_before) if self.touched else 0

    @property
    def duplicates(self) -> int:
        """What this session adds."""
        return self.count.duplicates - self.duplicates_before

    def begins_anew(self, number: int) -> bool:
        """Protocols without a start message begin a new series by other numbers: back at the first
        one seen, further back than a late frame can be, or going on from what seemed a stray.
        """
        first, last = self.count.numbers.first, self.count.numbers.last
        if self.count.started or first is None or last is None:
            return False
        if not self.touched and not last < number <= last + MAX_JUMP:
            return True
        again = number == first and self.count.numbers.count > 1
        leapt = self.last_stray is not None and 0 < number - self.last_stray < MOST_LATE
        return again or leapt or number < first - MOST_LATE

    def columns(self) -> tuple[object, ...]:
        """What the table keeps of it now, from `ended` to `runs`."""
        count = self.count
        return (
            self.ended,
            self.last_unix_ns,
            self.received,
            count.lost,
            count.lost_at_end,
            count.duplicates,
            count.late,
            count.stray,
            count.announced,
            json.dumps(runs) if len(runs := count.numbers.runs) <= MOST_RUNS else None,
        )
