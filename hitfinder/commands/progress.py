"""How a command shows that it goes on."""

from rich.console import Console
from rich.progress import Progress


def progress_bar() -> Progress:
    """On standard error, and gone at the end. Nothing where that is no terminal: rich would leave
    an empty line, and an error is one line.
    """
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)
