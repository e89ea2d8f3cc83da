"""The `hitfinder` command as it is typed."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from rich.table import Table

from hitfinder import __version__
from hitfinder.commands.reference import commands
from hitfinder.commands.tables import print_table
from hitfinder.ledger.store import Ledger
from hitfinder.verdict import Diffuse, DiffuseFinding, Outcome, Verdict
from tests.commands.calls import complaint, hitfinder
from tests.inference.artifacts import no_number, write_artifact

COMMANDS = (
    *("serve", "replay", "demo", "watch", "monitor", "classify"),
    *("peaks", "label", "simulate", "train", "evaluate", "hot-pixels show"),
    *("models list", "models show", "models verify"),
    *("ledger show", "ledger export", "config check", "config schema"),
)


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """Four frames: hit, miss, hit, miss; with their truth."""
    rng = np.random.default_rng(5)
    frames = rng.poisson(2.0, (4, 300, 300)).astype(np.uint16)
    for at in range(40):
        row, col = 20 + 30 * (at // 8), 20 + 30 * (at % 8)
        frames[::2, row : row + 2, col : col + 2] += np.array([[300, 90], [90, 30]], np.uint16)
    path = tmp_path / "run.h5"
    with h5py.File(path, "w") as file:
        file["entry/data/data"] = frames
        file["entry/truth/hit"] = np.array([1, 0, 1, 0], np.int8)
    return path


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.sqlite"
    made = Ledger(path, model="spotcount", wall_ns=lambda now_ns: now_ns)
    made.open(0)
    made.frame(Verdict(series="7", number=3, outcome=Outcome.KEPT, score=0.9))
    made.event("output stalled", "nobody takes kept frames", 0)
    made.close(1)
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(command: str) -> None:
    result = hitfinder(*command.split(), "--help")
    assert result.exit_code == 0
    assert f"Example: hitfinder {command}" in " ".join(result.output.split())


def test_no_help_is_swallowed_as_markup() -> None:
    """Rich takes words in brackets for a style, and leaves them out."""
    for name, command in commands().items():
        texts = [getattr(one, "help", None) or "" for one in command.params]
        assert not [text for text in texts if "[" in text], name


def test_version() -> None:
    assert hitfinder("--version").output == f"{__version__}\n"


def test_classify_writes_a_verdict_a_frame(stack: Path, tmp_path: Path) -> None:
    target = tmp_path / "verdicts.csv"
    result = hitfinder("classify", stack, "--region", "whole", "--csv", target)
    assert result.exit_code == 0, result.output
    with target.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["outcome"] for row in rows] == ["kept", "vetoed"] * 2
    assert [row["truth"] for row in rows] == ["hit", "miss"] * 2
    assert [row["frame"] for row in rows] == ["0", "1", "2", "3"]
    assert "4 frames, 2 kept, 2 vetoed" in result.output


def test_names_are_printed_as_they_are_whatever_stands_in_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [tmp_path / name / "x.h5" for name in ("run[a]", "w[")]
    for path in names:
        path.parent.mkdir()
        with h5py.File(path, "w") as file:
            file["data"] = np.ones((1, 40, 40), np.uint16)
    written = tmp_path / "verdicts.csv"
    told = hitfinder("classify", *names, "--region", "whole", "--csv", written)
    rows = csv.DictReader(written.read_text().splitlines())
    assert [row["file"] for row in rows] == list(map(str, names))
    table = Table("file")
    for name in (*map(str, names), "x[/y]"):
        table.add_row(name)
    print_table(table)
    shown = capsys.readouterr().out + told.output
    for name in (*map(str, names), "x[/y]"):
        assert name in shown


def test_classify_takes_region_and_model_from_a_configuration(stack: Path, tmp_path: Path) -> None:
    config = tmp_path / "hitfinder.toml"
    config.write_text("""
