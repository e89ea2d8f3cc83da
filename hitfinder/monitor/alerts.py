"""What somebody on shift should hear of, judged from the verdict stream alone.

Each rule has the name of its alert in deploy/prometheus, so that page and pager say the same; the
page's are quicker, since it looks at every heartbeat. Alerts are kept for an hour, with the time
they began and ended. Time is an argument.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from hitfinder.monitor.board import Board
from hitfinder.monitor.history import SECOND_NS

KEPT_NS = 3600 * SECOND_NS
MOST = 200
"""Alerts held; whoever has more of them in an hour needs no list."""

CALM_NS = 5 * SECOND_NS
"""How long a rule must not hold before its alert ends, lest one trouble be told as many."""

SILENT_NS = 3 * SECOND_NS
"""Three heartbeats."""

STARVED_NS = 10 * SECOND_NS
RECENT_S = 10
ENOUGH = 20
"""Frames that a share is taken of, at least."""

UNJUDGED_SHARE = 0.01

MINUTE_S = 60
HOUR_S = 3600

FELL = 0.25
"""A rate that is less than this share of what it was the hour before is told."""

EXPECTED = 20
"""Hits, or misses, that there were before, and that a minute would have as before; with fewer,
chance may do it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """`until_ns` is None while it lasts."""

    name: str
    summary: str
    since_ns: int
    until_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """What the rules look at. `series_ended` says that no frame need come."""

    board: Board
    deadline_ms: float
    series_ended: bool
    now_ns: int


Rule = Callable[[Now], str | None]
"""What is wrong and what to do, or None."""


def service_down(now: Now) -> str | None:
    """No heartbeat."""
    silent_ns = now.now_ns - now.board.heard_ns
    if silent_ns <= SILENT_NS:
        return None
    return (
        "The service sends no heartbeat. See whether it runs, read its log, start it again; "
        "the sender holds back or loses frames meanwhile."
    )


def no_frames_arriving(now: Now) -> str | None:
    """Heartbeats, but no frames, in the middle of a series."""
    if service_down(now) or now.series_ended or not now.board.history.last(HOUR_S).frames:
        return None
    if now.now_ns - now.board.arrived_ns <= STARVED_NS:
        return None
    return "The service lives, but no frame arrives. Is the detector armed, and its stream on?"


def frames_lost_upstream(now: Now) -> str | None:
    """Gaps in the sender's numbers."""
    lost = now.board.growth("lost", now.now_ns)
    if lost <= 0:
        return None
    return (
        f"{lost} frames lost within a minute, before they reached the service. Look at the "
        "network and the detector's buffer."
    )


def unjudged_share_high(now: Now) -> str | None:
    """Frames that went on without a score."""
    recent = now.board.history.last(RECENT_S)
    if recent.frames < ENOUGH or recent.unjudged <= UNJUDGED_SHARE * recent.frames:
        return None
    return (
        f"{recent.unjudged / recent.frames:.0%} of the frames go on unjudged; none is lost. The "
        "reasons stand in the totals: overload wants a faster model or machine."
    )


def latency_over_deadline(now: Now) -> str | None:
    """Verdicts that come too late."""
    p99_ms = now.board.history.last(RECENT_S).p99_ms
    if p99_ms is None or p99_ms <= now.deadline_ms:
        return None
    return (
        f"Verdicts take {p99_ms:.0f} ms, the deadline is {now.deadline_ms:.0f} ms. A receiver of "
        "kept frames may hold up the line, or the machine is too busy."
    )


def hit_rate_collapsed(now: Now) -> str | None:
    """Far fewer hits than in the hour before."""
    recent, before = now.board.history.last(MINUTE_S), now.board.history.before(MINUTE_S)
    if not _fell(recent.kept, recent.judged, before.kept, before.judged):
        return None
    return (
        f"The hit rate fell from {before.kept / before.judged:.1%} to "
        f"{recent.kept / recent.judged:.1%}. Look at jet or chip, beam and detector."
    )


def hit_rate_saturated(now: Now) -> str | None:
    """Far fewer misses than in the hour before."""
    recent, before = now.board.history.last(MINUTE_S), now.board.history.before(MINUTE_S)
    if not _fell(recent.vetoed, recent.judged, before.vetoed, before.judged):
        return None
    return (
        f"The hit rate rose from {before.kept / before.judged:.1%} to "
        f"{recent.kept / recent.judged:.1%}. Look at some hits: salt, ice or a wrong mask can do "
        "that."
    )


def _fell(part: int, whole: int, part_before: int, whole_before: int) -> bool:
    """Whether a share fell, by more than chance has it."""
    if part_before < EXPECTED:
        return False
    expected = whole * part_before / whole_before
    return expected > EXPECTED and part < FELL * expected


def forwarded_frames_dropped(now: Now) -> str | None:
    """Frames that nobody took."""
    dropped = now.board.growth("dropped", now.now_ns)
    if dropped <= 0:
        return None
    return f"{dropped} frames dropped within a minute: their receiver is too slow or gone."


RULES: Final[Mapping[str, Rule]] = {
    "ServiceDown": service_down,
    "NoFramesArriving": no_frames_arriving,
    "FramesLostUpstream": frames_lost_upstream,
    "UnjudgedShareHigh": unjudged_share_high,
    "LatencyOverDeadline": latency_over_deadline,
    "HitRateCollapsed": hit_rate_collapsed,
    "HitRateSaturated": hit_rate_saturated,
    "ForwardedFramesDropped": forwarded_frames_dropped,
}
"""Every rule by its alert's name."""


class Alerts:
    """`judge` now and then; `recent` is what to show."""

    def __init__(self, rules: Mapping[str, Rule] = RULES) -> None:
        self._rules = rules
        self._open: dict[str, Alert] = {}
        self._held_ns: dict[str, int] = {}
        self._over: list[Alert] = []

    def judge(self, now: Now) -> None:
        """Begin and end alerts."""
        for name, rule in self._rules.items():
            summary = rule(now)
            if summary is not None:
                alert = self._open.get(name)
                since_ns = now.now_ns if alert is None else alert.since_ns
                self._open[name] = Alert(name=name, summary=summary, since_ns=since_ns)
                self._held_ns[name] = now.now_ns
            elif name in self._open and now.now_ns - self._held_ns[name] >= CALM_NS:
                over = replace(self._open.pop(name), until_ns=self._held_ns[name])
                self._over.append(over)
        self._over = [
            one for one in self._over[-MOST:] if now.now_ns - (one.until_ns or 0) < KEPT_NS
        ]

    def recent(self) -> list[Alert]:
        """Those that last, then those that are over; newest first."""
        lasting = sorted(self._open.values(), key=lambda one: one.since_ns)
        return [*reversed(lasting), *reversed(self._over)]
