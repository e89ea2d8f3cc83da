"""Labels beside the data: a CSV file that says of frames what they are.

    file,frame,label,tier,artefacts
    run12.h5,0,hit,strong,
    run12.h5,1,miss,,salt cosmic

The first line names the columns, in any order; `tier`, `artefacts` and `diffuse` may be missing,
other columns are ignored. `diffuse` is yes or no (or 1 or 0), empty where nobody said. `frame`
counts within its file from 0. `label` is hit, miss or ambiguous, or as in HDF5 1, 0 or -1; a row
without one says nothing. `file` is the path as it was given to the program, or relative to the
CSV's folder, or, for data that has moved, a name that only one data file has. Upper case counts as
lower case; columns may be separated by semicolons or tabs too.

Whoever disagrees with the data is refused rather than half used: labels that slipped by a frame
or a file train a model that looks nearly right. This module does not open data files.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import get_args

from hitfinder.dataset.frames import (
    TRUTH_CODES,
    FrameRef,
    Label,
    Series,
    Tier,
    Truth,
    check_given_once,
)
from hitfinder.dataset.location import read_bytes
from hitfinder.errors import DataFileError

COLUMNS = ("file", "frame", "label", "tier", "artefacts", "diffuse")
NEEDED_COLUMNS = COLUMNS[:3]

_TRUTHS: dict[str, Truth] = {name: name for name in TRUTH_CODES} | {
    str(code): name for name, code in TRUTH_CODES.items()
}
_TIERS: dict[str, Tier] = {name: name for name in get_args(Tier)}
_DIFFUSE = {"yes": True, "1": True, "no": False, "0": False, "": None}
_SEPARATORS = ",;\t"
_NUMBER = re.compile(r"[0-9]{1,18}")
_BETWEEN_WORDS = re.compile(r"[\s;,]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRow:
    """What one row says: the frame `frame`, from 0, of `file` is `label`."""

    file: str
    frame: int
    label: Label


def read_labels(path: Path) -> list[LabelRow]:
    """The rows of a CSV file that hold a label, in their order.

    Raises DataFileError, with the line: no text, no rows, a column missing, a cell that is wrong.
    """
    return [row for _, row in _numbered_rows(path)]


def write_labels(path: Path, rows: Iterable[LabelRow]) -> None:
    """Write the rows in the order given, `diffuse` only where a label says it. The file appears
    under its name when it is complete. Raises DataFileError when it cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    rows = list(rows)
    columns = COLUMNS if any(row.label.diffuse is not None for row in rows) else COLUMNS[:-1]
    names = {said: name for name, said in _DIFFUSE.items() if not name.isdecimal()}
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(columns)
            for row in rows:
                label = row.label
                words = " ".join(label.artefacts), names[label.diffuse]
                cells = (row.file, row.frame, label.truth, label.tier or "", *words)
                out.writerow(cells[: len(columns)])
        partial.replace(path)
    except OSError as error:
        raise DataFileError(
            f"{path}: cannot be written ({error}); check the folder, its permissions and space"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def apply_labels(series: Sequence[Series], path: Path) -> list[Series]:
    """The same series with the labels of the CSV file at `path`.

    A row replaces all of the label that the data file itself carries; a frame without a row keeps
    that one, so that a CSV may correct a few frames. Raises DataFileError: for a row whose file or
    frame is not among the data, for rows that contradict each other, and as `read_labels` does.
    """
    check_given_once(series)
    counts: dict[Path, int] = {}
    for frame in (frame for one in series for frame in one.frames):
        counts[frame.path] = max(counts.get(frame.path, 0), frame.index + 1)
    rows = list(_numbered_rows(path))
    names: dict[str, int] = {}
    for line, row in rows:
        names.setdefault(row.file, line)
    files = _find_files(names, counts, path)
    labels: dict[tuple[Path, int], tuple[int, Label]] = {}
    for line, row in rows:
        file = files[row.file]
        if row.frame >= counts[file]:
            raise DataFileError(
                f"{path} line {line}: frame {row.frame} of {row.file}, whose {counts[file]} frames "
                f"count from 0 to {counts[file] - 1}; correct the number"
            )
        before, label = labels.setdefault((file, row.frame), (line, row.label))
        if label != row.label:
            raise DataFileError(
                f"{path} line {line}: says something else of frame {row.frame} of {row.file} than "
                f"line {before}; keep one of them"
            )
    return [
        replace(one, frames=tuple(_labelled(frame, labels) for frame in one.frames))
        for one in series
    ]


def _labelled(frame: FrameRef, labels: dict[tuple[Path, int], tuple[int, Label]]) -> FrameRef:
    _, label = labels.get((frame.path, frame.index), (0, frame.label))
    return FrameRef(path=frame.path, index=frame.index, read=frame.read, label=label)


def _find_files(names: dict[str, int], files: Iterable[Path], table: Path) -> dict[str, Path]:
    """The data file that each name in the CSV means; `names` come with their first line."""
    by_path = {file.resolve(): file for file in files}
    by_name: dict[str, list[Path]] = {}
    for file in by_path.values():
        by_name.setdefault(file.name, []).append(file)
    found: dict[str, Path] = {}
    for name in names:
        given = (place.resolve() for place in (Path(name), table.parent / name))
        at = next((by_path[place] for place in given if place in by_path), None)
        if at is not None:
            found[name] = at
    taken = {file: name for name, file in found.items()}
    for name in [name for name in names if name not in found]:
        at = _by_name(name, table.parent, by_name)
        if at is None:
            raise DataFileError(
                f"{table} line {names[name]}: {name} is not among the data; give it with the data, "
                "correct the name, or leave its rows out"
            )
        if at in taken:
            raise DataFileError(
                f"{table} line {names[name]}: {name} and {taken[at]} could both mean {at}; write "
                "the path as the data is given"
            )
        found[name], taken[at] = at, name
    return found


def _by_name(name: str, folder: Path, by_name: dict[str, list[Path]]) -> Path | None:
    """The only data file called so, unless `name` has a folder and leads to another file."""
    path = Path(name)
    candidates = by_name.get(path.name, [])
    places = [place for place in (path, folder / path) if len(path.parts) > 1 and place.exists()]
    if places:
        candidates = [each for each in candidates if each.samefile(places[0])]
    return candidates[0] if len(candidates) == 1 else None


def _numbered_rows(path: Path) -> Iterator[tuple[int, LabelRow]]:
    """Rows that hold a label, with their lines."""
    text = _text(path)
    head = text.split("\n", 1)[0]
    separator = next((each for each in _SEPARATORS if each in head), ",")
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    labelled = False
    try:
        columns = [name.strip().lower() for name in next(rows, [])]
        places = _places(path, columns)
        for cells in rows:
            if not any(cell.strip() for cell in cells):
                continue
            row = _row(cells, len(columns), places, f"{path} line {rows.line_num}")
            if row is not None:
                labelled = True
                yield rows.line_num, row
    except csv.Error as error:
        raise DataFileError(
            f"{path} line {rows.line_num}: is no CSV ({error}); correct the quotes"
        ) from error
    if not labelled:
        raise DataFileError(f"{path}: labels no frame; fill in the column 'label'")


def _text(path: Path) -> str:
    data = read_bytes(path)
    try:
        text = data.decode("utf-8-sig")  # Excel begins its CSV files with a mark
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise DataFileError(
            f"{path}: is no text in UTF-8, perhaps a workbook; save it as 'CSV UTF-8'"
        )
    return text


def _places(path: Path, columns: list[str]) -> tuple[int | None, ...]:
    """Where each of `COLUMNS` stands; None for one that is not there and need not be."""
    missing = [name for name in NEEDED_COLUMNS if name not in columns]
    if missing:
        raise DataFileError(
            f"{path}: has no column {', '.join(missing)}; its first line must name the columns "
            f"{', '.join(NEEDED_COLUMNS)}"
        )
    return tuple(columns.index(name) if name in columns else None for name in COLUMNS)


def _row(
    cells: list[str], width: int, places: tuple[int | None, ...], where: str
) -> LabelRow | None:
    if len(cells) > width:
        raise DataFileError(
            f"{where}: has {len(cells)} cells for {width} columns; separate artefacts by spaces"
        )
    file, frame, *words = (
        cells[place].strip() if place is not None and place < len(cells) else "" for place in places
    )
    label = _label(where, words)
    if label is None:
        return None
    if not file:
        raise DataFileError(f"{where}: names no file; fill it in")
    if not _NUMBER.fullmatch(frame):
        raise DataFileError(f"{where}: frame '{frame}' is no number from 0; correct it")
    return LabelRow(file=file, frame=int(frame), label=label)


def _label(where: str, words: Sequence[str]) -> Label | None:
    truth, tier, artefacts, diffuse = words
    if not truth:
        return None
    try:
        return _known_label(truth.lower(), tier.lower(), artefacts, diffuse.lower())
    except KeyError as error:
        raise DataFileError(
            f"{where}: {error} is unknown; a label is one of {', '.join(_TRUTHS)}, a tier "
            f"{' or '.join(_TIERS)}, diffuse yes or no"
        ) from error
    except ValueError as error:
        raise DataFileError(f"{where}: {error}") from error


@lru_cache(maxsize=1000)  # a run's labels are few, and equal ones need one object
def _known_label(truth: str, tier: str, artefacts: str, diffuse: str) -> Label:
    if tier and _TRUTHS[truth] != "hit":
        raise ValueError(f"a {truth} has no tier, got '{tier}'; clear it or correct the label")
    if _DIFFUSE[diffuse] and _TRUTHS[truth] == "miss":
        raise ValueError("a miss shows no diffuse scattering; clear that or correct the label")
    return Label(
        truth=_TRUTHS[truth],
        tier=_TIERS[tier] if tier else None,
        artefacts=tuple(word for word in _BETWEEN_WORDS.split(artefacts) if word),
        diffuse=_DIFFUSE[diffuse],
    )
