"""`hitfinder config`: the schema, and what is found before beamtime."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.commands.calls import complaint, hitfinder
from tests.inference.artifacts import write_artifact


def test_the_schema_names_every_section() -> None:
    schema = json.loads(hitfinder("config", "schema").output)
    assert {"input", "region", "model", "kept", "vetoed", "ledger"} <= set(schema["properties"])


def test_the_schema_says_off_where_toml_has_no_null() -> None:
    told = hitfinder("config", "schema").output
    assert "null" not in told
    port = json.loads(told)["$defs"]["HttpSettings"]["properties"]["port"]
    assert {"const": "off"} in port["anyOf"]


def test_config_check_says_what_will_be_done(tmp_path: Path) -> None:
    config = tmp_path / "hitfinder.toml"
    config.write_text(
        '[input]\nendpoint = "tcp://d:1"\nprotocol = "dectris-v2"\n'
        '[kept]\nendpoint = "tcp://*:5557"\n[model]\ndevice = "cpu"\n'
    )
    result = hitfinder("config", "check", config)
    assert result.exit_code == 0, result.output
    assert "model    hit" in result.output
    assert "on stall backpressure" in result.output


def test_config_check_tells_how_much_of_the_region_is_measured(tmp_path: Path) -> None:
    mask = np.ones((400, 400), np.uint8)
    mask[:100] = 0
    np.save(tmp_path / "mask.npy", mask)
    config = tmp_path / "hitfinder.toml"
    config.write_text(
        '[input]\nendpoint = "tcp://d:1"\nprotocol = "dectris-v2"\n[model]\ndevice = "cpu"\n'
        '[detector]\nshape = [400, 400]\nmask_file = "mask.npy"\n[region]\nkind = "whole"\n'
    )
    result = hitfinder("config", "check", config)
    assert result.exit_code == 0, result.output
    assert "region   400 x 400 pixels, 25.0% of them measured" in result.output


UNFIT = [
    ("[region]\nrows = 5\ncols = 5", "region: model hit does not run on 5 x 5 pixels; make"),
    (
        '[detector]\nshape = [400, 400]\n[region]\nkind = "box"\ntop = 500\nleft = 0',
        "holds no pixel of the 400 x 400 image",
    ),
    ('[detector]\nshape = [400, 300]\nmask_file = "mask.npy"', "the detector's mask has shape"),
    (
        '[detector]\nshape = [400, 400]\n[diffuse]\ndevice = "cpu"\n[diffuse_region]\n'
        'kind = "center"\nrows = 3',
        "diffuse_region: model diffuse does not run on 3 x 350 pixels; make",
    ),
    ('[ledger]\npath = "."', "is a folder; name a file"),
    ('[ledger]\npath = "mask.npy"', "cannot be read: file is not a database"),
    ('[ledger]\npath = "mask.npy/ledger.sqlite"', "mask.npy is no folder"),
    (
        '[kept]\nendpoint = "tcp://*:1"\non_stall = "spill"\nspill_folder = "mask.npy"',
        "mask.npy is no folder",
    ),
    ('[kept]\nendpoint = "tcp://*:1"\nmode = "connect"', "needs a host and a port"),
    ("[detector]\nsaturation = 10\nunderload = 20", "saturation 10 leaves no value"),
    ("[region]\ntop = 5", "no other kind takes them"),
]


@pytest.mark.parametrize(("section", "says"), UNFIT, ids=lambda text: str(text)[-30:])
def test_config_check_finds_what_the_service_would_stop_at(
    section: str,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    np.save(tmp_path / "mask.npy", np.eye(400, dtype=np.uint8))
    config = tmp_path / "hitfinder.toml"
    config.write_text(
        '[input]\nendpoint = "tcp://d:1"\nprotocol = "dectris-v2"\n[model]\ndevice = "cpu"\n'
        f"{section}\n"
    )
    assert says in complaint(["config", "check", str(config)], monkeypatch, capsys)


def test_config_check_tells_the_second_step(tmp_path: Path) -> None:
    write_artifact(tmp_path / "second", task="diffuse", name="second")
    config = tmp_path / "hitfinder.toml"
    config.write_text(
        '[input]\nendpoint = "tcp://d:1"\nprotocol = "dectris-v2"\n[model]\ndevice = "cpu"\n'
        '[diffuse]\nartifact = "second"\ndevice = "cpu"\n'
        '[diffuse_frames]\nendpoint = "tcp://*:5560"\n'
    )
    result = hitfinder("config", "check", config)
    assert result.exit_code == 0, result.output
    assert "diffuse  second 1, threshold 0.5, cpu" in result.output
    assert "on stall drop" in result.output
