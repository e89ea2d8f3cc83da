"""Configurations: what is accepted, and how mistakes are told."""

from pathlib import Path
from typing import Any

import pytest

from hitfinder.config import ServeConfig, load_config
from hitfinder.errors import ConfigError
from hitfinder.settings import checked

GOOD: dict[str, Any] = {"input": {"endpoint": "tcp://d:1", "protocol": "dectris-v2"}}


def test_one_section_is_enough() -> None:
    config = checked(ServeConfig, GOOD, "x")
    assert (config.region.kind, config.region.rows, config.region.cols) == ("center", 350, 350)
    assert config.model.artifact == "hit"
    assert config.kept is None


@pytest.mark.parametrize(
    ("socket", "stream", "set_to", "rule"),
    [
        ("pull", "kept", None, "backpressure"),
        ("sub", "kept", None, "drop"),
        ("pull", "vetoed", None, "drop"),
        ("sub", "kept", "backpressure", "backpressure"),
        ("pull", "kept", "drop", "drop"),
        ("pull", "kept pub", None, "drop"),
    ],
)
def test_the_stall_rule_follows_the_stream(
    socket: str, stream: Any, set_to: str | None, rule: str
) -> None:
    stream, _, kind = stream.partition(" ")
    output = {"endpoint": "tcp://*:2", "on_stall": set_to, "socket": kind or "push"}
    table = {"input": {**GOOD["input"], "socket": socket}, stream: output}
    assert checked(ServeConfig, table, "x").on_stall(stream) == rule


BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "x: input: must be set"),
    ({**GOOD, "modle": {}}, "x: modle: no such setting; did you mean model?"),
    ({**GOOD, "batch": {"sise": 1}}, "x: batch.sise: no such setting; did you mean size?"),
    ({**GOOD, "kept": {"zzz": 1, "endpoint": "tcp://a:1"}}, "x: kept.zzz: no such setting; known"),
    ({**GOOD, "batch": {"size": 64}}, "x: batch.size: input should be less than or equal to 32"),
    ({**GOOD, "kept": 5}, "x: kept: "),
    (
        {"input": {**GOOD["input"], "endpoint": "detector:1"}},
        "x: input.endpoint: must be tcp://HOST:PORT, with a port up to 65535",
    ),
    ({**GOOD, "kept": {"endpoint": "tcp://a:1", "on_stall": "spill"}}, "needs spill_folder"),
    (
        {**GOOD, "kept": {"endpoint": "tcp://a:1", "socket": "pub", "on_stall": "backpressure"}},
        'needs socket = "push"',
    ),
    ({"input": {**GOOD["input"], "endpoint": "tcp://d:99999"}}, "x: input.endpoint: "),
    ({"input": {**GOOD["input"], "endpoint": "tcp://d:65536"}}, "x: input.endpoint: "),
    ({"input": {**GOOD["input"], "endpoint": "inproc://d"}}, "x: input.endpoint: "),
    ({**GOOD, "detector": {"shape": [0, 3, 4]}}, "x: detector.shape.0: "),
    ({**GOOD, "hot_pixels": {"file": "mask.npy"}}, "x: hot_pixels.file: "),
    ({**GOOD, "http": {"port": True}}, "x: http: port is not a matter of true or false"),
    ({**GOOD, "pressure": {"max_in_flight_bytes": 2**21}}, "must not exceed"),
    ({**GOOD, "kept": {"endpoint": "tcp://127.0.0.1:5558"}}, "kept and verdicts have one endpoint"),
    ({**GOOD, "kept": {"endpoint": "tcp://*:5558"}}, "kept and verdicts both listen on port 5558"),
    ({**GOOD, "kept": {"endpoint": "tcp://0.0.0.0:9110"}}, "kept and http both listen on port"),
    (
        {"input": {**GOOD["input"], "endpoint": "tcp://*:5557", "mode": "bind"}}
        | {"kept": {"endpoint": "tcp://10.0.0.1:5557"}},
        "input and kept both listen on port 5557",
    ),
    (
        {
            **GOOD,
            "kept": {"endpoint": "tcp://a:1", "on_stall": "spill", "spill_folder": "spill"},
            "vetoed": {"endpoint": "tcp://a:2", "on_stall": "spill", "spill_folder": "./spill/"},
        },
        "kept and vetoed have one spill_folder",
    ),
    ({**GOOD, "policy": {"diffuse": "veto"}}, "policy without diffuse: no second step"),
    ({**GOOD, "diffuse_frames": {"endpoint": "tcp://a:1"}}, "diffuse_frames without diffuse"),
    ({**GOOD, "diffuse": {}, "policy": {"diffuse": "drop"}}, "x: policy.diffuse: "),
    (
        {**GOOD, "diffuse": {}, "policy": {"diffuse": "veto", "not_diffuse": "veto"}},
        "x: policy: diffuse and not_diffuse are both",
    ),
    ({**GOOD, "diffuse": {"deadline_ms": 0}}, "x: diffuse.deadline_ms: "),
    ({**GOOD, "hot_pixels": {"mode": "on"}}, "should be 'learn' or 'mask' or \"off\" (got 'on')"),
    ({**GOOD, "model": {"device": "gpu"}}, "should be 'auto', 'cuda' or 'cpu' (got 'gpu')"),
    ({**GOOD, "ledger": {"path": "off"}}, 'x: ledger.path: cannot be "off"; give a value'),
    ({**GOOD, "kept": {"endpoint": "off"}}, 'x: kept.endpoint: cannot be "off"'),
    ({**GOOD, "detector": {"saturation": float("nan")}}, "x: detector.saturation: "),
]


