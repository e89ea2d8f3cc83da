"""The dashboards are what the code makes, and hang together."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana.boards import BOARDS, FOLDER, as_json, write
from tests.docs.pages import ROOT

PROVISIONING = ROOT / "deploy" / "grafana" / "provisioning"
boards = pytest.mark.parametrize("name", BOARDS)


def panels(name: str) -> list[dict[str, Any]]:
    return list(json.loads((FOLDER / name).read_text(encoding="utf-8"))["panels"])


@boards
def test_a_dashboard_is_up_to_date(name: str, tmp_path: Path) -> None:
    write(tmp_path)
    fresh = (tmp_path / name).read_text(encoding="utf-8")
    assert (FOLDER / name).read_text(encoding="utf-8") == fresh, "run: make docs"
    assert as_json(BOARDS[name]()) == fresh


def test_there_is_no_other_dashboard() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(BOARDS)


@boards
def test_panels_fill_the_width_and_do_not_overlap(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels(name):
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not taken & cells, panel["title"]
        taken |= cells
    rows = {y for _, y in taken}
    assert taken == {(x, y) for x in range(24) for y in rows}


@boards
def test_every_panel_asks_the_provisioned_source(name: str) -> None:
    sources = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())
    known = {(one["type"], one["uid"]) for one in sources["datasources"]}
    for panel in panels(name):
        for target in panel.get("targets", []):
            asked = target["datasource"]
            assert (asked["type"], asked["uid"]) in known, panel["title"]
            assert 'instance=~"$instance"' in target["expr"], panel["title"]


def test_the_shift_dashboard_has_what_the_shift_needs() -> None:
    titles = " ".join(panel["title"] for panel in panels("shift.json"))
    for word in ("Hit rate", "outcome", "Lost", "Latency", "Alerts", "Model"):
        assert word in titles, word
