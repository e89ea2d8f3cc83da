"""What is deployed: every setting is in deploy/hitfinder.toml, and the unit and image fit it."""

import configparser
import re
import tomllib
from typing import Any

from hitfinder.commands.reference import settings
from hitfinder.config import ServeConfig, load_config
from hitfinder.serving.service import LINGER_MS
from hitfinder.settings import checked
from tests.docs.pages import ROOT

DEPLOY = ROOT / "deploy"
COMMENTED = re.compile(r"^#(?=[a-z_]+ = |\[)", re.MULTILINE)


def everything() -> dict[str, Any]:
    """The file with every commented setting switched on."""
    text = (DEPLOY / "hitfinder.toml").read_text(encoding="utf-8")
    return tomllib.loads(COMMENTED.sub("", text))


def test_the_file_is_valid_as_it_is() -> None:
    config = load_config(DEPLOY / "hitfinder.toml")
    assert config.kept is not None
    assert config.ledger.path.is_absolute()


def test_every_setting_is_there_and_nothing_else() -> None:
    assert {section: set(keys) for section, keys in everything().items()} == {
        section: set(keys) for section, keys in settings().items()
    }


def test_with_every_setting_switched_on_it_is_valid() -> None:
    table = everything()
    for section in ("region", "diffuse_region"):
        table[section]["kind"] = "box"  # top and left are for this kind only
    checked(ServeConfig, table, "deploy/hitfinder.toml")


def test_commented_settings_stand_at_their_defaults() -> None:
    text = (DEPLOY / "hitfinder.toml").read_text(encoding="utf-8")
    active = tomllib.loads(text)
    for section, keys in everything().items():
        for key, value in keys.items():
            default = settings()[section][key].get("default")
            if default is not None and key not in active.get(section, {}):
                assert value == default, f"[{section}] {key}"


def test_the_unit_gives_a_stop_time_enough() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "systemd" / "hitfinder.service", encoding="utf-8")
    service = unit["Service"]
    default = ServeConfig.model_validate({"input": everything()["input"]}).pressure
    needed_s = (default.drain_timeout_ms + LINGER_MS) / 1000
    assert int(service["TimeoutStopSec"]) > needed_s + 2
    assert service["Type"] == "simple"
    assert service["Restart"] == "on-failure"
    assert service["User"] == "hitfinder"
    assert everything()["ledger"]["path"].startswith(f"/var/lib/{service['StateDirectory']}/")
    assert service["ExecStart"].split()[1:] == ["serve", "/etc/hitfinder/hitfinder.toml"]


def test_the_image_asks_the_port_that_the_service_has() -> None:
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    http = ServeConfig.model_validate({"input": everything()["input"]}).http
    assert f"http://127.0.0.1:{http.port}/healthz" in image
    stages = re.findall(r"^FROM \S+ AS (\S+)$", image, re.MULTILINE)
    assert {"cpu", "cuda"} <= set(stages)
    assert stages[-1] == "cpu"
    copied = set(re.findall(r"^COPY (?!--from)(.*) \S+$", image, re.MULTILINE))
    sources = {each for line in copied for each in line.split()}
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8")
    assert all((ROOT / each).exists() and f"!{each}\n" in ignore for each in sources)


def test_prometheus_asks_the_port_that_the_service_has() -> None:
    scrape = (DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    assert "localhost:9110" in scrape
    assert "metrics_path: /metrics" in scrape
    for rules in re.findall(r"^  - (\S+\.yml)$", scrape, re.MULTILINE):
        assert (DEPLOY / "prometheus" / rules).is_file()