[input]
endpoint = "tcp://127.0.0.1:1"
protocol = "dectris-v2"
[region]
kind = "box"
top = 0
left = 0
rows = 10
cols = 10
[model]
device = "cpu"
""")
    result = hitfinder("classify", stack, "--config", config)
    assert "4 frames, 0 kept, 4 vetoed" in result.output


def test_classify_keeps_the_rings_of_ice_where_the_configuration_does(
    stack: Path, tmp_path: Path
) -> None:
    with h5py.File(stack, "r+") as file:  # rings over every pixel of the middle
        detector = file.create_group("entry/instrument/detector")
        detector["beam_center_x"] = detector["beam_center_y"] = -4850.0
        detector["x_pixel_size"], detector["detector_distance"] = 75e-6, 0.9
        file["entry/instrument/beam/incident_wavelength"] = 1.0
    config = tmp_path / "hitfinder.toml"
    text = """
[input]
endpoint = "tcp://127.0.0.1:1"
protocol = "dectris-v2"
[model]
artifact = "spotcount"
"""
    counted = []
    for ice_rings in ("keep", "mask"):
        config.write_text(f'{text}[region]\nice_rings = "{ice_rings}"\n')
        result = hitfinder("classify", stack, "--config", config, "--region", "whole")
        counted.append("4 frames, 2 kept, 2 vetoed" in result.output)
    assert counted == [True, False]


def test_classify_runs_the_second_step(stack: Path, tmp_path: Path) -> None:
    write_artifact(tmp_path / "second", task="diffuse", name="second")
    target = tmp_path / "verdicts.csv"
    arguments = ("classify", stack, "--region", "whole", "--csv", target)
    result = hitfinder(*arguments, "--diffuse", tmp_path / "second")
    assert result.exit_code == 0, result.output
    with target.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["outcome"] for row in rows] == ["kept", "vetoed"] * 2
    # The artifact's score is the first pixel, a count: 0, or a number above any threshold.
    with h5py.File(stack) as file:
        first = file["entry/data/data"][:, 0, 0]
    assert [row["diffuse_score"] for row in rows[::2]] == [f"{pixel:.4f}" for pixel in first[::2]]
    assert {row["diffuse"] for row in rows[::2]} <= {"yes", "no"}
    assert [row["diffuse"] for row in rows[1::2]] == ["", ""]
    assert "2 hits, " in result.output
    assert "model second" in result.output


def test_classify_says_when_the_second_step_fails(stack: Path, tmp_path: Path) -> None:
    write_artifact(tmp_path / "second", no_number().SerializeToString(), task="diffuse")
    arguments = ("classify", stack, "--region", "whole", "--diffuse", tmp_path / "second")
    result = hitfinder(*arguments)
    assert result.exit_code == 1
    assert "4 frames, 2 kept, 2 vetoed" in result.output
    assert "2 hits, 0 with diffuse scattering, 0 without, 2 without a score" in result.output


def test_models_are_listed_shown_and_verified() -> None:
    assert "spotcount" in hitfinder("models", "list").output
    assert "hit" in hitfinder("models", "list").output.split()
    card = json.loads(hitfinder("models", "show", "spotcount").output)
    assert card["task"] == "hit"
    result = hitfinder("models", "verify", "spotcount")
    assert result.exit_code == 0
    assert "matches its card" in result.output


def test_a_ledger_is_shown_and_exported(ledger: Path, tmp_path: Path) -> None:
    shown = hitfinder("ledger", "show", ledger)
    assert shown.exit_code == 0
    assert "totals balance" in shown.output
    assert "output stalled" in shown.output
    target = tmp_path / "frames.csv"
    assert hitfinder("ledger", "export", ledger, target).exit_code == 0
    assert len(target.read_text().splitlines()) == 2


def test_no_table_is_cut_where_nobody_looks_on(
    ledger: Path, stack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    shown = " ".join(hitfinder("ledger", "show", ledger).output.split())
    assert "series announced received kept vetoed unjudged lost ended 7 – 1 1 0 0 0" in shown
    result = hitfinder("classify", stack)
    assert f"file frame outcome score truth {stack} 0 " in " ".join(result.output.split())
    assert not result.stderr


def test_a_ledger_tells_what_the_second_step_said(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    made = Ledger(path, model="hit", diffuse_model="second", wall_ns=lambda now_ns: now_ns)
    made.open(0)
    found = DiffuseFinding(diffuse=Diffuse.YES, score=0.875)
    made.frame(Verdict(series="7", number=3, outcome=Outcome.KEPT, score=0.9, diffuse=found))
    made.close(1)
    shown = hitfinder("ledger", "show", path)
    assert "diffuse scattering in hits: yes 1" in shown.output
    assert "second" in shown.output
    target = tmp_path / "frames.csv"
    assert hitfinder("ledger", "export", path, target).exit_code == 0
    assert target.read_text().splitlines()[1].endswith(",yes,,0.875")


def test_what_is_simulated_is_labelled_and_measured(tmp_path: Path) -> None:
    """The way of a user's own data, but for the training."""
    runs, labels, report = tmp_path / "runs", tmp_path / "labels.csv", tmp_path / "report"
    result = hitfinder("simulate", runs, "--what", "96", "--frames", "6", "--seed", "1")
    assert result.exit_code == 0, result.output
    (made,) = runs.iterdir()
    result = hitfinder("peaks", made, "--csv", tmp_path / "peaks.csv")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "peaks.csv").read_text().startswith("file,frame,x_px,y_px,")
    result = hitfinder("label", made, "--out", labels, "--hit-above", "5")
    assert result.exit_code == 0, result.output
    assert len(labels.read_text().splitlines()) == 7
    result = hitfinder(
        *("evaluate", made, "--model", "spotcount", "--out", report, "--labels", labels)
    )
    assert result.exit_code == 0, result.output
    assert (report / "report.md").is_file()


