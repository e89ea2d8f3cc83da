"""The recipe of the hit model, read from top to bottom; `networks.hit` says what it is.

Each cell learns whether it holds a spot, from the truth of simulated frames or from what a peak
finder saw in labelled hits; the frame learns whether it is a hit. Ambiguous frames teach the
cells only. The network's first half learns nothing, so it is run once, and what is trained on is
its output: 11 000 floats a frame in place of 122 500 pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from hitfinder.errors import ArtifactError, DataFileError
from hitfinder.evaluation.curves import Epoch
from hitfinder.inference.model_card import ModelCard, read_artifact
from hitfinder.training.artifact import Promise, hashed, write_artifact
from hitfinder.training.networks.hit import CELL, HitNet, hit_graph
from hitfinder.training.samples import Material, Part, Samples, check_classes, held_out
from hitfinder.training.threads import one_thread

BATCH = 64
RATE = 6e-3
RATE_ON = 6e-4
"""Where weights were learned before: a higher rate would forget them first."""

DECAY = 1e-4
CELLS_WEIGHT = 0.02
"""Of a frame's loss summed over its cells, beside the loss of its verdict."""

BESIDE_WEIGHT = 0.1
"""Of the cells around one with a spot, which may rightly see it."""

LARGER = 10.0
"""A miss without artefacts must be one even in a frame so many times larger: what little a cell of
pure noise adds to the count must not add up to a hit over a whole detector."""

RARE = -4.0
"""First guess of a cell's logit: few hold a spot."""

