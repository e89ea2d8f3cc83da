"""Files that a command writes at its end: whether it will be able to, asked at its beginning."""

import codecs
import os
import re
from pathlib import Path

from hitfinder.errors import ConfigError


def check_target(path: Path | None, suffix: str) -> None:
    """Raises ConfigError when a file cannot be written there, or would take the place of one that
    is no earlier result: of another suffix, or with labels. `--csv run*.h5` names a data file.
    """
    if path is None:
        return
    if path.is_dir():
        raise ConfigError(f"cannot write {path}: it is a folder; name a file")
    if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise ConfigError(f"cannot write {path}: no such folder, or no right to write there")
    if path.is_file() and path.stat().st_size:
        if path.suffix != suffix:
            raise ConfigError(
                f"cannot write {path}: it is there already and no {suffix} file; name a new one"
            )
        if suffix == ".csv" and _has_labels(path):
            raise ConfigError(
                f"cannot write {path}: it holds labels, perhaps corrected by hand; name a new file"
            )


def check_home(folder: Path) -> None:
    """Raises ConfigError where there is no folder to write to and none can be made."""
    place = folder.absolute()
    nearest = next(each for each in (place, *place.parents) if each.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise ConfigError(f"cannot write to {folder}: {nearest} is no folder with the right to")


def _has_labels(path: Path) -> bool:
    with path.open("rb") as file:
        cells = re.split(rb"[,;\t]", file.readline(1000).removeprefix(codecs.BOM_UTF8).lower())
    return b"label" in [cell.strip(b'" \r\n') for cell in cells]