def without_extra(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """hitfinder where none of the extras `train` and `monitor` is installed."""
    program = (
        "import sys; from hitfinder.cli import MONITOR_EXTRA, TRAIN_EXTRA, main; "
        "sys.modules.update(dict.fromkeys(TRAIN_EXTRA | MONITOR_EXTRA)); main()"
    )
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_training_and_measuring_say_what_they_need(stack: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for arguments in (
        ("peaks", stack),
        ("label", stack, "--out", out),
        ("evaluate", stack, "--model", "spotcount", "--out", out),
        ("train", "hit", "--out", out),
    ):
        ended = without_extra(*arguments)
        assert ended.returncode == 1
        (line,) = ended.stderr.splitlines()
        assert line.startswith(f"hitfinder: {arguments[0]} needs ")
        assert line.endswith(": in the checkout, pip install '.[train]'")


def test_the_live_page_says_what_it_needs(tmp_path: Path) -> None:
    config = tmp_path / "hitfinder.toml"
    config.write_text('[input]\nendpoint = "tcp://d:1"\nprotocol = "dectris-v2"\n')
    ended = without_extra("monitor", config)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].endswith(": in the checkout, pip install '.[monitor]'")
    assert without_extra("config", "check", config).returncode == 0


def test_judging_needs_nothing_of_the_trainer(stack: Path) -> None:
    assert "4 frames" in without_extra("classify", stack, "--region", "whole").stdout


BAD = [
    (["serve", "{tmp}/gone.toml"], "cannot read"),
    (["config", "check", "{tmp}/bad.toml"], "is not TOML"),
    (["classify", "{tmp}/gone.h5"], "no such file"),
    (["classify", "{tmp}/run.h5", "--region", "round"], "--region round"),
    (["classify", "{tmp}/run.h5", "--model", "gone"], "no model 'gone'"),
    (["replay", "{tmp}/run.h5"], "needs --bind ADDRESS or --connect ADDRESS"),
    (["replay", "{tmp}/run.h5", "--bind", "tcp://*:1", "--protocol", "x"], "--protocol x"),
    (["replay", "{tmp}/run.h5", "--bind", "nonsense"], "endpoint"),
    (["ledger", "show", "{tmp}/gone.sqlite"], "no ledger at"),
    (["ledger", "show", "{tmp}/bad.toml"], "cannot be read"),
    (["ledger", "export", "{tmp}/gone.sqlite", "x.xls"], ".csv or .parquet"),
    (["models", "verify", "gone"], "no model 'gone'"),
    (["watch", "nonsense"], "endpoint"),
    (["classify", "{tmp}/run.h5", "--csv", "{tmp}/no/x.csv"], "cannot write"),
    (["ledger", "export", "{tmp}/gone.sqlite", "{tmp}/no/x.csv"], "cannot write"),
    (["demo", "--json", "{tmp}"], "cannot write"),
    (["peaks", "{tmp}/gone.h5"], "no such file"),
    (["peaks", "{tmp}/run.h5", "--region", "round"], "--region round"),
    (["peaks", "{tmp}/run.h5", "--min-snr", "-1"], "min_snr"),
    (["label", "{tmp}/run.h5", "--out", "{tmp}/no/x.csv"], "cannot write"),
    (["label", "{tmp}/run.h5", "--out", "{tmp}/x.csv", "--miss-below", "20"], "--miss-below 20"),
    (["label", "{tmp}/run.h5", "--out", "{tmp}/good.toml"], "perhaps with labels corrected"),
    (["simulate", "{tmp}/runs", "--what", "moon"], "simulate moon: known are random"),
    (["simulate", "{tmp}/runs", "--frames", "0"], "--frames 0"),
    (["simulate", "{tmp}/run.h5"], "it is a file"),
    (["train", "fibre", "--out", "{tmp}/x"], "train fibre: known are hit, diffuse"),
    (["train", "hit", "--out", "{tmp}"], "is there already"),
    (["train", "hit", "--out", "{tmp}/x", "--data", "{tmp}/gone.h5"], "no such file"),
    (["train", "hit", "--out", "{tmp}/x", "--data", "{tmp}/run.h5"], "are too few for 3 parts"),
    (["train", "hit", "--out", "{tmp}/x", "--sensitivity", "99"], "--sensitivity 99"),
    (["train", "diffuse", "--out", "{tmp}/x", "--sensitivity", "0.9"], "not for train diffuse"),
    (["train", "hit", "--out", "{tmp}/x", "--specificity", "0.9"], "not for train hit"),
    (["evaluate", "{tmp}/run.h5", "--model", "gone", "--out", "{tmp}/x"], "no model 'gone'"),
    (["hot-pixels", "show", "{tmp}/gone.npz"], "gone.npz"),
    (["serve", "{tmp}/good.toml", "--summary-json", "{tmp}/no/x"], "cannot write"),
    # A word that was forgotten makes a file of the user's the target.
    (["serve", "{tmp}/good.toml", "--summary-json", "{tmp}/good.toml"], "no .json file"),
    (["classify", "{tmp}/run.h5", "--csv", "{tmp}/run.h5"], "there already and no .csv file"),
    (["peaks", "{tmp}/run.h5", "--csv", "{tmp}/run.h5"], "there already and no .csv file"),
    (["replay", "{tmp}/run.h5", "--summary-json", "{tmp}/run.h5"], "no .json file"),
    (["hot-pixels", "show", "{tmp}/gone.npz", "--png", "{tmp}/run.h5"], "no .png file"),
    (["ledger", "export", "{tmp}/gone.sqlite", "{tmp}/labels.csv"], "it holds labels"),
    (["classify", "{tmp}/run.h5", "--csv", "{tmp}/labels.csv"], "it holds labels"),
    (["classify", "{tmp}/run.h5", "--csv", "{tmp}/excel.csv"], "it holds labels"),
    (
        ["evaluate", "{tmp}/run.h5", "{tmp}/run.h5", "--model", "hit", "--out", "{tmp}/x"],
        "are given twice",
    ),
]


@pytest.mark.parametrize(("arguments", "says"), BAD, ids=lambda value: str(value)[:40])
def test_a_mistake_is_one_clear_line(
    arguments: list[str],
    says: str,
    stack: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "bad.toml").write_text("[input\n")
    (tmp_path / "labels.csv").write_text('"file","frame","Label"\n')
    (tmp_path / "excel.csv").write_text("label;file;frame\r\n", encoding="utf-8-sig")
    (tmp_path / "good.toml").write_text(
        '[input]\nendpoint = "tcp://d:1"\nprotocol = "dectris-v2"\n'
    )
    words = [argument.format(tmp=tmp_path) for argument in arguments]
    assert says in complaint(words, monkeypatch, capsys)
