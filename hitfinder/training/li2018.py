"""The recipe of Li 2018 ("Data classification for diffraction images"), as far as it is told.

His network, his labels, his crop of 350 x 350 pixels as they are, his optimiser: stochastic
gradient descent with a rate of 0.002 that falls as 1 / (1 + 0.0001 t) with the number t of
batches (Keras' decay), momentum 0.9, batches of 100, cross-entropy. Not told, and chosen here:
the rates of dropout, the number of epochs, and how weights begin (as Keras does by itself).
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from hitfinder.errors import DataFileError
from hitfinder.evaluation.curves import Epoch
from hitfinder.inference.model_card import ModelCard
from hitfinder.training.artifact import hashed, write_artifact
from hitfinder.training.networks.li2018 import SIDE, LiNet, li2018_graph
from hitfinder.training.samples import Material, Part, Samples, check_classes

BATCH = 100
RATE = 0.002
DECAY = 1e-4
MOMENTUM = 0.9
THRESHOLD = 0.5
"""He takes the likelier of his two outputs."""

DESCRIPTION = (
    "The convolutional network of Li 2018, Table I, on raw pixels of the central 350 x 350; "
    "reproduced to compare with, not to be used: it knows the runs that it was trained on."
)


def train_li2018(
    folder: Path,
    material: Material,
    *,
    seed: int,
    epochs: int,
    created_by: str,
    done: Callable[[Part, int], None],
    told: Callable[[Epoch], None],
) -> ModelCard:
    """Train, test, and write the artifact to `folder`. `done` hears of frames by stage, `told` of
    every epoch. The threshold is his, not calibrated.

    Raises DataFileError and OSError.
    """
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    samples = material.load("training", pixels_of, partial(done, "training"))
    check_classes(samples)
    for each in samples:
        rows, cols = each.inputs.shape[1:]
        if (rows, cols) != (SIDE, SIDE):
            raise DataFileError(
                f"{each.run}: frames of {rows} x {cols} pixels, and this network takes {SIDE} x "
                f"{SIDE}; use --region center"
            )
    net = LiNet()
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    curves = _fit(net, samples, epochs, seed, told)
    draft = ModelCard(
        name=folder.name,
        version="1",
        task="hit",
        description=DESCRIPTION,
        region=f"the central {SIDE} x {SIDE} pixels, no other size",
        threshold=THRESHOLD,
        threshold_from="the likelier of two classes, as in the paper",
        outputs={"score": "(N,) probability of a hit"},
        onnx_sha256="",
        weights_origin="random, from the seed",
        data=material.described(),
        data_sha256=hashed(samples),
        seed=seed,
        created_by=created_by,
    )
    graph = li2018_graph(net, DESCRIPTION)
    return write_artifact(folder, graph, draft, material, curves, promise=None, done=done)


def pixels_of(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """The pixels as they are: a `Reduce`."""
    return images


def _fit(
    net: LiNet, samples: Sequence[Samples], epochs: int, seed: int, told: Callable[[Epoch], None]
) -> list[Epoch]:
    clear = [each.truths >= 0 for each in samples]
    images = torch.from_numpy(
        np.concatenate([each.inputs[some] for each, some in zip(samples, clear, strict=True)])
    )
    truths = torch.from_numpy(
        np.concatenate([each.truths[some] for each, some in zip(samples, clear, strict=True)])
    ).long()
    optimiser = torch.optim.SGD(net.parameters(), RATE, momentum=MOMENTUM)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda batch: 1 / (1 + DECAY * batch))
    generator = torch.Generator().manual_seed(seed)
    curves: list[Epoch] = []
    for epoch in range(1, epochs + 1):
        total = 0.0
        order = torch.randperm(len(truths), generator=generator)
        for places in torch.split(order, BATCH):
            if len(places) < 2:  # one frame has no variance to normalise by
                continue
            loss = _loss(net, images[places], truths[places])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item() * len(places)
        curves.append(Epoch(epoch=epoch, loss=total / len(order)))
        told(curves[-1])
    return curves


def _loss(net: LiNet, images: Tensor, truths: Tensor) -> Tensor:
    return F.cross_entropy(net(images), truths)
