"""The recipes of the diffuse models: that graph and training say the same, and that they learn."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnxruntime as ort
import pytest
import torch
from onnx import ModelProto

from hitfinder.commands import evaluate_diffuse
from hitfinder.commands.train_diffuse import Options, _files, run
from hitfinder.errors import ArtifactError, HitfinderError
from hitfinder.evaluation.curves import Epoch
from hitfinder.inference.model_card import Precision, load_card
from hitfinder.inference.onnx_model import OnnxModel
from hitfinder.training import teaching, vgg16
from hitfinder.training.artifact import Restrained
from hitfinder.training.fixed import lessons_of, opened, pictures_of, textures_of
from hitfinder.training.networks.diffuse import DiffuseNet, diffuse_graph
from hitfinder.training.networks.vgg16 import drawn, from_state, load_vgg16, random_vgg16
from tests.training.rough import rough, write_rough

PLAIN = Options(
    method="compact",
    data=(),
    labels=None,
    weights=None,
    precision="fp32",
    runs=None,
    shots=None,
    seed=1,
    epochs=12,
    specificity=0.6,
    confidence=0.9,
    processes=1,
)
NARROW = 32
PROMISE = Restrained(specificity=0.6, confidence=0.9, misses="others")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Five runs, every other frame diffuse."""
    folder = tmp_path_factory.mktemp("rough")
    return [write_rough(folder / f"run{seed}.h5", 20, seed) for seed in range(5)]