DESCRIPTION = (
    f"Counts spots in a map of cells of {CELL} x {CELL} pixels. A cell's brightest 3 x 3 mean and "
    "brightest pixel are measured against their surroundings, so gain, offset and unit cancel; a "
    "small convolutional network tells spots from hot pixels, tracks and rings. score = 1 / (1 + "
    "exp(-slope (ln(1 + count) - middle))), with a middle that rises where spots are fainter or "
    "brighter on average than a crystal's."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Set:
    """Frames to learn from: features (k, 3, h, w), targets (k, h, w) of 0, 1 and cells beside a
    spot as 2, truths (k,) as in `Samples`, areas (k,) how much larger the frame is taken to be.
    """

    features: Tensor
    targets: Tensor
    truths: Tensor
    areas: Tensor


def train_hit(
    folder: Path,
    material: Material,
    *,
    seed: int,
    epochs: int,
    start: Path | None,
    promise: Promise,
    created_by: str,
    done: Callable[[Part, int], None],
    told: Callable[[Epoch], None],
) -> ModelCard:
    """Train, calibrate, test, and write the artifact to `folder`. `start` is an artifact of this
    recipe to begin with. `done` hears of frames by stage, `told` of every epoch.

    The same seed and material give the same card on the same machine.
    Raises DataFileError, ArtifactError and OSError.
    """
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    net = HitNet()
    net.state_dict()["map.near2.bias"].fill_(RARE)
    origin = "random, from the seed" if start is None else load_weights(net, start)
    samples = material.load("training", features_of, partial(done, "training"))
    _check_shapes(samples)
    learned, held_out = _sets(samples)
    with one_thread():
        curves = _fit(
            net, learned, held_out, epochs, RATE if start is None else RATE_ON, seed, told
        )
    draft = ModelCard(
        name=folder.name,
        version="1",
        task="hit",
        description=DESCRIPTION,
        region="any: a central crop or a whole frame, of one module or of many",
        threshold=0.5,
        threshold_from="",
        outputs={
            "score": "(N,) probability that the frame shows a crystal's spots",
            "count": "(N,) number of spots; where part of the frame is hidden, an estimate for all "
            "of it",
            "spots": f"(N, rows, cols) probability that a cell of {CELL} x {CELL} pixels holds a "
            "spot; the map may reach beyond the image on the right and below",
        },
        onnx_sha256="",
        weights_origin=origin,
        data=material.described(),
        data_sha256=hashed(samples),
        seed=seed,
        created_by=created_by,
    )
    return write_artifact(
        folder,
        hit_graph(net, DESCRIPTION),
        draft,
        material,
        curves,
        promise=promise,
        done=done,
    )


def features_of(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images (k, H, W) to features (k, 3, h, w): the half of the network that learns nothing. A
    `Reduce`.
    """
    net = _first_half()
    with one_thread(), torch.no_grad():
        found = [net(torch.from_numpy(image[np.newaxis])).numpy() for image in images]
    return np.concatenate(found)


@lru_cache(maxsize=1)
def _first_half() -> nn.Module:
    net = HitNet()
    return nn.Sequential(net.statistics, net.contrast)


def load_weights(net: HitNet, folder: Path) -> str:
    """Take the weights out of an artifact's ONNX file, where they lie under their names, and say
    which it was.

    Raises ArtifactError when it was not made by this recipe.
    """
    card, graph = read_artifact(folder)
    stored = {
        each.name: torch.from_numpy(numpy_helper.to_array(each).copy())
        for each in onnx.load_from_string(graph).graph.initializer
    }
    wanted = net.state_dict()
    for name, value in wanted.items():
        if name not in stored or stored[name].shape != value.shape:
            raise ArtifactError(
                f"{folder} was not made by 'hitfinder train hit' of this version: its graph has no "
                f"weights {name} of shape {tuple(value.shape)}; start --from another, or from "
                "nothing"
            )
    net.load_state_dict({name: stored[name] for name in wanted})
    return f"the model {card.name} (SHA-256 {card.onnx_sha256[:12]}…)"


def _check_shapes(samples: Sequence[Samples]) -> None:
    """Raises DataFileError unless frames can go into one batch."""
    for each in samples:
        if each.inputs.shape[1:] != samples[0].inputs.shape[1:]:
            raise DataFileError(
                f"frames of {samples[0].run} and {each.run} differ in size; to train on both, use "
                "--region center"
            )


def _sets(samples: Sequence[Samples]) -> tuple[_Set, _Set | None]:
    """What is learned from, and the held-out runs beside it, if there are any."""
    learned, beside = held_out(samples)
    check_classes(learned)
    return _set(learned), _set(beside) if beside else None


def _set(samples: Sequence[Samples]) -> _Set:
    return _Set(
        features=torch.from_numpy(np.concatenate([each.inputs for each in samples])),
        targets=torch.cat([_targets(each) for each in samples]),
        truths=torch.from_numpy(np.concatenate([each.truths for each in samples])),
        areas=torch.tensor(
            [
                LARGER if label.truth == "miss" and not label.artefacts else 1.0
                for each in samples
                for label in each.labels
            ]
        ),
    )


def _targets(samples: Samples) -> Tensor:
    """(k, h, w) uint8, as in `_Set`."""
    k, _, rows, cols = samples.inputs.shape
    spots = torch.zeros((k, 1, rows, cols))
    for target, places in zip(spots, samples.spots, strict=True):
        cells = torch.from_numpy((places // CELL).astype(np.int64))  # (m, 2) of col, row
        target[0, cells[:, 1], cells[:, 0]] = 1
    beside = F.max_pool2d(spots, 3, 1, 1)
    return torch.where(spots > 0, 1, 2 * beside)[:, 0].byte()


def _fit(
    net: HitNet,
    learned: _Set,
    held_out: _Set | None,
    epochs: int,
    rate: float,
    seed: int,
    told: Callable[[Epoch], None],
) -> list[Epoch]:
    optimiser = torch.optim.AdamW(net.parameters(), rate, weight_decay=DECAY)
    batches = -(-len(learned.truths) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=epochs * batches)
    generator = torch.Generator().manual_seed(seed)
    curves: list[Epoch] = []
    for epoch in range(1, epochs + 1):
        order = torch.randperm(len(learned.truths), generator=generator)
        total = 0.0
        for places in torch.split(order, BATCH):
            loss = _loss(net, learned, places)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item() * len(places)
        curves.append(
            Epoch(
                epoch=epoch,
                loss=total / len(order),
                validation_loss=None if held_out is None else _mean_loss(net, held_out),
            )
        )
        told(curves[-1])
    return curves


def _mean_loss(net: HitNet, of: _Set) -> float:
    places = torch.arange(len(of.truths))
    with torch.no_grad():
        losses = [_loss(net, of, some) * len(some) for some in torch.split(places, BATCH)]
    return float(torch.stack(losses).sum()) / len(places)


def _loss(net: HitNet, of: _Set, places: Tensor) -> Tensor:
    """Mean over the frames at `places`."""
    features = of.features[places]
    logits = net.map(features)
    targets, truths = of.targets[places], of.truths[places]
    weights = torch.where(targets == 2, BESIDE_WEIGHT, 1.0)
    cells = F.binary_cross_entropy_with_logits(
        logits, (targets == 1).float(), weights, reduction="none"
    ).sum((1, 2))
    count, clear = net.count(logits, features)
    verdicts = net.judge(count * of.areas[places], clear)
    clear = (truths >= 0).float()
    frames = F.binary_cross_entropy_with_logits(
        verdicts, (truths == 1).float(), clear, reduction="none"
    )
    return (CELLS_WEIGHT * cells + frames).mean()