@pytest.mark.parametrize(("table", "says"), BAD, ids=[says for _, says in BAD])
def test_a_mistake_names_its_key(table: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as error:
        checked(ServeConfig, table, "x")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("port", ["1", "9999", "59999", "64999", "65499", "65529", "65535", "*"])
def test_every_port_there_is_may_be_named(port: str) -> None:
    endpoint = f"tcp://d:{port}"
    table = {"input": {**GOOD["input"], "endpoint": endpoint, "mode": "bind"}}
    assert checked(ServeConfig, table, "x").input.endpoint == endpoint


@pytest.mark.parametrize(
    "table",
    [
        {"kept": {"endpoint": "tcp://writer:5558", "mode": "connect"}},
        {"kept": {"endpoint": "tcp://10.0.0.1:5558"}},
        {"verdicts": {"endpoint": "tcp://*:*"}, "samples": {"endpoint": "tcp://127.0.0.1:*"}},
        {"kept": {"endpoint": "tcp://*:9110"}, "http": {"port": "off"}},
        {"kept": {"endpoint": "ipc:///run/hitfinder/9110"}},
    ],
    ids=str,
)
def test_what_does_not_listen_on_the_same_port_may_have_it(table: dict[str, Any]) -> None:
    checked(ServeConfig, GOOD | table, "x")


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        checked(ServeConfig, {**GOOD, "batch": {"size": 0}, "http": {"port": -1}}, "x")
    assert len(str(error.value).splitlines()) == 2


@pytest.mark.parametrize("content", [b"[input\n", b"\xff\xfe", b"a = 1\na = 2"])
def test_a_file_that_is_no_toml_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "hitfinder.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="is not TOML"):
        load_config(path)


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(tmp_path)


def test_a_second_step_is_a_section(tmp_path: Path) -> None:
    assert checked(ServeConfig, GOOD, "x").diffuse is None
    config = checked(ServeConfig, {**GOOD, "diffuse": {}}, "x")
    assert config.diffuse is not None
    assert (config.diffuse.artifact, config.diffuse_region.kind) == ("diffuse", "whole")
    assert (config.policy.diffuse, config.policy.not_diffuse) == ("keep", "keep")
    # Frames of a second output never hold up the line unless that is asked for.
    table = {**GOOD, "diffuse": {}, "diffuse_frames": {"endpoint": "tcp://*:2"}}
    assert checked(ServeConfig, table, "x").on_stall("diffuse") == "drop"


def test_off_is_none_since_toml_has_no_null() -> None:
    table = {**GOOD, "verdicts": {"endpoint": "off"}, "http": {"port": "off"}}
    table["hot_pixels"] = {"mode": "off"}
    config = checked(ServeConfig, table, "x")
    assert config.verdicts.endpoint is None
    assert config.http.port is None
    assert config.hot_pixels.mode is None
    with pytest.raises(ConfigError, match=r"batch\.size"):
        checked(ServeConfig, {**GOOD, "batch": {"size": "off"}}, "x")
