"""The recipe of the compact diffuse model, read from top to bottom; `networks.diffuse` says what
it is.

It learns from the truth of simulated hits, or from labelled ones, whether crystals show diffuse
scattering. The relief learns nothing and is made once for each frame; the few convolutions behind
it see each relief turned, mirrored and with a part of it blotted out, another time another: where
the beam is, which way a shadow falls and what a module covers must not matter.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from hitfinder.inference.model_card import ModelCard
from hitfinder.training.artifact import Epoch, Promise, hashed, write_artifact
from hitfinder.training.networks.diffuse import SIDE, DiffuseNet, diffuse_graph
from hitfinder.training.networks.relief import relief_graph
from hitfinder.training.samples import Material, Part, Samples, check_classes
from hitfinder.training.threads import one_thread

NAMES = ("diffuse", "not diffuse")
BATCH = 32
RATE = 3e-3
DECAY = 1e-3
HELD_OUT = 10
"""One run of so many shows how training goes on what it does not see, and is not trained on."""

BLOTTED = 0.5
"""Share of batches that a rectangle is taken out of, up to half of each side."""

LEAST_BLOT = 6

DESCRIPTION = (
    "Judges the relief of a frame: spots cut down, the radial mean about the background's own "
    "centre taken off, in units of the noise and of the background's spread, so that gain, offset "
    "and unit cancel. Seven small convolutions and their means over what was measured tell diffuse "
    "scattering from shadows, jets, panels and noise."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Set:
    """Features (k, 4, SIDE, SIDE) and truths (k,) of 0 and 1, float32."""

    features: Tensor
    truths: Tensor


def train_diffuse(
    folder: Path,
    material: Material,
    *,
    seed: int,
    epochs: int,
    promise: Promise,
    created_by: str,
    done: Callable[[Part, int], None],
    told: Callable[[Epoch], None],
) -> ModelCard:
    """Train, calibrate, test, and write the artifact to `folder`. The material's hits are diffuse
    frames, its misses other hits. `done` hears of frames by stage, `told` of every epoch.

    The same seed and material give the same card on the same machine.
    Raises DataFileError and OSError.
    """
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    samples = material.load("training", features_of, partial(done, "training"))
    learned, held_out = _sets(samples)
    net = DiffuseNet()
    with one_thread():
        curves = _fit(net, learned, held_out, epochs, seed, told)
    draft = ModelCard(
        name=folder.name,
        version="1",
        task="diffuse",
        description=DESCRIPTION,
        region="whole frames of any size, of one module or of many",
        threshold=0.5,
        threshold_from="",
        outputs={
            "score": "(N,) probability that the hit's crystal shows diffuse scattering",
            "relief": f"(N, {SIDE}, {SIDE}) what is left of the frame, its sides in proportion: "
            "heights above the surroundings in units of the noise",
        },
        onnx_sha256="",
        weights_origin="random, from the seed",
        data=material.described(),
        data_sha256=hashed(samples),
        seed=seed,
        created_by=created_by,
    )
    graph = diffuse_graph(net.eval(), DESCRIPTION)
    return write_artifact(folder, graph, draft, material, curves, promise=promise, done=done)


def features_of(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images (k, H, W) to a relief's features (k, 4, SIDE, SIDE): a `Reduce`."""
    return reliefs(images, SIDE)


def reliefs(images: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Images (k, H, W) to features (k, 4, side, side), one by one."""
    return np.concatenate(
        [_session(side).run(None, {"image": image[np.newaxis]})[0] for image in images]
    )


@lru_cache(maxsize=2)
def _session(side: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_mem_pattern = False
    return ort.InferenceSession(relief_graph(side), options, providers=["CPUExecutionProvider"])


def _sets(samples: Sequence[Samples]) -> tuple[_Set, _Set | None]:
    """What is learned from, and every HELD_OUT-th run beside it (none of fewer runs)."""
    held_out = samples[HELD_OUT - 1 :: HELD_OUT]
    learned = [each for place, each in enumerate(samples, 1) if place % HELD_OUT]
    check_classes(learned, NAMES)
    return _set(learned), _set(held_out) if held_out else None


def _set(samples: Sequence[Samples]) -> _Set:
    clear = [each.truths >= 0 for each in samples]
    parts = list(zip(samples, clear, strict=True))
    return _Set(
        features=torch.from_numpy(np.concatenate([each.inputs[some] for each, some in parts])),
        truths=torch.from_numpy(
            np.concatenate([each.truths[some] for each, some in parts])
        ).float(),
    )


def _fit(
    net: DiffuseNet,
    learned: _Set,
    held_out: _Set | None,
    epochs: int,
    seed: int,
    told: Callable[[Epoch], None],
) -> list[Epoch]:
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
    batches = -(-len(learned.truths) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=epochs * batches)
    generator = torch.Generator().manual_seed(seed)
    curves: list[Epoch] = []
    for epoch in range(1, epochs + 1):
        net.train()
        total = 0.0
        for places in torch.split(torch.randperm(len(learned.truths), generator=generator), BATCH):
            features = changed(learned.features[places], generator)
            loss = F.binary_cross_entropy_with_logits(net(features), learned.truths[places])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item() * len(places)
        curves.append(
            Epoch(
                epoch=epoch,
                loss=total / len(learned.truths),
                validation_loss=None if held_out is None else _mean_loss(net, held_out),
            )
        )
        told(curves[-1])
    return curves


def changed(features: Tensor, generator: torch.Generator) -> Tensor:
    """A batch (k, 4, side, side) turned or mirrored, and half of the times with a rectangle
    blotted out, as where nothing was measured.
    """
    turns, mirrored, blotted = torch.rand(3, generator=generator).tolist()
    features = torch.rot90(features, int(4 * turns), (2, 3))
    if mirrored < 0.5:
        features = features.flip(3)
    if blotted < BLOTTED:
        side = features.shape[3]
        rows, cols = torch.randint(LEAST_BLOT, side // 2, (2,), generator=generator).tolist()
        top, left = (
            int(torch.randint(0, side - size, (1,), generator=generator)) for size in (rows, cols)
        )
        features = features.clone()
        features[:, :, top : top + rows, left : left + cols] = 0
    return features


def _mean_loss(net: DiffuseNet, of: _Set) -> float:
    net.eval()
    with torch.no_grad():
        logits = torch.cat([net(some) for some in torch.split(of.features, BATCH)])
    return float(F.binary_cross_entropy_with_logits(logits, of.truths))
