"""Recipes from frames to a folder that serves."""

import csv
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hitfinder.errors import ArtifactError, DataFileError
from hitfinder.evaluation.curves import CURVES, Epoch
from hitfinder.inference.model_card import GRAPH, ModelCard, find_artifact, load_card, sha256
from hitfinder.inference.onnx_model import OnnxModel
from hitfinder.training import hit
from hitfinder.training.artifact import Promise, check_promise, hashed, scores_of
from hitfinder.training.hit import features_of, load_weights, train_hit
from hitfinder.training.li2018 import train_li2018
from hitfinder.training.networks.hit import CELL, HitNet
from hitfinder.training.samples import Part, Reduce, Samples
from tests.training.frames import background, poisson
from tests.training.material import HITS, MISSES, simulated

NO_SPOTS = np.empty((0, 2), np.float32)
EASY = Promise(sensitivity=0.6, confidence=0.9)


def trained(folder: Path, processes: int, start: Path | None = None) -> ModelCard:
    told: list[Epoch] = []
    card = train_hit(
        folder,
        simulated(processes),
        seed=3,
        epochs=2,
        start=start,
        promise=EASY,
        created_by="a test",
        done=lambda part, frames: None,
        told=told.append,
    )
    assert [each.epoch for each in told] == [1, 2]
    assert all(math.isfinite(each.loss) for each in told)
    return card


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trained") / "mine"
    trained(path, 1)
    return path


def test_the_folder_serves(folder: Path) -> None:
    model = OnnxModel.load(folder, "cpu")
    frame = poisson(background(2.0), np.random.default_rng(1))
    outputs = model.outputs(frame[None])
    assert set(outputs) == set(model.card.outputs) == {"score", "count", "spots"}
    assert 0 <= outputs["score"][0] <= 1
    assert not folder.with_name("mine.partial").exists()


def test_the_card_is_complete(folder: Path) -> None:
    card = load_card(folder)
    assert card.name == "mine"
    assert card.onnx_sha256 == sha256((folder / GRAPH).read_bytes())
    assert all(value not in ("", None, ()) for value in msgspec.structs.astuple(card))
    assert (card.seed, card.confidence, card.data) == (3, "90%", "little")
    assert card.threshold_from.startswith("sensitivity at least 0.6 with 90% confidence")
    assert re.fullmatch("[0-9a-f]{64}", card.data_sha256 or "")
    assert [row.run for row in card.metrics] == ["run6", "run7"]
    assert all(row.hits and row.misses for row in card.metrics)
    assert all(row.area_under_curve is not None for row in card.metrics)


def test_the_curves_are_written(folder: Path) -> None:
    with (folder / CURVES).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(float(row["loss"]) > 0 for row in rows)
    assert {row["validation_loss"] for row in rows} == {""}  # too few runs to hold one out


def test_the_same_seed_gives_the_same_card(folder: Path, tmp_path: Path) -> None:
    """However many processes make the frames."""
    again = tmp_path / "mine"
    assert trained(again, 2) == load_card(folder)
    assert (again / GRAPH).read_bytes() == (folder / GRAPH).read_bytes()


def test_the_threshold_and_the_measures_come_through_the_onnx_file(folder: Path) -> None:
    card, model = load_card(folder), OnnxModel.load(folder, "cpu")
    images = simulated(1).load("calibration", _pixels, lambda _: None)
    strong = np.concatenate([each.inputs[each.strong] for each in images])
    scores = np.sort(model.score(strong).astype(np.float64))
    assert 0 <= scores[0] - card.threshold < 2e-5 or card.threshold in scores - 1e-5
    np.testing.assert_array_equal(scores_of(folder, strong[:2]), model.score(strong[:2]))


def _pixels(images: NDArray[np.float32]) -> NDArray[np.float32]:
    return images


def test_from_a_model_takes_its_weights(folder: Path) -> None:
    """And nothing else of it."""
    net, other = HitNet(), HitNet()
    said = load_weights(net, folder)
    load_weights(other, folder)
    assert said == f"the model mine (SHA-256 {load_card(folder).onnx_sha256[:12]}…)"
    image = poisson(background(2.0), np.random.default_rng(1))[None]
    with torch.no_grad():
        score, _, _ = net(torch.from_numpy(image))
    np.testing.assert_allclose(score, OnnxModel.load(folder, "cpu").score(image), atol=1e-5)


def test_training_goes_on_from_a_model(folder: Path, tmp_path: Path) -> None:
    card = trained(tmp_path / "next", 2, start=folder)
    assert card.weights_origin.startswith("the model mine (SHA-256 ")
    assert card.onnx_sha256 != load_card(folder).onnx_sha256


def test_a_model_of_another_kind_is_no_start(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="was not made by 'hitfinder train hit'") as caught:
        load_weights(HitNet(), find_artifact("spotcount", tmp_path))
    assert len(str(caught.value).splitlines()) == 1


