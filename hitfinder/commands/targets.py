"""Files that a command writes at its end: whether it will be able to, asked at its beginning."""

import os
from pathlib import Path

from hitfinder.errors import ConfigError


def check_target(path: Path | None) -> None:
    """Raises ConfigError when a file cannot be written there."""
    if path is None:
        return
    if path.is_dir():
        raise ConfigError(f"cannot write {path}: it is a folder; name a file")
    if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise ConfigError(f"cannot write {path}: no such folder, or no right to write there")
