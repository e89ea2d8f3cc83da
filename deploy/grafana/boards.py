"""Every dashboard, and how one becomes a file."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana import expert, shift

FOLDER: Final = Path(__file__).parent / "dashboards"

BOARDS: Final[Mapping[str, Callable[[], Dashboard]]] = {
    "shift.json": shift.made,
    "expert.json": expert.made,
}
"""Every dashboard by its file's name."""


def as_json(board: Dashboard) -> str:
    """A dashboard as Grafana reads it."""
    return json.dumps(board.build(), cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def write(folder: Path) -> None:
    """Write all dashboards into `folder`. Raises OSError."""
    for name, board in BOARDS.items():
        (folder / name).write_text(as_json(board()), encoding="utf-8")
