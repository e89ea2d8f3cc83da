"""What training writes of itself, read again."""

import csv
from pathlib import Path

import pytest

from hitfinder.errors import DataFileError
from hitfinder.evaluation.curves import CURVES, Epoch, read_curves, write_curves


def test_what_is_written_is_read(tmp_path: Path) -> None:
    epochs = (
        Epoch(epoch=0, loss=0.7, validation_loss=0.71),
        Epoch(epoch=1, loss=0.5),
        Epoch(epoch=2, loss=0.3, validation_loss=0.0),
    )
    write_curves(tmp_path / CURVES, epochs)
    assert read_curves(tmp_path / CURVES) == epochs


def test_other_columns_are_ignored(tmp_path: Path) -> None:
    with (tmp_path / CURVES).open("w", newline="") as file:
        rows = [(0, 0.7, 0.71, 3), (1, 0.5, "", 4)]
        csv.writer(file).writerows([("epoch", "loss", "validation_loss", "seconds"), *rows])
    read = read_curves(tmp_path / CURVES)
    assert [(each.loss, each.validation_loss) for each in read] == [(0.7, 0.71), (0.5, None)]


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "a,b\n1,2\n",
        "epoch,loss,validation_loss\n",
        "epoch,loss,validation_loss\n1,x,2\n",
        "epoch,loss\n1,2\n",
    ],
)
def test_curves_that_are_none(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / CURVES
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataFileError, match="no training curves"):
        read_curves(path)
