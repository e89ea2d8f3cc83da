"""`hitfinder train` with a user's files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hitfinder.commands.train import Options, run
from hitfinder.dataset.frames import Label
from hitfinder.dataset.labels import LabelRow, write_labels
from hitfinder.errors import HitfinderError
from hitfinder.inference.model_card import load_card
from hitfinder.inference.onnx_model import OnnxModel
from hitfinder.simulation.simulator import Simulator
from tests.training.material import HITS, MISSES, half_hits, write_runs

FRAMES = 30
PLAIN = Options(
    network="hit",
    data=(),
    labels=None,
    start=None,
    region="whole",
    runs=None,
    shots=None,
    seed=1,
    epochs=1,
    sensitivity=0.6,
    confidence=0.9,
    processes=1,
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three runs with labels in them."""
    return write_runs(tmp_path_factory.mktemp("labelled"), FRAMES)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same without."""
    return write_runs(tmp_path_factory.mktemp("bare"), FRAMES, lambda label: None)


@pytest.fixture(scope="module")
def first(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "first"
    assert run(out, replace(PLAIN, data=files, epochs=2)) == 0
    return out


def test_labelled_files_make_a_model(first: Path, files: list[Path]) -> None:
    card = load_card(first)
    assert {row.run for row in card.metrics} <= {path.stem for path in files}
    assert card.weights_origin == "random, from the seed"
    assert "split by whole runs" in card.data
    assert OnnxModel.load(first, "cpu").score(np.zeros((1, 50, 60), np.float32)).shape == (1,)


def test_the_same_files_make_the_same_model(first: Path, files: list[Path], tmp_path: Path) -> None:
    assert run(tmp_path / "again", replace(PLAIN, data=files, epochs=2)) == 0
    again = load_card(tmp_path / "again")
    assert (again.onnx_sha256, again.metrics) == (
        load_card(first).onnx_sha256,
        load_card(first).metrics,
    )


def test_a_table_of_labels_and_weights_to_begin_with(
    first: Path, bare: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same labels beside the data give the same frames to learn from."""
    rows = [
        LabelRow(file=path.name, frame=number, label=simulator.shot(number).label)
        for seed, path in enumerate(bare)
        for simulator in (Simulator(half_hits(seed)),)
        for number in range(FRAMES)
    ]
    write_labels(tmp_path / "labels.csv", rows)
    options = replace(PLAIN, data=bare, labels=tmp_path / "labels.csv", start=str(first))
    assert run(tmp_path / "next", options) == 0
    card = load_card(tmp_path / "next")
    assert card.data_sha256 == load_card(first).data_sha256
    assert card.weights_origin.startswith("the model first (SHA-256 ")
    printed = capsys.readouterr().out
    assert "threshold" in printed
    assert all(row.run in printed for row in card.metrics)


def only(label: Label) -> Callable[[Label], Label]:
    return lambda _: label