@pytest.fixture(scope="module")
def compact(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "compact"
    assert run(out, replace(PLAIN, data=files)) == 0
    return out


def scores(graph: ModelProto, images: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(["score"], {"image": images})[0]
    return found


def test_the_compact_graph_is_the_network() -> None:
    torch.manual_seed(3)
    net = DiffuseNet().eval()
    net.middle.normal_()
    net.spread.uniform_(0.5, 2)
    images = np.stack([rough(seed, strength=0.1 * seed) for seed in range(3)])
    images[1, :50] = np.nan
    with torch.no_grad():
        wanted = torch.sigmoid(net(torch.from_numpy(textures_of(images)))).numpy()
    assert np.ptp(wanted) > 1e-4
    np.testing.assert_allclose(scores(diffuse_graph(net, ""), images), wanted, atol=1e-6)


def test_labelled_files_make_a_model_that_tells_diffuse_frames(
    compact: Path, files: list[Path]
) -> None:
    card = load_card(compact)
    assert (card.task, card.seed) == ("diffuse", 1)
    assert card.threshold_from.startswith("specificity at least 0.6 with 90% confidence")
    assert {row.run for row in card.metrics} <= {path.stem for path in files}
    assert all(row.area_under_curve is not None for row in card.metrics)
    model = OnnxModel.load(compact, "cpu")
    diffuse, other = (model.score(rough(999, strength=s)[np.newaxis])[0] for s in (0.3, 0.0))
    assert diffuse > other
    assert (compact / "model.onnx").stat().st_size < 2**21


def test_evaluate_sets_every_method_in_a_row(
    compact: Path, files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report"
    arguments = {"labels": None, "threshold": None}
    learn = files[:2]
    assert (
        evaluate_diffuse.run(files[2:4], models=[str(compact)], out=out, learn=learn, **arguments)
        == 0
    )
    table = capsys.readouterr().out
    for name in ("compact", "anisotropy", "diffusion map, common line"):
        assert f"| {name} |" in table
    markdown = (out / "report.md").read_text()
    for name in ("worst.png", "seen.png", "embedding.png"):
        assert (out / name).stat().st_size > 5000
        assert f"]({name})" in markdown
    assert "| run2, compact |" in markdown
    assert (out / "report.json").read_text().count('"method"') == 15


def test_one_table_labels_what_is_judged_and_what_is_learned_from(
    compact: Path, files: list[Path], tmp_path: Path
) -> None:
    rows = [f"{path.name},0,hit,no" for path in files[:2]]  # diffuse by the files' own labels
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(["file,frame,label,diffuse", *rows]))
    series, known = evaluate_diffuse._labelled(files[:1], files[1:2], labels)
    for one in (*series, *known):
        assert [frame.truth for frame in one.frames[:3]] == ["miss", "miss", "hit"]


def test_what_was_learned_from_is_not_judged(
    compact: Path, files: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(HitfinderError, match=r"run1\.h5: is judged as well"):
        evaluate_diffuse.run(
            files[1:3],
            models=[str(compact)],
            out=tmp_path,
            labels=None,
            learn=files[:2],
            threshold=None,
        )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"method": "vgg19"}, "--method vgg19: known are compact, vgg16"),
        ({"precision": "int4"}, "--precision int4: known are"),
        ({"specificity": 1.0}, "--specificity 1: must lie between 0 and 1"),
        ({"precision": "int8"}, "are of --method vgg16"),
        ({"method": "vgg16", "epochs": None, "weights": "none.pth"}, "none.pth: no such file"),
        ({"method": "vgg16", "weights": "random"}, "nothing is taught with --weights random"),
        ({"labels": Path("labels.csv")}, "--labels without --data"),
        ({"runs": 0}, "--runs 0: must be 1 or more"),
        ({"runs": 4, "specificity": 0.98}, "--runs 4: the threshold would rest on 16 frames"),
    ],
)
def test_wrong_options_are_told(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(HitfinderError, match=says) as caught:
        run(tmp_path / "out", replace(PLAIN, **changes))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_too_few_frames_to_promise_on_are_told_before_training(
    files: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(HitfinderError, match=r"too few for a specificity of 0\.98"):
        run(tmp_path / "out", replace(PLAIN, data=files, specificity=0.98))


def test_a_class_that_cannot_be_read_leaves_the_numbers_of_the_other(
    compact: Path, tmp_path: Path
) -> None:
    path = write_rough(tmp_path / "run.h5", 4, 1)
    with h5py.File(path, "a") as file:
        file["entry/data/data"][::2] = 65535  # of no diffuse frame anything was measured
    out = tmp_path / "out"
    found = evaluate_diffuse.run(
        [path], models=[str(compact)], out=out, labels=None, learn=(), threshold=None
    )
    assert found == 1
    assert (out / "report.md").read_text().count("no pixel of the region was measured") == 2
    assert (out / "seen.png").stat().st_size > 5000


def test_files_that_do_not_say_diffuse_are_told(tmp_path: Path, compact: Path) -> None:
    with pytest.raises(HitfinderError, match="column 'diffuse'"):
        evaluate_diffuse.run(
            [_unlabelled(tmp_path)],
            models=[str(compact)],
            out=tmp_path / "out",
            labels=None,
            learn=(),
            threshold=None,
        )


def _unlabelled(folder: Path) -> Path:
    np.save(folder / "frame.npy", rough(1).astype(np.uint16))
    return folder / "frame.npy"


def test_another_file_of_weights_is_told(tmp_path: Path) -> None:
    path = tmp_path / "vgg16-397923af.pth"
    path.write_bytes(b"not it")
    said = hashlib.sha256(b"not it").hexdigest()[:8]
    with pytest.raises(ArtifactError, match=rf"not torchvision's .*\(SHA-256 {said}"):
        load_vgg16(path)


def test_weights_bear_torchvisions_names() -> None:
    state = random_vgg16(1, NARROW).state_dict()
    convolutions = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    names = [f"features.{place}" for place in convolutions] + ["classifier.0", "classifier.3"]
    assert list(state) == [f"{name}.{part}" for name in names for part in ("weight", "bias")]
    with pytest.raises(ArtifactError, match=r"features.0.weight of shape \(64, 3, 3, 3\)"):
        from_state(state)


@pytest.fixture(scope="module")
def narrow() -> tuple[object, vgg16.Head, np.ndarray, np.ndarray, np.ndarray]:
    """A narrow VGG16 fitted to 24 frames; images, their pictures, scikit-learn's scores."""
    images = np.stack([rough(seed, strength=0.3 * (seed % 2)) for seed in range(24)])
    pictures = pictures_of(images)
    net = random_vgg16(1, NARROW)
    numbers = vgg16.numbers_of(net, pictures)
    pipeline = vgg16.fit(numbers, np.arange(24, dtype=np.int8) % 2, 1)
    return net, vgg16.folded(pipeline), images, pictures, pipeline.predict_proba(numbers)[:, 1]


@pytest.mark.parametrize(("precision", "near"), [("fp32", 1e-4), ("fp16", 0.02), ("int8", 0.15)])
def test_the_graph_is_scikit_learns_pipeline(
    narrow: tuple[object, vgg16.Head, np.ndarray, np.ndarray, np.ndarray],
    precision: Precision,
    near: float,
) -> None:
    net, head, images, pictures, wanted = narrow
    graph = vgg16.vgg16_graph(net, head, precision, pictures)  # type: ignore[arg-type]
    assert np.ptp(wanted) > 0.5
    np.testing.assert_allclose(scores(graph, images), wanted, atol=near)


def test_lessons_hold_both() -> None:
    images = np.stack([rough(seed) for seed in range(2)])
    pictures, textures = opened(lessons_of(images))
    np.testing.assert_array_equal(pictures, pictures_of(images))
    np.testing.assert_array_equal(textures, textures_of(images))


def test_vgg16_is_taught_and_fitted(files: list[Path], tmp_path: Path) -> None:
    losses: list[Epoch] = []
    heard: list[int] = []
    known = _files(replace(PLAIN, data=files), PROMISE)
    card = vgg16.train_vgg16(
        tmp_path / "out",
        known,
        seed=1,
        source=vgg16.Lessons(
            material=known, epochs=5, narrow=NARROW, done=heard.append, told=losses.append
        ),
        precision="fp32",
        created_by="",
        done=lambda part, frames: None,
        fitted=lambda frames: None,
    )
    assert card.weights_origin.startswith("VGG16: 32 times narrower than described, taught by")
    assert sum(heard) == known.count("training")
    assert len(losses) == 5
    assert losses[-1].loss < losses[0].loss
    assert (tmp_path / "out" / "curves.csv").read_text().count("\n") == 6
    found = OnnxModel.load(tmp_path / "out", "cpu").outputs(rough(998, strength=0.3)[np.newaxis])
    assert 0 <= found["score"][0] <= 1
    assert found["embedding"].shape[0] == 1
    assert found["relief"].shape == (1, 3, 112, 112)


def test_what_normalised_the_maps_is_folded_into_the_weights() -> None:
    torch.manual_seed(2)
    pupil = teaching._Pupil(random_vgg16(2, NARROW))
    pictures = torch.from_numpy(pictures_of(np.stack([rough(seed) for seed in range(4)])))
    for _ in range(3):
        pupil(pictures)  # so that means and variances are those of something
    pupil.eval()
    with torch.no_grad():
        for parameter in pupil.norms.parameters():
            parameter.uniform_(0.5, 1.5)
        _, wanted = pupil(pictures)
        numbers = teaching._folded(pupil)(drawn(pictures))
        said = pupil.verdict(numbers[:, -pupil.net.width :])[:, 0]
    assert float(wanted.std()) > 1e-3
    np.testing.assert_allclose(said.numpy(), wanted.numpy(), rtol=1e-4, atol=1e-4)
