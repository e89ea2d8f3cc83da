"""The recipe of the compact diffuse model, read from top to bottom; `networks.diffuse` says what
it is.

It learns from the truth of simulated hits, or from labelled ones, whether crystals show diffuse
scattering; weak diffuse scattering teaches nothing. Relief and texture learn nothing and are made
once for each frame: 3332 numbers in place of millions of pixels. What is learned sees each frame
turned, mirrored and with some of its cells blotted out, another time another: where the beam is and
what a module or a shadow covers must not matter.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from hitfinder.evaluation.curves import Epoch
from hitfinder.inference.model_card import ModelCard
from hitfinder.training.artifact import Restrained, hashed, write_artifact
from hitfinder.training.fixed import textures_of
from hitfinder.training.networks.diffuse import DiffuseNet, diffuse_graph
from hitfinder.training.networks.pools import POOL
from hitfinder.training.networks.texture import CELLS, SIDE
from hitfinder.training.samples import Material, Part, Samples, check_classes, held_out
from hitfinder.training.threads import one_thread

NAMES = ("diffuse", "not diffuse")
BATCH = 32
RATE = 3e-3
DECAY = 1e-2
TRIES = 4
"""Networks that begin differently; fitting one takes seconds, and they differ."""

BLOTTED = 0.5
"""Share of batches that a rectangle of cells counts as not measured in, up to half of each side."""

LEAST_SPREAD = 1e-3

DESCRIPTION = (
    "Judges the relief of a frame: spots left out, the radial mean about the background's own "
    "centre taken off, in units of the noise and of the background's spread, so that gain, offset "
    "and unit cancel. How that is textured in cells of 8 x 8 places tells diffuse scattering from "
    "shadows, jets, panels and noise."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Set:
    """Textures (k, TEXTURES, CELLS, CELLS) and truths (k,) of 0 and 1, float32."""

    textures: Tensor
    truths: Tensor


def train_diffuse(
    folder: Path,
    material: Material,
    *,
    seed: int,
    epochs: int,
    promise: Restrained,
    created_by: str,
    done: Callable[[Part, int], None],
    told: Callable[[Epoch], None],
) -> ModelCard:
    """Train, calibrate, test, and write the artifact to `folder`. The material's hits are diffuse
    frames, its misses other hits. `done` hears of frames by stage, `told` of every epoch.

    The same seed and material give the same card on the same machine.
    Raises DataFileError and OSError.
    """
    torch.use_deterministic_algorithms(True)
    samples = material.load("training", textures_of, partial(done, "training"))
    net, curves = learned(samples, epochs=epochs, seed=seed, told=told)
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
        binning=POOL,
        weights_origin=f"random, from the seed; of {TRIES} networks the best on held-out runs",
        data=material.described(),
        data_sha256=hashed(samples),
        seed=seed,
        created_by=created_by,
    )
    graph = diffuse_graph(net.eval(), DESCRIPTION)
    return write_artifact(folder, graph, draft, material, curves, promise=promise, done=done)


def learned(
    samples: Sequence[Samples], *, epochs: int, seed: int, told: Callable[[Epoch], None]
) -> tuple[DiffuseNet, list[Epoch]]:
    """The network that learned from textures, and how it went. Raises DataFileError."""
    known, beside = _sets(samples)
    with one_thread():
        return _best(known, beside, epochs, seed, told)


def _sets(samples: Sequence[Samples]) -> tuple[_Set, _Set | None]:
    """What is learned from, and the held-out runs beside it, if there are any."""
    known, beside = held_out(samples)
    check_classes(known, NAMES)
    return _set(known), _set(beside) if beside else None


def _set(samples: Sequence[Samples]) -> _Set:
    parts = [(each, (each.truths == 0) | each.strong) for each in samples]
    return _Set(
        textures=torch.from_numpy(np.concatenate([each.inputs[some] for each, some in parts])),
        truths=torch.from_numpy(
            np.concatenate([each.truths[some] for each, some in parts]).astype(np.float32)
        ),
    )


def usual(textures: Tensor) -> tuple[Tensor, Tensor]:
    """Each channel's usual middle and spread (1, TEXTURES, 1, 1), over cells that were measured."""
    there = textures[:, -1:]
    total = there.sum()
    middle = (textures * there).sum((0, 2, 3), keepdim=True) / total
    square = ((textures - middle) ** 2 * there).sum((0, 2, 3), keepdim=True) / total
    return middle, square.sqrt() + LEAST_SPREAD


