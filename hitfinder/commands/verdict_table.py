"""A live table of a verdict stream, in a terminal. Only subscribes: it costs the service nothing.

`View` gathers what the stream says; `render` draws it. Both without sockets and clocks.
"""

from collections import deque

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from hitfinder.verdict import Outcome
from hitfinder.wire.verdicts import Heartbeat, Message, Totals, VerdictMessage

LATEST = 12
RATE_NS = 2_000_000_000
SILENT_NS = 3_000_000_000
"""A service that sends no heartbeat for this long is silent."""

_STYLES = {Outcome.KEPT: "bold green", Outcome.VETOED: "dim", Outcome.UNJUDGED: "yellow"}


class View:
    """What a verdict stream has said so far."""

    def __init__(self) -> None:
        self.latest: deque[VerdictMessage] = deque(maxlen=LATEST)
        self.totals: Totals | None = None
        self.missed = 0
        self.verdicts = 0
        self.complaint: str | None = None
        self.heard_ns: int | None = None
        self._sequence: int | None = None
        self._arrivals_ns: deque[int] = deque()
        self._judged: deque[bool] = deque(maxlen=1000)

    def add(self, message: Message, now_ns: int) -> None:
        """Take one message in."""
        self.heard_ns = now_ns
        if isinstance(message, Heartbeat):
            self.totals = message.totals
            self._follow(message.sequence, 0)
            return
        self._follow(message.sequence, 1)
        self.verdicts += 1
        self.latest.append(message)
        self._arrivals_ns.append(now_ns)
        if message.outcome is not Outcome.UNJUDGED:
            self._judged.append(message.outcome is Outcome.KEPT)

    def complain(self, text: str) -> None:
        """Show that something else than a verdict came."""
        self.complaint = text

    def frames_per_s(self, now_ns: int) -> float:
        """Verdicts a second over the last two seconds."""
        while self._arrivals_ns and now_ns - self._arrivals_ns[0] > RATE_NS:
            self._arrivals_ns.popleft()
        return len(self._arrivals_ns) / (RATE_NS / 1e9)

    @property
    def hit_rate(self) -> float | None:
        """Share of kept among the last thousand judged frames."""
        return sum(self._judged) / len(self._judged) if self._judged else None

    def _follow(self, sequence: int, step: int) -> None:
        """Count verdicts missed here. A lower number is a service that began anew."""
        if self._sequence is not None and sequence > self._sequence:
            self.missed += sequence - self._sequence - step
        self._sequence = sequence


def render(view: View, source: str, now_ns: int) -> RenderableType:
    """The view as it stands."""
    return Panel(
        Group(_summary(view, now_ns), Text(), _latest(view)), title=f"hitfinder · {source}"
    )


def _summary(view: View, now_ns: int) -> RenderableType:
    table = Table.grid(padding=(0, 3))
    rate = "–" if view.hit_rate is None else f"{view.hit_rate:.1%}"
    if view.heard_ns is None:
        table.add_row("waiting for the first message …")
        return table
    if now_ns - view.heard_ns > SILENT_NS:
        silent = (now_ns - view.heard_ns) / 1e9
        table.add_row(Text(f"the service has been silent for {silent:.0f} s", style="bold red"))
    if view.complaint is not None:
        table.add_row(Text(view.complaint, style="bold red"))
    table.add_row(
        f"{view.frames_per_s(now_ns):.0f} frames/s",
        f"hit rate {rate}",
        f"verdicts {view.verdicts}",
        f"missed here {view.missed}",
    )
    if view.totals is not None:
        totals = view.totals
        unjudged = {reason: count for reason, count in totals.unjudged.items() if count}
        told = ", ".join(f"{reason} {count}" for reason, count in unjudged.items()) or "0"
        table.add_row(
            f"received {totals.received}",
            f"kept {totals.kept}",
            f"vetoed {totals.vetoed}",
            f"unjudged {told}",
        )
        asked = (totals.diffuse, totals.not_diffuse, *totals.diffuse_unjudged.values())
        if any(asked):
            table.add_row(
                f"diffuse {totals.diffuse}",
                f"not diffuse {totals.not_diffuse}",
                f"diffuse unknown {sum(asked[2:])}",
            )
        table.add_row(
            f"forwarded {totals.forwarded}",
            _alarm("dropped", totals.dropped),
            _alarm("lost upstream", totals.lost),
            _alarm("bad messages", totals.bad_messages),
        )
    return table


def _alarm(name: str, count: int) -> Text:
    return Text(f"{name} {count}", style="bold red" if count else "")


def _latest(view: View) -> Table:
    table = Table(box=None, header_style="dim")
    for name in ("series", "frame", "outcome", "score", "diffuse", "ms"):
        left = name in ("series", "outcome", "diffuse")
        table.add_column(name, justify="left" if left else "right")
    for verdict in reversed(view.latest):
        outcome = verdict.outcome.value if verdict.reason is None else f"unjudged: {verdict.reason}"
        score = "–" if verdict.score is None else f"{verdict.score:.3f}"
        table.add_row(
            Text(verdict.series),
            str(verdict.frame),
            Text(outcome, _STYLES[verdict.outcome]),
            score,
            _diffuse(verdict),
            f"{verdict.latency_ms:.1f}",
        )
    return table


def _diffuse(verdict: VerdictMessage) -> str:
    """What the second step said, or why it did not; nothing for what it was not asked about."""
    if verdict.diffuse_score is not None:
        return f"{verdict.diffuse}, {verdict.diffuse_score:.3f}"
    return "–" if verdict.diffuse_reason is None else f"unjudged: {verdict.diffuse_reason}"
