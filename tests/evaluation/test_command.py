"""`hitfinder evaluate` from files to a folder."""

import json
import shutil
from pathlib import Path

import pytest
from matplotlib.image import imread

from hitfinder.commands.evaluate import run
from hitfinder.errors import ArtifactError, ConfigError, DataFileError
from hitfinder.inference.model_card import find_artifact
from tests.evaluation.runs import AMBIGUOUS, MISS, STRONG, write_frames, write_spotted
from tests.inference.artifacts import write_artifact

PICTURES = ("runs.png", "roc.png", "scores.png", "confusion.png", "worst.png")


@pytest.fixture
def toy(tmp_path: Path) -> str:
    """Its score is the first pixel; its threshold 0.5."""
    write_artifact(tmp_path / "toy")
    return str(tmp_path / "toy")


def test_two_runs_through_the_shipped_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = tmp_path / "model"
    shutil.copytree(find_artifact("spotcount", tmp_path), artifact)
    (artifact / "curves.csv").write_text("epoch,loss,validation_loss\n0,1,1\n1,0.5,0.6\n")
    for seed in (1, 2):
        write_spotted(tmp_path / f"run{seed}.h5", 8, seed)
    files = [tmp_path / "run1.h5", tmp_path / "run2.h5"]
    out = tmp_path / "deep" / "out"
    assert run(files, model=str(artifact), out=out, region="whole") == 0
    report = json.loads((out / "report.json").read_bytes())
    rows = {row["run"]: row for row in report["evaluation"]["runs"]}
    for row in rows.values():
        assert (row["sensitivity"]["count"], row["sensitivity"]["of"]) == (4, 4)
        assert (row["with_artefacts"]["count"], row["with_artefacts"]["of"]) == (4, 4)
    assert list(rows) == ["run1", "run2"]
    assert (report["region"], report["threshold_from"]) == ("whole frames", "the model's card")
    markdown = (out / "report.md").read_text()
    for name in (*PICTURES, "curves.png"):
        assert imread(out / name).std() > 0.01
        assert f"]({name})" in markdown
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("run1", "run2", "all", "Sen", "1.0000"))


def test_the_same_twice_gives_the_same_files(tmp_path: Path, toy: str) -> None:
    write_frames(tmp_path / "run.h5", [0.9, 0.1, 0.4], [STRONG, MISS, STRONG])
    outs = [tmp_path / "first", tmp_path / "second"]
    for out in outs:
        assert run([tmp_path / "run.h5"], model=toy, out=out, region="whole") == 0
    for name in ("report.md", "report.json", *PICTURES):
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes(), name


def test_a_threshold_of_ones_own(tmp_path: Path, toy: str) -> None:
    write_frames(tmp_path / "run.h5", [0.9, 0.1, 0.4], [STRONG, MISS, STRONG])
    run([tmp_path / "run.h5"], model=toy, out=tmp_path / "out", region="whole", threshold=0.3)
    report = json.loads((tmp_path / "out/report.json").read_bytes())
    assert report["evaluation"]["overall"]["sensitivity"]["count"] == 2
    assert report["threshold_from"] == "--threshold"


def test_labels_from_a_table(tmp_path: Path, toy: str) -> None:
    write_frames(tmp_path / "run.h5", [0.9, 0.1, 0.4], [None, None, None])
    labels = tmp_path / "labels.csv"
    labels.write_text("file,frame,label\nrun.h5,0,hit\nrun.h5,1,miss\n")
    run([tmp_path / "run.h5"], model=toy, out=tmp_path / "out", region="whole", labels=labels)
    (row,) = json.loads((tmp_path / "out/report.json").read_bytes())["evaluation"]["runs"]
    assert (row["events"], row["unlabelled"]) == (2, 1)


def test_an_unreadable_frame_is_told_and_the_status_says_so(
    tmp_path: Path, toy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    values = [0.9, 0.1, float("nan")]
    write_frames(tmp_path / "run.h5", values, [STRONG, MISS, STRONG])
    assert run([tmp_path / "run.h5"], model=toy, out=tmp_path / "out", region="whole") == 1
    assert "frame 2" in capsys.readouterr().err
    assert "frame 2" in (tmp_path / "out/report.md").read_text()


def test_one_class_only_is_a_row_with_gaps(tmp_path: Path, toy: str) -> None:
    write_frames(tmp_path / "run.h5", [0.1, 0.9], [MISS, MISS])
    assert run([tmp_path / "run.h5"], model=toy, out=tmp_path / "out", region="whole") == 0
    (line,) = (
        line
        for line in (tmp_path / "out/report.md").read_text().splitlines()
        if line.startswith("| run ") and "(" in line and "0.5000" in line.split("|")[5]
    )
    assert line.split("|")[4].strip() == "–"


def test_mistakes_are_one_clear_line(tmp_path: Path, toy: str) -> None:
    write_frames(tmp_path / "bare.h5", [0.1, 0.9], [None, AMBIGUOUS])
    write_frames(tmp_path / "run.h5", [0.1, 0.9], [MISS, STRONG])
    write_artifact(tmp_path / "other", task="diffuse")
    bare, out = [tmp_path / "bare.h5"], tmp_path / "out"
    with pytest.raises(DataFileError, match="no frame is labelled hit or miss: give --labels"):
        run(bare, model=toy, out=out)
    with pytest.raises(ConfigError, match="--region round"):
        run(bare, model=toy, out=out, region="round")
    with pytest.raises(ConfigError, match="--threshold 2"):
        run(bare, model=toy, out=out, threshold=2.0)
    with pytest.raises(ConfigError, match="cannot make the folder"):
        run([tmp_path / "run.h5"], model=toy, out=tmp_path / "bare.h5")
    with pytest.raises(ArtifactError, match="'diffuse'"):
        run(bare, model=str(tmp_path / "other"), out=out)
    assert not out.exists()
