"""What waits for a model: a queue bounded in bytes and in time, whose back never blocks.

In time, because a frame that will not be judged before its deadline had better go on at once:
a queue that is filled to its deadline makes the judge work on frames that then come too late.
Whoever judges says what a frame costs (`told_cost`); the queue takes what all `workers` together
can do in `max_wait_ns`.
"""

import threading
from collections import deque

from hitfinder.frame import nbytes
from hitfinder.serving.line import InFlight, Passage

CROWDED = 0.5
"""How full a queue waits for more no longer: what it would refuse meanwhile could be judged."""


class Backlog:
    """Frames and series starts in order of arrival. Safe to use from several threads."""

    def __init__(self, max_bytes: int, max_wait_ns: int, workers: int = 1) -> None:
        self._max_bytes = max_bytes
        self._max_wait_ns = max_wait_ns * workers  # of all of them
        self.cost_ns = 0.0
        """Judging one frame, in nanoseconds of one worker; 0 while unknown."""
        self._waiting: deque[Passage] = deque()
        self._enough = 1
        self._changed = threading.Condition()
        self.bytes = 0

    def put(self, passage: Passage, *, always: bool = False) -> bool:
        """Add at the back; False when it is full. `always` is for what is not judged but known."""
        size = nbytes(passage.parts)
        with self._changed:
            if always:
                self._forget_superseded()
            elif self._full(size):
                self._forget_settled()
                if self._full(size):
                    return False
            self._waiting.append(passage)
            self.bytes += size
            if self._is_enough():
                self._changed.notify()
            return True

    def take(self, most: int, timeout_s: float, enough: int = 1) -> list[Passage]:
        """Up to `most` from the front; waits up to `timeout_s` for `enough` of them, and takes what
        there is then. One thread at a time calls it.
        """
        with self._changed:
            # Woken by each one, a thread that fills a batch would run for nothing meanwhile.
            self._enough = enough
            self._changed.wait_for(self._is_enough, timeout_s)
            taken = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
            self.bytes -= sum(nbytes(passage.parts) for passage in taken)
            return taken

    def told_cost(self, cost_ns: float) -> None:
        """What judging one frame took just now.

        A running mean that falls faster than it rises: one slow batch must not turn frames away
        for long, since only frames that are let in can correct it.
        """
        with self._changed:
            self.cost_ns += (cost_ns - self.cost_ns) * (0.1 if cost_ns > self.cost_ns else 0.5)

    def doubt_cost(self, by: float = 0.02) -> None:
        """A frame was refused for what it would cost. Only judged frames correct the estimate, so
        each refusal lowers it a little, by this share: a wrong one does not last.
        """
        with self._changed:
            self.cost_ns *= 1.0 - by

    @property
    def load(self) -> float:
        """How full it is, in bytes or in time, whichever is more: 1.0 takes nothing more."""
        wait_ns = len(self._waiting) * self.cost_ns
        return max(self.bytes / self._max_bytes, wait_ns / self._max_wait_ns)

    @property
    def fill(self) -> float:
        """How near it is to refusing a frame, 0 to 1: with few frames that each take long, one
        more is refused long before `load` is 1.
        """
        waiting = len(self._waiting)
        if not waiting:
            return 0.0
        in_time = (waiting + 1) * self.cost_ns / self._max_wait_ns
        return min(1.0, max(self.bytes / self._max_bytes, in_time))

    def _is_enough(self) -> bool:
        return len(self._waiting) >= self._enough or self.fill >= CROWDED

    def _full(self, size: int) -> bool:
        if not self._waiting:
            return False
        wait_ns = (len(self._waiting) + 1) * self.cost_ns
        return self.bytes + size > self._max_bytes or wait_ns > self._max_wait_ns

    def _forget_settled(self) -> None:
        """A judge that hangs must not keep frames in memory that went on without it."""
        while isinstance(front := self._waiting[0], InFlight) and front.verdict is not None:
            self.bytes -= nbytes(front.parts)
            self._waiting.popleft()
            if not self._waiting:
                return

    def _forget_superseded(self) -> None:
        """A series start makes an earlier one pointless when no frame between them is unsettled;
        or the starts of a week of series would pile up before a thread that hangs.
        """
        while self._waiting:
            last = self._waiting[-1]
            if isinstance(last, InFlight) and last.verdict is None:
                return
            self.bytes -= nbytes(last.parts)
            self._waiting.pop()

    def __len__(self) -> int:
        return len(self._waiting)
