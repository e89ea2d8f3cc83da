"""Commands, called as a person calls them."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hitfinder.cli import app, main


def complaint(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """The one line by which a command refuses."""
    monkeypatch.setattr("sys.argv", ["hitfinder", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("hitfinder: ")
    return line


def hitfinder(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])
