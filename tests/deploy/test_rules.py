"""Prometheus' configuration and rules: valid, each alert tested, each saying what to do."""

import re
import subprocess
from typing import Any

import yaml

from tests.docs.pages import ROOT
from tests.system.prometheus import binary

RULES = ROOT / "deploy" / "prometheus"


def read(name: str) -> Any:
    return yaml.safe_load((RULES / name).read_text(encoding="utf-8"))


def alerts() -> list[dict[str, Any]]:
    return [rule for group in read("alerts.yml")["groups"] for rule in group["rules"]]


def promtool(*arguments: str) -> None:
    ended = subprocess.run([binary("promtool"), *arguments], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_configuration_is_valid() -> None:
    promtool("check", "config", str(RULES / "prometheus.yml"))


def test_each_alert_fires_and_clears() -> None:
    promtool("test", "rules", str(RULES / "alerts_test.yml"))


def test_no_alert_is_left_out_of_that_test() -> None:
    """Each is seen firing, and in the same story later not."""
    seen = set()
    for story in read("alerts_test.yml")["tests"]:
        firing: set[str] = set()
        for question in story["promql_expr_test"]:
            labels = str(question.get("exp_samples", ""))
            now = set(re.findall(r'alertname="(\w+)"', labels))
            seen |= firing - now
            firing |= now
    assert seen == {rule["alert"] for rule in alerts()}


def test_each_alert_says_how_bad_it_is_and_what_to_do() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]
        assert len(rule["annotations"]["description"]) > 80, rule["alert"]


def test_each_alert_is_in_the_guide_with_its_severity() -> None:
    guide = (ROOT / "docs" / "how-to" / "watch.md").read_text(encoding="utf-8")
    for rule in alerts():
        row = re.search(rf"^\| `{rule['alert']}` \|.*$", guide, re.MULTILINE)
        assert row is not None, rule["alert"]
        assert rule["labels"]["severity"] in row[0], rule["alert"]
