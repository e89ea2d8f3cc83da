"""What `make bench` writes down: tables of measured cells as values, JSON and markdown.

A part (`finders`, `wire`, …) measures sections; a section is one table with the bars it is held
against. Values only: nothing here measures, draws or reads a clock. `benchmarks.run` fills records
and writes them; `benchmarks/RESULTS.md` and the plots are made from the JSON alone, so that no
figure is written by hand.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import DataFileError

BEGIN = "<!-- made by python -m benchmarks.run from benchmarks/results; not to be edited -->"
END = "<!-- made until here -->"

Tell = Callable[[str], None]
"""What a part calls with a few words on what it does now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A figure measured several times: median and quartiles of `n`."""

    median: float
    low: float
    high: float
    n: int


Cell = Spread | float | str | None
"""What stands in a table: a figure with its spread, a bare number, words, or nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column's heading, its unit ("ms", "frames/s", "" where it has none) among it."""

    name: str
    unit: str = ""

    @property
    def heading(self) -> str:
        """As it stands above a table."""
        return f"{self.name}, {self.unit}" if self.unit else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a table. `cells` are as many as the section's columns; a row that could not be
    measured has none, and says in `problem` why, and what to do about it. `source` names where
    figures come from that are quoted and not measured.
    """

    name: str
    cells: tuple[Cell, ...] = ()
    problem: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What a figure is wanted to be, at least or at most; None where it was not measured."""

    what: str
    value: float | None
    least: float | None = None
    most: float | None = None

    @property
    def met(self) -> bool:
        """Whether it was measured, and is within."""
        return (
            self.value is not None
            and (self.least is None or self.value >= self.least)
            and (self.most is None or self.value <= self.most)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """When, of which commit (with "+" where files had changed since), and beside what: `load` is
    the machine's load average in the minute before, `seconds` what the part took.
    """

    date: str
    commit: str
    load: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A picture of a section, by the names of its columns: `lines` of each of `y` over `x`, and of
    `right` with an axis of its own; or a bar a row for `y[0]`. `name` goes into the file's.
    `level` draws a line across, `level_says` what it is.
    """

    name: str
    kind: Literal["lines", "bars"]
    y: tuple[str, ...]
    x: str = ""
    right: str = ""
    log: Literal["", "x", "y", "xy"] = ""
    level: float | None = None
    level_says: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One table of the part `part`. `says` are sentences under the heading: what is measured and
    how. `first` heads the column of the rows' names. `taken` is filled in by the driver.
    """

    part: str
    title: str
    says: str
    first: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    bars: tuple[Bar, ...] = ()
    plot: Plot | None = None
    taken: Taken | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """All that is known of one machine: `name` is the file's, `about` its processor or GPU,
    cores, memory and system, `versions` of what took part.
    """

    name: str
    about: str
    versions: dict[str, str] = field(default_factory=dict)
    sections: tuple[Section, ...] = ()

    def with_part(self, sections: Sequence[Section], order: Sequence[str]) -> "Record":
        """The record with a part's sections in place of what it said before; parts in `order`."""
        parts = {each.part for each in sections}
        kept = [each for each in self.sections if each.part not in parts] + list(sections)
        known = {part: place for place, part in enumerate(order)}
        kept.sort(key=lambda each: known.get(each.part, len(known)))
        return replace(self, sections=tuple(kept))


def spread(values: Sequence[float] | NDArray[np.float64]) -> Spread:
    """Median and quartiles of at least one value."""
    low, median, high = np.percentile(np.asarray(values, np.float64), [25, 50, 75])
    return Spread(median=float(median), low=float(low), high=float(high), n=len(values))


def cannot_run(part: str, title: str, why: str) -> Section:
    """A part that could not be measured at all, as a table of one row."""
    return Section(
        part=part, title=title, says="", first="", columns=(), rows=(Row(name=title, problem=why),)
    )


def stamped(sections: Sequence[Section], taken: Taken) -> list[Section]:
    """Sections of one part, with when and where."""
    return [replace(each, taken=taken) for each in sections]


def load_record(path: Path) -> Record:
    """Raises DataFileError when the file is no record."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except msgspec.DecodeError as error:
        raise DataFileError(f"{path}: {error}; remove it and measure anew") from error


def save_record(record: Record, path: Path) -> None:
    """Write JSON that a person can read and git can compare."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")


def as_markdown(records: Sequence[Record]) -> str:
    """All records' tables, a heading for each machine."""
    lines: list[str] = []
    for record in records:
        versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
        lines += [f"## Measured: {record.name}", "", f"{record.about}; {versions}.", ""]
        for section in record.sections:
            lines += _section(section, record.name)
    return "\n".join(lines)


def with_generated(page: str, made: str, *, name: str) -> str:
    """A page with what stands between the marks replaced. Raises DataFileError without marks."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise DataFileError(f"{name}: the lines {BEGIN!r} and {END!r} are missing; put them back")
    return f"{head}{BEGIN}\n\n{made}\n{END}{tail}"


def shown(cell: Cell) -> str:
    """A cell as it stands in a table: three significant figures, quartiles in brackets."""
    match cell:
        case None:
            return ""
        case str():
            return cell
        case Spread():
            if cell.n == 1:
                return _figure(cell.median)
            return f"{_figure(cell.median)} ({_figure(cell.low)}–{_figure(cell.high)})"
        case _:
            return _figure(cell)


def _figure(value: float) -> str:
    if value == 0 or not np.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - int(np.floor(np.log10(abs(value)))))
    return f"{value:.{digits}f}" if digits else f"{value:.0f}"


def picture(record: str, plot: Plot) -> str:
    """A plot's file, beside the record's."""
    return f"{record}-{plot.name}.png"


def _section(section: Section, record: str) -> list[str]:
    lines = [f"### {section.title}", ""]
    if section.says:
        lines += [section.says, ""]
    headings = [section.first, *(column.heading for column in section.columns)]
    measured = [row for row in section.rows if not row.problem]
    if measured:
        lines += [_line(headings), "|---|" + "---:|" * len(section.columns)]
        lines += [_line([_named(row), *map(shown, row.cells)]) for row in measured]
        lines.append("")
    missing = [row for row in section.rows if row.problem]
    if missing:
        lines += [f"- {row.name}: not measured: {row.problem}" for row in missing]
        lines.append("")
    if section.bars:
        lines += ["| wanted | measured | |", "|---|---:|---|"]
        lines += [_line([_wanted(bar), shown(bar.value), _said(bar)]) for bar in section.bars]
        lines.append("")
    if section.plot is not None:
        lines += [f"![{section.title}](results/{picture(record, section.plot)})", ""]
    if section.taken is not None:
        taken = section.taken
        lines += [
            f"Taken {taken.date} at {taken.commit}, load {taken.load:.1f}, {taken.seconds:.0f} s.",
            "",
        ]
    return lines


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _named(row: Row) -> str:
    return f"{row.name} (quoted: {row.source})" if row.source else row.name


def _wanted(bar: Bar) -> str:
    limits = [("at least", bar.least), ("at most", bar.most)]
    return f"{bar.what}: " + ", ".join(f"{word} {x:g}" for word, x in limits if x is not None)


def _said(bar: Bar) -> str:
    return "met" if bar.met else "not measured" if bar.value is None else "**missed**"
