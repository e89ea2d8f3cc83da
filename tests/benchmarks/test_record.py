"""Tables as values: JSON and back, markdown, the marks on the page."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.record import (
    BEGIN,
    END,
    Bar,
    Column,
    Plot,
    Record,
    Row,
    Section,
    Spread,
    Taken,
    as_markdown,
    cannot_run,
    load_record,
    save_record,
    shown,
    spread,
    with_generated,
)
from hitfinder.errors import DataFileError

SECTION = Section(
    part="finders",
    title="Finders",
    says="In turns.",
    first="finder",
    columns=(Column(name="a frame", unit="ms"), Column(name="times")),
    rows=(
        Row(name="ours", cells=(spread([1.0, 2.0, 3.0]), None)),
        Row(name="theirs", cells=(1400.0, "many"), source="a paper"),
        Row(name="other | one", problem="not installed: apt install other"),
    ),
    bars=(Bar(what="ours, ms", value=2.0, most=0.5), Bar(what="gain", value=3.0, least=2.0)),
    plot=Plot(name="finders", kind="bars", y=("a frame",)),
    taken=Taken(date="2026-11-21", commit="abc", load=0.25, seconds=61.0),
)
RECORD = Record(name="box", about="a box", versions={"numpy": "2"}, sections=(SECTION,))

TABLE = """\
## Measured: box

a box; numpy 2.

### Finders

In turns.

| finder | a frame, ms | times |
|---|---:|---:|
| ours | 2.00 (1.50–2.50) |  |
| theirs (quoted: a paper) | 1400 | many |

- other | one: not measured: not installed: apt install other

| wanted | measured | |
|---|---:|---|
| ours, ms: at most 0.5 | 2.00 | **missed** |
| gain: at least 2 | 3.00 | met |

![Finders](results/box-finders.png)

Taken 2026-11-21 at abc, load 0.2, 61 s.
"""


def test_a_record_comes_back_from_json(tmp_path: Path) -> None:
    save_record(RECORD, tmp_path / "new" / "box.json")
    assert load_record(tmp_path / "new" / "box.json") == RECORD


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "box.json").write_text('{"name": 1}')
    with pytest.raises(DataFileError, match=r"box\.json.*measure anew"):
        load_record(tmp_path / "box.json")


def test_markdown() -> None:
    assert as_markdown([RECORD]) == TABLE


def test_a_bar_in_a_cell_is_escaped() -> None:
    rows = (Row(name="a | b", cells=(1.0, None)),)
    assert "| a \\| b | 1.00 |" in as_markdown([replace(RECORD, sections=(table(rows),))])


def table(rows: tuple[Row, ...]) -> Section:
    return replace(SECTION, rows=rows, bars=(), plot=None, taken=None)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (0.0, "0"),
        (0.012345, "0.0123"),
        (9.996, "10.00"),
        (1234.5, "1234"),
        (float("inf"), "inf"),
        (Spread(median=0.5, low=0.4, high=0.6, n=1), "0.500"),
        (Spread(median=0.5, low=0.4, high=0.6, n=9), "0.500 (0.400–0.600)"),
        (None, ""),
    ],
)
def test_cells(cell: Spread | float | None, text: str) -> None:
    assert shown(cell) == text


def test_a_bar_that_was_not_measured_is_not_met() -> None:
    bar = Bar(what="gain", value=None, least=1.0)
    assert not bar.met
    section = replace(SECTION, rows=(), bars=(bar,))
    assert "| gain: at least 1 |  | not measured |" in as_markdown(
        [replace(RECORD, sections=(section,))]
    )


def test_limits_are_within() -> None:
    assert Bar(what="", value=0.5, most=0.5).met
    assert Bar(what="", value=15.0, least=15.0).met
    assert not Bar(what="", value=14.9, least=15.0).met


def test_a_part_replaces_what_it_said_before_and_keeps_the_order() -> None:
    later = cannot_run("wire", "wire", "no sockets")
    again = replace(SECTION, title="Finders anew")
    record = RECORD.with_part([later], ("finders", "wire")).with_part([again], ("finders", "wire"))
    assert [section.title for section in record.sections] == ["Finders anew", "wire"]


def test_what_is_written_by_hand_stays() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert with_generated(page, "new", name="page") == f"before\n{BEGIN}\n\nnew\n{END}\nafter\n"


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(DataFileError, match="page: the lines"):
        with_generated(f"before\n{END}\n", "new", name="page")
