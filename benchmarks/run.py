"""`make bench`: measures part after part, and writes what came of it.

    python -m benchmarks.run                        all parts, some 8 minutes on two quiet cores
    python -m benchmarks.run --only finders growth  those alone; the others' figures stay
    python -m benchmarks.run --share 0.1 --out DIR  a tenth of the turns, a page untouched: a trial
    python -m benchmarks.run --only                 measures nothing; tables and plots anew

Written are `benchmarks/results/MACHINE.json`, its plots beside it, and the tables of
`benchmarks/RESULTS.md`, made of all machines' files. A part that cannot run is a row that says
why, and what to do about it. A bar that is missed is told, and no failure: a benchmark measures.
"""

import argparse
import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks import machine, plots
from benchmarks.record import (
    Record,
    Section,
    Tell,
    as_markdown,
    cannot_run,
    load_record,
    save_record,
    stamped,
    with_generated,
)
from hitfinder.errors import HitfinderError

PARTS = ("finders", "decode", "wire", "growth", "start")
"""Each a module here with `measure(share, tell) -> list[Section]`; in the order of the page."""

Measure = Callable[[float, Tell], list[Section]]

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE / "RESULTS.md"


def measured(part: str, measure: Callable[[], Measure], share: float, tell: Tell) -> list[Section]:
    """A part's sections, stamped; one that says why where it cannot run. `measure` imports it."""
    load, started = machine.load(), time.monotonic()
    try:
        sections = measure()(share, tell)
    except ImportError as error:
        why = f'{error}; install it: pip install -e ".[dev]"'
        sections = [cannot_run(part, part, why)]
    except (HitfinderError, OSError) as error:
        sections = [cannot_run(part, part, str(error))]
    taken = machine.taken(load=load, seconds=time.monotonic() - started)
    return stamped(sections, taken)


def records(folder: Path) -> list[Record]:
    """Every machine's, by name. Raises DataFileError."""
    return [load_record(path) for path in sorted(folder.glob("*.json"))]


def written_page(page: str, folder: Path) -> str:
    """The page with the tables of every record in `folder`. Raises DataFileError."""
    return with_generated(page, as_markdown(records(folder)), name=PAGE.name)


def _importer(part: str) -> Callable[[], Measure]:
    def imported() -> Measure:
        measure: Measure = importlib.import_module(f"benchmarks.{part}").measure
        return measure

    return imported


def _measure_all(record: Record, path: Path, parts: Sequence[str], share: float) -> Record:
    """Saved after every part, so that what was measured outlives an interruption."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns) as progress:
        for part in parts:
            task = progress.add_task(part, total=None)

            def tell(text: str, part: str = part, task: object = task) -> None:
                progress.update(task, description=f"{part}: {escape(text)}")  # type: ignore[arg-type]

            sections = measured(part, _importer(part), share, tell)
            progress.update(task, description=f"{part}: done", total=1, completed=1)
            record = record.with_part(sections, PARTS)
            save_record(record, path)
    return record


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--share", type=float, default=1.0, help="of the usual turns and seconds")
    add_place(parser)
    options = parser.parse_args()
    path = options.out / f"{options.machine}.json"
    console = Console()
    if options.only:
        parts = [part for part in PARTS if part in options.only]
        record = _measure_all(record_of(path), path, parts, options.share)
        tell_bars(console, record, *parts)
        console.print(f"written: {path}")
    publish(options.out)


def add_place(parser: argparse.ArgumentParser) -> None:
    """Options that say where to write: `machine`, `out`."""
    parser.add_argument("--machine", default=machine.name(), help="names the file")
    parser.add_argument(
        "--out", type=Path, default=RESULTS, help="another folder: a trial, that no page shows"
    )


def record_of(path: Path) -> Record:
    """A machine's record, or the first; about this machine as it is now. Raises DataFileError."""
    old = load_record(path) if path.exists() else Record(name=path.stem, about="")
    return replace(old, about=machine.about(), versions=machine.versions())


def publish(folder: Path) -> None:
    """Plots of the records in a folder and, where it is the project's, the page."""
    for record in records(folder):
        plots.draw(record, folder)
    if folder == RESULTS:
        page = written_page(PAGE.read_text(encoding="utf-8"), folder)
        PAGE.write_text(page, encoding="utf-8")


def tell_bars(console: Console, record: Record, *parts: str) -> None:
    """What of these parts is missing, and every bar."""
    for section in (each for each in record.sections if each.part in parts):
        for row in section.rows:
            if row.problem:
                console.print(escape(f"not measured: {row.name}: {row.problem}"), style="yellow")
        for bar in section.bars:
            value = "not measured" if bar.value is None else f"{bar.value:.3g}"
            limit = f"at least {bar.least:g}" if bar.most is None else f"at most {bar.most:g}"
            style = "green" if bar.met else "red"
            console.print(escape(f"{bar.what}: {value} ({limit})"), style=style)


if __name__ == "__main__":
    main()