def truncated(folder: Path, files: list[Path]) -> list[Path]:
    data = files[0].read_bytes()
    (folder / "short.h5").write_bytes(data[: len(data) // 2])
    return [folder / "short.h5", *files[1:]]


def table(folder: Path, text: str) -> Path:
    (folder / "labels.csv").write_text("file,frame,label\n" + text)
    return folder / "labels.csv"


Mistake = Callable[[Path, list[Path]], Options]
"""What was asked for, from a folder and labelled files."""

MISTAKES: dict[str, tuple[Mistake, str]] = {
    "no hits": (
        lambda at, _: replace(PLAIN, data=write_runs(at / "data", 8, only(MISSES))),
        "none is a hit",
    ),
    "no misses": (
        lambda at, _: replace(PLAIN, data=write_runs(at / "data", 8, only(HITS))),
        "none is a miss",
    ),
    "no labels": (
        lambda at, _: replace(PLAIN, data=write_runs(at / "data", 8, lambda _: None)),
        "no frame is labelled hit or miss; give a file of labels",
    ),
    "labels of other data": (
        lambda at, files: replace(PLAIN, data=files, labels=table(at, "run9.h5,0,hit\n")),
        "labels.csv line 2: run9.h5 is not among the data",
    ),
    "more labels than frames": (
        lambda at, files: replace(PLAIN, data=files, labels=table(at, "run1.h5,99,hit\n")),
        "labels.csv line 2: frame 99 of run1.h5, whose 30 frames count from 0 to 29",
    ),
    "labels without data": (
        lambda at, _: replace(PLAIN, labels=table(at, "run1.h5,0,hit\n")),
        "--labels without --data",
    ),
    "a file cut short": (
        lambda at, files: replace(PLAIN, data=truncated(at, files)),
        "short.h5: HDF5 cannot read it",
    ),
    "no such file": (
        lambda at, files: replace(PLAIN, data=[at / "gone.h5"]),
        "gone.h5: no such file",
    ),
    "too few hits": (
        lambda at, files: replace(PLAIN, data=files, sensitivity=0.99, confidence=0.95),
        "that takes 299. Add frames with hits, of which about a fifth is calibrated on, or lower "
        "--sensitivity, to 0.",
    ),
    "a shape that li2018 does not take": (
        lambda at, files: replace(PLAIN, data=files, network="li2018"),
        "frames of 160 x 160 pixels, and this network takes 350 x 350; use --region center",
    ),
    "a start for li2018": (
        lambda at, files: replace(PLAIN, data=files, network="li2018", start="hit"),
        "--from hit: only the network hit",
    ),
    "a start of another kind": (
        lambda at, files: replace(PLAIN, data=files, start="spotcount"),
        "was not made by 'hitfinder train hit'",
    ),
    "no such start": (
        lambda at, files: replace(PLAIN, data=files, start="gone"),
        "no model 'gone'",
    ),
    "simulation and files": (
        lambda at, files: replace(PLAIN, data=files, runs=3),
        "--runs and --shots are of simulations",
    ),
    "runs for li2018": (
        lambda at, _: replace(PLAIN, network="li2018", runs=3),
        "li2018 trains on the runs 90, 91, 92",
    ),
    "too few runs": (
        lambda at, _: replace(PLAIN, runs=11, shots=9, sensitivity=0.95),
        "--runs 11: the threshold would rest on 27 frames, and --sensitivity 0.95 with 0.9 ",
    ),
    "another network": (
        lambda at, _: replace(PLAIN, network="vgg"),
        "--network vgg: known are hit, li2018",
    ),
    "another region": (lambda at, _: replace(PLAIN, region="box"), "--region box: known are"),
    "no epochs": (lambda at, _: replace(PLAIN, epochs=0), "--epochs 0: must be 1 or more"),
    "a seed below 0": (lambda at, _: replace(PLAIN, seed=-1), "--seed -1: must be 0 or more"),
    "all hits": (
        lambda at, _: replace(PLAIN, sensitivity=1.0),
        "--sensitivity 1: must lie between 0 and 1",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_line_and_leaves_no_folder(
    mistake: str, files: list[Path], tmp_path: Path
) -> None:
    options, says = MISTAKES[mistake][0](tmp_path, files), MISTAKES[mistake][1]
    out = tmp_path / "deep" / "out"
    with pytest.raises(HitfinderError) as caught:
        run(out, options)
    (line,) = str(caught.value).splitlines()
    assert says in line
    assert not (tmp_path / "deep").exists()


def test_what_is_there_stays(first: Path, files: list[Path], tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in first.iterdir()}
    for out, says in (
        (first, "is there already"),
        (files[0], "is there already"),
        (files[0] / "out", "cannot write in"),
    ):
        with pytest.raises(HitfinderError, match=says):
            run(out, replace(PLAIN, data=files))
    assert {path: path.read_bytes() for path in first.iterdir()} == before
