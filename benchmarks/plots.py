"""Records to PNG pictures. Draws what a section's `Plot` names, and knows no section by itself."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter
from numpy.typing import NDArray

from benchmarks.record import Cell, Plot, Record, Row, Section, Spread, picture, shown

WIDTH_INCHES, HEIGHT_INCHES = 7.0, 4.0
LEAST_TOLD = 0.02
"""Share of the longest bars' lengths below which a piece of one is too narrow for its figure."""

INK, GREY, PALE = "#444444", "#888888", "#bbbbbb"


def draw(record: Record, folder: Path) -> None:
    """Every plot of a record, into `folder`; a section where nothing was measured has none."""
    for section in record.sections:
        if section.plot is not None:
            path = folder / picture(record.name, section.plot)
            figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), layout="constrained")
            axes = figure.subplots()
            KINDS[section.plot.kind](axes, section, section.plot)
            axes.set_title(section.title, fontsize=11)
            axes.grid(visible=True, color="#dddddd", linewidth=0.6)
            axes.set_axisbelow(True)
            axes.spines[["top", "right"]].set_visible(False)
            # Without the library's version in it, so that the same figures make the same file.
            figure.savefig(path, dpi=110, metadata={"Software": None})


def _lines(axes: Axes, section: Section, plot: Plot) -> None:
    x = _column(section, plot.x)[:, 1]
    for number, wanted in enumerate(plot.y):
        low, middle, high = _column(section, wanted).T
        color = mpl.color_sequences["tab10"][number]
        axes.plot(x, middle, marker="o", markersize=4, color=color, label=wanted)
        axes.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0)
    axes.set_xlabel(_heading(section, plot.x))
    units = {column.unit for column in section.columns if column.name in plot.y}
    axes.set_ylabel(", ".join(sorted(units)) if plot.y[1:] else _heading(section, plot.y[0]))
    if plot.y[1:]:
        place = (0.5, -0.13)  # below: inside it would hide what has an axis of its own
        columns = len(plot.y)
        axes.legend(frameon=False, loc="upper center", bbox_to_anchor=place, ncols=columns)
    _scale(axes, plot)
    if plot.level is not None:
        axes.axhline(plot.level, color=INK, linestyle="--", linewidth=0.9)
        place = (1.0, plot.level)
        across = axes.get_yaxis_transform()
        axes.text(*place, plot.level_says, transform=across, ha="right", va="bottom", fontsize=8)
    if plot.right:
        beside = axes.twinx()
        right = _column(section, plot.right)[:, 1]
        beside.plot(x, right, color=GREY, linestyle=":", marker=".")
        beside.set_ylabel(_heading(section, plot.right), color=GREY)
        beside.set_ylim(0, 1.1 * float(np.nanmax(right)) or None)  # all zero: matplotlib's choice
        beside.spines["top"].set_visible(False)


def _bars(axes: Axes, section: Section, plot: Plot) -> None:
    rows = _measured(section)[::-1]
    y = _column(section, plot.y[0])[::-1]
    colors = [PALE if row.source else mpl.color_sequences["tab10"][0] for row in rows]
    low_high = np.abs(y[:, [0, 2]] - y[:, [1]]).T
    axes.barh([row.name for row in rows], y[:, 1], xerr=low_high, color=colors, ecolor=INK)
    for row, (_, value, high) in enumerate(y):
        axes.annotate(
            shown(value), (high, row), (4, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.set_xlabel(_heading(section, plot.y[0]))
    axes.tick_params(axis="y", labelsize=8)
    _scale(axes, plot)
    if "x" in plot.log:
        axes.set_xlim(float(y[:, 0].min()) / 2, float(y[:, 2].max()) * 2.5)
    if plot.level is not None:
        axes.axvline(plot.level, color=INK, linestyle="--", linewidth=0.9)
        up = axes.get_xaxis_transform()
        axes.text(plot.level, 1.0, f" {plot.level_says}", transform=up, va="top", fontsize=8)


def _stack(axes: Axes, section: Section, plot: Plot) -> None:
    rows = _measured(section)
    left = np.zeros(len(plot.y))
    columns = np.stack([_column(section, wanted)[:, 1] for wanted in plot.y], axis=1)
    for number, (row, widths) in enumerate(zip(rows, columns, strict=True)):
        if row.name == plot.total:
            continue
        color = mpl.color_sequences["tab10"][number % 10]
        axes.barh(plot.y, widths, left=left, color=color, label=row.name, height=0.55)
        for bar, (at, width) in enumerate(zip(left, widths, strict=True)):
            if width > LEAST_TOLD * columns.sum(axis=0).max():
                place = (at + width / 2, bar)
                axes.annotate(shown(width), place, ha="center", va="center", fontsize=8)
        left += widths
    axes.invert_yaxis()
    axes.set_xlabel(_heading(section, plot.y[0]).removeprefix(f"{plot.y[0]}, "))
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=4, fontsize=8)


KINDS = {"lines": _lines, "bars": _bars, "stack": _stack}


def _scale(axes: Axes, plot: Plot) -> None:
    for name, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
        if name in plot.log:
            (axes.set_xscale if name == "x" else axes.set_yscale)("log")
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.5)))


def _column(section: Section, name: str) -> NDArray[np.float64]:
    """(rows, 3): low, middle, high of what was measured, no number where a cell holds none."""
    place = [column.name for column in section.columns].index(name)
    return np.array([_triple(row.cells[place]) for row in _measured(section)]).reshape(-1, 3)


def _measured(section: Section) -> Sequence[Row]:
    return [row for row in section.rows if row.cells]


def _heading(section: Section, name: str) -> str:
    return next(column.heading for column in section.columns if column.name == name)


def _triple(cell: Cell) -> tuple[float, float, float]:
    """Low, middle, high; no number where a cell holds none."""
    match cell:
        case Spread():
            return cell.low, cell.median, cell.high
        case int() | float():
            return cell, cell, cell
        case _:
            return np.nan, np.nan, np.nan
