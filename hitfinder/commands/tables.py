"""How a command prints its table."""

from rich.console import Console
from rich.table import Table

_PIPE_COLS = 10_000


def print_table(table: Table) -> None:
    """In a terminal within its width. Into a pipe or a file a row is a line, however wide: a file's
    name or a number that is broken over two can be neither searched for nor counted.
    """
    # Names of files and series are no markup: "run[a]" is one.
    console = Console(markup=False)
    if not console.is_terminal:
        console = Console(markup=False, width=_PIPE_COLS)
    console.print(table)
