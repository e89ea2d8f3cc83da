"""Files to scores, beside what `classify` says of the same files."""

import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from hitfinder.assemble import build_judging
from hitfinder.classify import classify
from hitfinder.config import ServeConfig
from hitfinder.dataset.series import open_series
from hitfinder.errors import ConfigError
from hitfinder.evaluation.scores import BATCH_SIZES, run_names, score_series
from hitfinder.images.region import RegionSettings
from hitfinder.inference.model_card import find_artifact
from hitfinder.inference.onnx_model import OnnxModel
from hitfinder.settings import checked
from tests.evaluation.runs import MISS, STRONG, write_frames, write_spotted
from tests.inference.artifacts import write_artifact

WHOLE = RegionSettings(kind="whole")


@pytest.fixture
def toy(tmp_path: Path) -> OnnxModel:
    """Its score is the first pixel."""
    write_artifact(tmp_path / "toy")
    return OnnxModel.load(tmp_path / "toy", device="cpu")


@pytest.mark.parametrize("kind", ["center", "whole"])
def test_scores_are_those_of_the_live_judge(tmp_path: Path, kind: str) -> None:
    write_spotted(tmp_path / "run.h5", 7, seed=1)
    (series,) = open_series([tmp_path / "run.h5"])
    model = OnnxModel.load(find_artifact("spotcount", tmp_path), device="cpu")
    region = {"kind": kind, "rows": 150, "cols": 240}
    found = score_series(series, model, checked(RegionSettings, region, "region"))
    table = {
        "input": {"endpoint": "ipc://none", "protocol": "dectris-v2"},
        "region": region,
        "model": {"device": "cpu", "artifact": "spotcount"},
        "pressure": {"deadline_ms": 600_000.0},
    }
    judging = build_judging(checked(ServeConfig, table, "test"), tmp_path, time.monotonic_ns)
    verdicts = [each.verdict for each in classify(series, judging, time.monotonic_ns)]
    assert found.scores.tolist() == [verdict and verdict.score for verdict in verdicts]
    assert found.scores.max() > 0.9
    assert found.labels == tuple(frame.label for frame in series.frames)
    assert len(found.hits) == 3
    assert not found.problems


def test_order_is_kept_over_batches_and_every_frame_is_told(tmp_path: Path, toy: OnnxModel) -> None:
    values = np.linspace(0, 1, 3 * BATCH_SIZES["cpu"] + 1, dtype=np.float32)
    write_frames(tmp_path / "run.h5", values.tolist(), [MISS] * len(values))
    (series,) = open_series([tmp_path / "run.h5"])
    told: list[int] = []
    found = score_series(series, toy, WHOLE, run="mine", scored=told.append)
    assert found.run == "mine"
    assert found.scores.tolist() == values.tolist()
    assert sum(told) == len(values)


def test_a_frame_that_cannot_be_read_is_told_and_the_rest_scored(
    tmp_path: Path, toy: OnnxModel
) -> None:
    path = tmp_path / "run.h5"
    write_frames(path, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [STRONG] * 6)
    with h5py.File(path, "r+") as file:
        data = file["/entry/data/data"]
        data[1] = np.full((6, 6), np.nan, np.float32)
        data.id.write_direct_chunk((3, 0, 0), b"damaged", 0)
        nowhere = np.ones((6, 6), np.float32)
        nowhere[0, 0] = np.nan  # the toy's score
        data[4] = nowhere
    (series,) = open_series([path])
    found = score_series(series, toy, WHOLE)
    assert np.isnan(found.scores).tolist() == [False, True, False, True, True, False]
    assert found.hits.tolist() == pytest.approx([0.1, 0.3, 0.6])
    assert len(found.problems) == 3
    for number, line in zip((1, 3, 4), found.problems, strict=True):
        assert f"frame {number}" in line
    assert "no pixel of the region was measured" in found.problems[0]


def test_a_region_that_misses_the_frame(tmp_path: Path, toy: OnnxModel) -> None:
    write_frames(tmp_path / "run.h5", [0.1], [MISS])
    (series,) = open_series([tmp_path / "run.h5"])
    with pytest.raises(ConfigError, match="no pixel"):
        score_series(series, toy, RegionSettings(kind="box", top=100, left=0, rows=5, cols=5))


def test_runs_have_names_of_their_own(tmp_path: Path) -> None:
    places = [tmp_path / "a/run.h5", tmp_path / "b/run.h5", tmp_path / "b/other.h5"]
    for place in places:
        place.parent.mkdir(exist_ok=True)
        write_frames(place, [0.1, 0.2], [MISS, MISS])
    assert run_names(open_series(places)) == ("a/run", "b/run", "other")
    assert run_names(open_series([places[0], places[0]])) == ("a/run (1)", "a/run (2)")
