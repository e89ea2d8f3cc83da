"""How a command shows that it goes on."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from hitfinder.evaluation.curves import Epoch


def progress_bar() -> Progress:
    """On standard error, and gone at the end. Nothing where that is no terminal: rich would leave
    an empty line, and an error is one line.
    """
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)


class Bars:
    """How a training of so many `epochs` goes, a bar for each kind of work; 0 where nothing is
    learned in epochs.
    """

    def __init__(self, progress: Progress, epochs: int) -> None:
        self._progress = progress
        self._epochs = epochs
        self._bars: dict[str, TaskID] = {}

    def add(self, name: str, total: int, frames: int) -> None:
        """So many more frames of `total` are done."""
        self._progress.advance(self._bar(name, total), frames)
        if self._epochs and self._progress.finished:  # what follows its frames
            self._bar("training", self._epochs)

    def told(self, epoch: Epoch) -> None:
        """An epoch is over."""
        held_out = epoch.validation_loss
        beside = "" if held_out is None else f", {held_out:.3f} on held-out runs"
        self._progress.update(
            self._bar("training", self._epochs),
            completed=epoch.epoch,
            description=f"training, loss {epoch.loss:.3f}{beside}",
        )

    def _bar(self, name: str, total: int) -> TaskID:
        if name not in self._bars:
            self._bars[name] = self._progress.add_task(name, total=total)
        return self._bars[name]


@contextmanager
def bars(epochs: int) -> Iterator[Bars]:
    """Bars on stderr, as long as the training goes on."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield Bars(progress, epochs)
