"""What a configuration becomes for the live page."""

from pathlib import Path
from typing import Any

import pytest

from hitfinder.assemble.monitor import _seen_from, build_monitor
from hitfinder.config import ServeConfig
from hitfinder.errors import ConfigError
from hitfinder.settings import checked


def config_of(**sections: dict[str, Any]) -> ServeConfig:
    table = {"input": {"endpoint": "tcp://d:1", "protocol": "array-1.0"}, **sections}
    return checked(ServeConfig, table, "test")


@pytest.mark.parametrize(
    ("bound", "seen"),
    [
        ("tcp://127.0.0.1:5558", "tcp://127.0.0.1:5558"),
        ("tcp://*:5558", "tcp://daq:5558"),
        ("tcp://0.0.0.0:5558", "tcp://daq:5558"),
        ("tcp://[::]:5558", "tcp://daq:5558"),
        ("ipc:///run/verdicts", "ipc:///run/verdicts"),
    ],
)
def test_the_page_connects_to_what_the_service_binds(bound: str, seen: str) -> None:
    assert _seen_from(bound, "daq") == seen


def test_without_verdicts_there_is_no_page(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"verdicts\.endpoint"):
        build_monitor(config_of(verdicts={"endpoint": "off"}), tmp_path, None)


def test_a_token_that_cannot_be_read_stops_the_page(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="token_file"):
        build_monitor(config_of(monitor={"token_file": "gone"}), tmp_path, None)


def test_samples_are_wanted_or_not(tmp_path: Path) -> None:
    watch, server = build_monitor(config_of(), tmp_path, 0)
    server.open()
    assert server.url.startswith("http://127.0.0.1:")
    server._socket.close()
    assert b'"samples":null' in watch.snapshot()
    watch.stop()
    wanted = config_of(samples={"endpoint": "tcp://*:5561"})
    watch, _ = build_monitor(wanted, tmp_path, None)
    assert b'"samples":"tcp://127.0.0.1:5561"' in watch.snapshot()
    watch.stop()


def test_two_outputs_may_not_share_an_endpoint() -> None:
    with pytest.raises(ConfigError, match="verdicts and samples have one endpoint"):
        config_of(samples={"endpoint": "tcp://127.0.0.1:5558"})