def _best(
    learned: _Set, held_out: _Set | None, epochs: int, seed: int, told: Callable[[Epoch], None]
) -> tuple[DiffuseNet, list[Epoch]]:
    """Of TRIES networks that begin differently, the one that does best on the held-out runs; the
    first where there are none.
    """
    tries: list[tuple[float, DiffuseNet, list[Epoch]]] = []
    for once in range(TRIES if held_out else 1):
        torch.manual_seed(seed + once)
        net = DiffuseNet()
        for mine, found in zip((net.middle, net.spread), usual(learned.textures), strict=True):
            mine.copy_(found)
        curves = _fit(net, learned, held_out, epochs, seed + once, told)
        tries.append((curves[-1].validation_loss or 0.0, net, curves))
    _, net, curves = min(tries, key=lambda each: each[0])
    return net, curves


def _fit(
    net: DiffuseNet,
    learned: _Set,
    held_out: _Set | None,
    epochs: int,
    seed: int,
    told: Callable[[Epoch], None],
) -> list[Epoch]:
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
    count = len(learned.truths)
    steps = epochs * -(-count // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    generator = torch.Generator().manual_seed(seed)
    curves: list[Epoch] = []
    for epoch in range(1, epochs + 1):
        net.train()
        total = 0.0
        for places in torch.split(torch.randperm(count, generator=generator), BATCH):
            textures = changed(learned.textures[places], generator)
            loss = F.binary_cross_entropy_with_logits(net(textures), learned.truths[places])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item() * len(places)
        held_out_loss = None if held_out is None else _mean_loss(net, held_out)
        curves.append(Epoch(epoch=epoch, loss=total / count, validation_loss=held_out_loss))
        told(curves[-1])
    return curves


def changed(textures: Tensor, generator: torch.Generator) -> Tensor:
    """A batch (k, TEXTURES, CELLS, CELLS) turned or mirrored, and half of the times with a
    rectangle of cells as if nothing had been measured there.
    """
    change = drawn_change(generator)
    textures = change.turned(textures).clone()
    textures[:, -1] *= change.seen
    return textures


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """`quarters` turns, then mirrored or not; and `seen` (CELLS, CELLS), 0 where nothing is."""

    quarters: int
    mirrored: bool
    seen: Tensor

    def turned(self, maps: Tensor) -> Tensor:
        """Maps (k, channels, side, side) turned and mirrored."""
        maps = torch.rot90(maps, self.quarters, (2, 3))
        return maps.flip(3) if self.mirrored else maps


def drawn_change(generator: torch.Generator) -> Change:
    """At random."""
    turns, mirrored, blotted = torch.rand(3, generator=generator).tolist()
    seen = torch.ones(CELLS, CELLS)
    if blotted < BLOTTED:
        sides = torch.randint(1, CELLS // 2 + 1, (2,), generator=generator).tolist()
        rows, cols = (
            slice(start, start + side)
            for side in sides
            for start in torch.randint(0, CELLS - side, (1,), generator=generator).tolist()
        )
        seen[rows, cols] = 0
    return Change(quarters=int(4 * turns), mirrored=mirrored < 0.5, seen=seen)


def _mean_loss(net: DiffuseNet, of: _Set) -> float:
    net.eval()
    with torch.no_grad():
        return float(F.binary_cross_entropy_with_logits(net(of.textures), of.truths))
