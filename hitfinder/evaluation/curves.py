"""How a training went: a file beside the model, `curves.csv`.

What this file does not know: who writes it, and what is drawn of it.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hitfinder.errors import DataFileError

CURVES = "curves.csv"
COLUMNS = ("epoch", "loss", "validation_loss")


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """Mean losses a frame after so many epochs, on what was trained on and on held-out runs, if
    there are any.
    """

    epoch: int
    loss: float
    validation_loss: float | None = None


def write_curves(path: Path, epochs: Iterable[Epoch]) -> None:
    """Write CSV with COLUMNS; an empty cell is not measured."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for each in epochs:
            held_out = "" if each.validation_loss is None else f"{each.validation_loss:.6f}"
            writer.writerow((each.epoch, f"{each.loss:.6f}", held_out))


def read_curves(path: Path) -> tuple[Epoch, ...]:
    """What `write_curves` wrote, one epoch at least; other columns are ignored.

    Raises DataFileError.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [[row[name] for name in COLUMNS] for row in csv.DictReader(file)]
        epochs = tuple(
            Epoch(
                epoch=int(epoch),
                loss=float(loss),
                validation_loss=float(held_out) if held_out else None,
            )
            for epoch, loss, held_out in rows
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise _none(path, repr(error)) from error
    if not epochs:
        raise _none(path, "no rows")
    return epochs


def _none(path: Path, why: str) -> DataFileError:
    return DataFileError(
        f"{path}: no training curves ({why}); it needs rows of numbers under {', '.join(COLUMNS)}"
    )