class Given:
    """Material from memory: the same samples for every part, reduced already to train on."""

    def __init__(self, samples: Sequence[Samples]) -> None:
        self.samples = list(samples)

    def load(self, part: Part, reduce: Reduce, done: Callable[[int], None]) -> list[Samples]:
        """See `Material`."""
        if part == "training":
            return self.samples
        return [replace(each, inputs=reduce(each.inputs)) for each in self.samples]

    def count(self, part: Part) -> int:
        """See `Material`."""
        return sum(map(len, self.samples))

    def described(self) -> str:
        """See `Material`."""
        return "given"


def features(run: str, k: int, side: int = 70) -> Samples:
    rng = np.random.default_rng(k)
    return Samples(
        run=run,
        inputs=rng.random((k, 2, side, side), np.float32),
        labels=(HITS, MISSES) * (k // 2),
        spots=(
            np.array([[2.4 * CELL, CELL * side - 0.1]], np.float32),
            np.empty((0, 2), np.float32),
        )
        * (k // 2),
    )


def given_to_hit(folder: Path, *samples: Samples) -> ModelCard:
    return train_hit(
        folder,
        Given(samples),
        seed=1,
        epochs=1,
        start=None,
        promise=EASY,
        created_by="a test",
        done=lambda part, frames: None,
        told=lambda epoch: None,
    )


def test_targets_are_the_cells_of_spots_and_those_beside() -> None:
    hit_target, miss_target = hit._targets(features("run", 2))
    assert hit_target[69, 2] == 1
    assert (hit_target[68:70, 1:4] == 2).sum() == 5
    assert hit_target.sum() == 1 + 2 * 5
    assert miss_target.sum() == 0


def test_every_tenth_run_is_held_out() -> None:
    learned, held_out = hit._sets([features(f"run{at}", 2, 5) for at in range(23)])
    assert held_out is not None
    assert (len(learned.truths), len(held_out.truths)) == (42, 4)
    assert hit._sets([features("run", 2, 5)] * 9)[1] is None


def test_frames_of_two_sizes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="frames of one and two differ in size"):
        given_to_hit(tmp_path / "out", features("one", 4), features("two", 4, 75))
    assert not list(tmp_path.iterdir())


def test_features_do_not_depend_on_company() -> None:
    """Nor on torch's threads."""
    images = np.random.default_rng(1).poisson(2.0, (3, 90, 120)).astype(np.float32)
    threads = torch.get_num_threads()
    together = features_of(images)
    assert together.shape == (3, 3, 15, 20)
    assert torch.get_num_threads() == threads
    np.testing.assert_array_equal(together[1:2], features_of(images[1:2]))


def test_the_hash_sees_inputs_labels_and_spots() -> None:
    plain = features("run", 2)
    others = (
        replace(plain, labels=(MISSES, MISSES)),
        replace(plain, spots=(plain.spots[1],) * 2),
        replace(plain, inputs=plain.inputs / np.float32(2)),
    )
    assert len({hashed([each]) for each in (plain, *others)}) == 4


def test_too_few_hits_say_how_many_it_takes() -> None:
    check_promise(299, Promise(sensitivity=0.99, confidence=0.95))
    with pytest.raises(DataFileError) as caught:
        check_promise(40, Promise(sensitivity=0.99, confidence=0.95))
    assert str(caught.value) == (
        "40 hits to calibrate on (weak ones do not count) are too few for a sensitivity of 0.99 "
        "with 0.95 confidence: that takes 299. Add frames with hits, of which about a fifth is "
        "calibrated on, or lower --sensitivity, to 0.927 at most"
    )
    check_promise(40, Promise(sensitivity=0.927, confidence=0.95))
    with pytest.raises(DataFileError, match=r"calibrated on$"):
        check_promise(0, Promise(sensitivity=0.5, confidence=0.5))


def test_li2018_trains_and_serves(tmp_path: Path) -> None:
    """On noise, whose brightness tells the class."""
    rng = np.random.default_rng(2)
    samples = Samples(
        run="run",
        inputs=rng.poisson(3, (8, 350, 350)).astype(np.float32),
        labels=(HITS, MISSES) * 4,
        spots=(NO_SPOTS,) * 8,
    )
    cards = [
        train_li2018(
            tmp_path / str(at),
            Given([samples]),
            seed=1,
            epochs=2,
            created_by="a test",
            done=lambda part, frames: None,
            told=lambda epoch: None,
        )
        for at in range(2)
    ]
    assert cards[0].onnx_sha256 == cards[1].onnx_sha256
    assert (cards[0].threshold, cards[0].confidence) == (0.5, None)
    assert OnnxModel.load(tmp_path / "0", "cpu").score(samples.inputs[:2]).shape == (2,)
