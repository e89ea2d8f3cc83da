"""Artifacts: what is accepted, and the line a person reads when one is not."""

import json
from pathlib import Path

import msgspec
import pytest

from hitfinder.errors import ArtifactError
from hitfinder.inference import model_card
from hitfinder.inference.model_card import (
    CARD,
    GRAPH,
    Measured,
    find_artifact,
    list_artifacts,
    load_card,
    read_artifact,
    shipped_models,
    write_card,
)
from tests.inference.artifacts import card, write_artifact


def test_card_survives_the_disk(tmp_path: Path) -> None:
    full = card(
        seed=7,
        confidence="95 % by bootstrap",
        metrics=(Measured(run="91", hits=10, misses=0, sensitivity=0.9),),
    )
    write_card(tmp_path, full)
    assert load_card(tmp_path) == full


def test_matching_artifact_is_verified(tmp_path: Path) -> None:
    made = write_artifact(tmp_path)
    assert read_artifact(tmp_path)[0] == made


def test_card_of_a_newer_release_loads(tmp_path: Path) -> None:
    made = write_artifact(tmp_path)
    newer = msgspec.json.decode((tmp_path / CARD).read_bytes()) | {"mood": "good"}
    (tmp_path / CARD).write_bytes(msgspec.json.encode(newer))
    assert read_artifact(tmp_path)[0] == made


def test_graph_that_was_exchanged_is_refused(tmp_path: Path) -> None:
    write_artifact(tmp_path)
    (tmp_path / GRAPH).write_bytes(b"another")
    with pytest.raises(ArtifactError, match="not the file that its card vouches for"):
        read_artifact(tmp_path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is not valid"),
        (b"{", "is not valid"),
        (b"[]", "is not valid"),
        (b'{"name": "toy"}', "missing required field"),
        (b"\xff\xfe", "is not valid"),
        (b'{"name": "caf\xe9"}', "is not valid"),
        (b'{"mood": ' + b"[" * 100_000, "is not valid"),
    ],
)
def test_malformed_card_is_one_clear_line(tmp_path: Path, content: bytes, told: str) -> None:
    write_artifact(tmp_path)
    (tmp_path / CARD).write_bytes(content)
    with pytest.raises(ArtifactError, match=told) as caught:
        read_artifact(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [("threshold", 1.5, "outside 0 to 1"), ("binning", 0, "binning is 0, less than 1")],
)
def test_a_number_outside_its_range_is_refused(
    tmp_path: Path, field: str, value: float, told: str
) -> None:
    write_artifact(tmp_path)
    fields = json.loads((tmp_path / CARD).read_text()) | {field: value}
    (tmp_path / CARD).write_text(json.dumps(fields))
    with pytest.raises(ArtifactError, match=told):
        read_artifact(tmp_path)


@pytest.mark.parametrize("absent", [CARD, GRAPH])
def test_missing_file_is_named(tmp_path: Path, absent: str) -> None:
    write_artifact(tmp_path)
    (tmp_path / absent).unlink()
    with pytest.raises(ArtifactError, match=absent):
        read_artifact(tmp_path)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="nowhere"):
        read_artifact(tmp_path / "nowhere")


def test_a_path_comes_before_a_shipped_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "shipped"
    monkeypatch.setattr(model_card, "shipped_models", lambda: shipped)
    write_artifact(shipped / "one")
    write_artifact(shipped / "two")
    write_artifact(tmp_path / "here" / "two")
    assert list_artifacts() == ("one", "two")
    assert find_artifact("one", tmp_path) == shipped / "one"
    assert find_artifact("two", tmp_path / "here") == tmp_path / "here" / "two"
    assert find_artifact("here/two", tmp_path) == tmp_path / "here" / "two"
    with pytest.raises(ArtifactError, match=r"no model 'three'.*shipped are one, two"):
        find_artifact("three", tmp_path)


@pytest.mark.parametrize("name", list_artifacts())
def test_every_shipped_model_matches_its_card(name: str) -> None:
    assert read_artifact(shipped_models() / name)[0].name == name
