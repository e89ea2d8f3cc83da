"""deploy/compose.yaml as far as it can be checked without an engine: its parts fit each other."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from hitfinder.config import ServeConfig
from hitfinder.serving.service import LINGER_MS
from tests.docs.pages import ROOT

DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
services = pytest.mark.parametrize("name", SERVICES)


def with_defaults(text: str) -> str:
    """As compose reads it with no variable set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def mounts(name: str) -> dict[str, str]:
    """What is mounted, by where."""
    found = {}
    for line in SERVICES[name]["volumes"]:
        source, target, *mode = with_defaults(line).split(":")
        found[target] = source
        assert mode == ["ro"] or source in COMPOSE["volumes"], f"{line}: a file is read only"
    return found


def option(name: str, flag: str) -> str:
    """The value of an option of a service's command."""
    (value,) = (one.partition("=")[2] for one in SERVICES[name]["command"] if flag in one)
    return str(value)


def file_of(name: str, inside: str) -> Path:
    """The file of this repository that a container sees at a path."""
    for target, source in mounts(name).items():
        if Path(inside).is_relative_to(target):
            return DEPLOY / source / Path(inside).relative_to(target)
    raise AssertionError(f"{name} has nothing mounted at {inside}")


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@services
def test_what_is_mounted_is_there(name: str) -> None:
    for source in mounts(name).values():
        assert source in COMPOSE["volumes"] or (DEPLOY / source).exists(), source


@services
def test_images_have_a_version_and_the_hosts_network(name: str) -> None:
    tag = with_defaults(SERVICES[name]["image"]).partition(":")[2]
    assert tag
    assert tag != "latest"
    assert SERVICES[name]["network_mode"] == "host"


def test_the_service_is_built_from_here_and_finds_its_configuration() -> None:
    build = SERVICES["hitfinder"]["build"]
    dockerfile = (DEPLOY / build["context"] / "Dockerfile").read_text(encoding="utf-8")
    assert f" AS {with_defaults(build['target'])}\n" in dockerfile
    (configuration,) = re.findall(r'^CMD \["serve", "(.*)"\]$', dockerfile, re.MULTILINE)
    table = tomllib.loads(file_of("hitfinder", configuration).read_text(encoding="utf-8"))
    config = ServeConfig.model_validate(table)
    assert str(config.ledger.path.parent) in mounts("hitfinder")
    stop_s = int(SERVICES["hitfinder"]["stop_grace_period"].removesuffix("s"))
    assert stop_s > (config.pressure.drain_timeout_ms + LINGER_MS) / 1000 + 2


def test_prometheus_scrapes_the_service_and_tells_the_alertmanager() -> None:
    config = loaded(file_of("prometheus", option("prometheus", "config.file")))
    (scraped,) = config["scrape_configs"][0]["static_configs"]
    toml = (DEPLOY / "hitfinder.toml").read_text(encoding="utf-8")
    http = ServeConfig.model_validate(tomllib.loads(toml)).http
    assert scraped["targets"] == [f"localhost:{http.port}"]
    for rules in config["rule_files"]:
        assert file_of("prometheus", f"/etc/prometheus/{rules}").is_file()
    (manager,) = config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    assert option("alertmanager", "listen-address=1") == manager.replace("localhost", "127.0.0.1")


def test_the_alertmanager_finds_its_configuration() -> None:
    path = file_of("alertmanager", option("alertmanager", "config.file"))
    config = loaded(path)
    named = {receiver["name"] for receiver in config["receivers"]}
    routes = [config["route"], *config["route"]["routes"]]
    assert {route["receiver"] for route in routes} <= named
    rules = loaded(DEPLOY / "prometheus" / "alerts.yml")["groups"][0]["rules"]
    alerts = {rule["alert"] for rule in rules}
    inhibiting = re.findall(r"alertname \S+ \"?([\w|]+)", path.read_text(encoding="utf-8"))
    assert inhibiting
    assert {one for group in inhibiting for one in group.split("|")} <= alerts


def test_the_alertmanager_accepts_its_configuration() -> None:
    amtool = shutil.which("amtool")
    if amtool is None:
        pytest.skip("amtool is not installed: apt-get install prometheus-alertmanager")
    path = DEPLOY / "alertmanager" / "alertmanager.yml"
    ended = subprocess.run([amtool, "check-config", path], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_grafana_asks_where_prometheus_and_the_alertmanager_listen() -> None:
    asked = {
        one["type"]: one["url"]
        for one in loaded(DEPLOY / "grafana/provisioning/datasources/prometheus.yml")["datasources"]
    }
    for name in ("prometheus", "alertmanager"):
        address = option(name, "web.listen-address").replace("127.0.0.1", "localhost")
        assert asked[name] == f"http://{address}"


def test_grafana_finds_its_dashboards() -> None:
    (provider,) = loaded(DEPLOY / "grafana/provisioning/dashboards/hitfinder.yml")["providers"]
    assert file_of("grafana", provider["options"]["path"]).is_dir()
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert file_of("grafana", home).is_file()
    assert file_of("grafana", "/etc/grafana/provisioning/datasources").is_dir()
