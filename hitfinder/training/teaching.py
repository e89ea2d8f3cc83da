"""How VGG16 gets weights where photographs' cannot be had: taught by the compact diffuse model.

Five hundred hits are too few for a network of sixteen layers, and of simulated hits under random
conditions most labels teach it nothing: what is diffuse cannot be seen in half of them, and it
learned the frames by heart (docs/experiments.md). So a compact network learns from the truth first,
and then answers, frame by frame: what are the textures of this picture's cells, which the fourth
stage's maps must tell, and what would you say of it, which fc7 must tell. That is known of every
frame, the faint ones, too, and of every turned, mirrored or blotted one.

While it learns, each convolution's maps are brought to the same mean and variance over a batch
(Ioffe & Szegedy 2015, arXiv:1502.03167); at the end that is folded into the weights, and what is
left is VGG16 as it was described. What this file does not know: what the weights are used for.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (torch's own name for it)

from hitfinder.evaluation.curves import Epoch
from hitfinder.training.diffuse import drawn_change, learned, usual
from hitfinder.training.fixed import opened
from hitfinder.training.networks.diffuse import DiffuseNet
from hitfinder.training.networks.texture import CELLS, SIDE, TEXTURES
from hitfinder.training.networks.vgg16 import Vgg16, drawn, random_vgg16
from hitfinder.training.samples import Samples, held_out
from hitfinder.training.threads import one_thread

TEACHERS_EPOCHS = 20

BATCH = 32
RATE = 2e-3
DECAY = 1e-2
STEEPEST = 5.0
"""Steps are cut to gradients of this length."""

DROPPED = 0.2
"""Share of the wide layers' numbers that is left out at random while it learns."""

VARIANCE = 1e-5
"""Added where maps are brought to the same variance: some have none."""

SUREST = (-6.0, 8.0)
"""Logits beyond are all the same to it."""


class _Pupil(nn.Module):
    """VGG16 as it learns: pictures to the textures (N, TEXTURES - 1, CELLS, CELLS) that the maps of
    that size tell, and logits (N,).
    """

    def __init__(self, net: Vgg16) -> None:
        super().__init__()
        self.net = net
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(each.out_channels, eps=VARIANCE) for each in _layers(net)
        )
        self.cells = nn.Conv2d(_layers(net)[-1].out_channels, TEXTURES - 1, 1)
        self.verdict = nn.Linear(net.width, 1)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        maps = drawn(pictures).contiguous(memory_format=torch.channels_last)
        norms = iter(self.norms)
        cells = maps
        for layer in self.net.features:
            maps = layer(maps)
            if isinstance(layer, nn.Conv2d):
                maps = next(norms)(maps)
            elif isinstance(layer, nn.MaxPool2d) and maps.shape[-1] == CELLS:
                cells = self.cells(maps)
        sixth = F.relu(self.net.classifier["0"](self._dropped(maps.flatten(1))))
        seventh = F.relu(self.net.classifier["3"](self._dropped(sixth)))
        return cells, self.verdict(self._dropped(seventh))[:, 0]

    def _dropped(self, numbers: Tensor) -> Tensor:
        return F.dropout(numbers, DROPPED, self.training)


def taught_vgg16(
    samples: Sequence[Samples],
    *,
    seed: int,
    epochs: int,
    narrow: int,
    told: Callable[[Epoch], None],
) -> tuple[Vgg16, list[Epoch]]:
    """The network, so many times narrower than VGG16, from `lessons_of` random runs, and how it
    went: losses are those of the logits. Raises DataFileError.
    """
    both = [opened(each.inputs) for each in samples]
    seen = [replace(one, inputs=textures) for one, (_, textures) in zip(samples, both, strict=True)]
    teacher, _ = learned(seen, epochs=TEACHERS_EPOCHS, seed=seed, told=lambda _: None)
    teacher.eval()
    drawings = [replace(one, inputs=of) for one, (of, _) in zip(samples, both, strict=True)]
    with one_thread():
        return _taught(teacher, held_out(drawings), held_out(seen), seed, epochs, narrow, told)


def _taught(
    teacher: DiffuseNet,
    drawings: tuple[list[Samples], list[Samples]],
    seen: tuple[list[Samples], list[Samples]],
    seed: int,
    epochs: int,
    narrow: int,
    told: Callable[[Epoch], None],
) -> tuple[Vgg16, list[Epoch]]:
    pictures, textures = _all(drawings[0]), _all(seen[0])
    middle, spread = usual(textures)
    torch.manual_seed(seed)
    pupil = _Pupil(random_vgg16(seed, narrow))
    optimiser = torch.optim.AdamW(pupil.parameters(), RATE, weight_decay=DECAY)
    steps = epochs * -(-len(pictures) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    generator = torch.Generator().manual_seed(seed)
    curves: list[Epoch] = []
    for epoch in range(1, epochs + 1):
        pupil.train()
        total = 0.0
        for places in torch.split(torch.randperm(len(pictures), generator=generator), BATCH):
            drawing, answers = _changed(pictures[places], textures[places], generator)
            there = answers[:, -1:]
            with torch.no_grad():
                logits = teacher(answers).clamp(*SUREST)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                cells, said = pupil(drawing)
            wanted = ((answers - middle) / spread)[:, :-1]
            off = F.smooth_l1_loss(cells.float(), wanted, reduction="none") * there
            loss = F.smooth_l1_loss(said.float(), logits)
            optimiser.zero_grad()
            (loss + off.sum() / (there.sum() * (TEXTURES - 1)).clamp(min=1)).backward()
            nn.utils.clip_grad_norm_(pupil.parameters(), STEEPEST)
            optimiser.step()
            schedule.step()
            total += loss.item() * len(places)
        beside = _loss(pupil, teacher, drawings[1], seen[1]) if seen[1] else None
        curves.append(Epoch(epoch=epoch, loss=total / len(pictures), validation_loss=beside))
        told(curves[-1])
    return _folded(pupil.eval()), curves


def _all(samples: Sequence[Samples]) -> Tensor:
    return torch.from_numpy(np.concatenate([each.inputs for each in samples]))


def _changed(
    pictures: Tensor, textures: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Both turned, mirrored and blotted alike."""
    change = drawn_change(generator)
    textures = change.turned(textures).clone()
    textures[:, -1] *= change.seen
    places = change.seen[None, None].repeat_interleave(SIDE // CELLS, 2)
    return change.turned(pictures) * places.repeat_interleave(SIDE // CELLS, 3), textures


def _loss(
    pupil: _Pupil, teacher: DiffuseNet, drawings: Sequence[Samples], seen: Sequence[Samples]
) -> float:
    pupil.eval()
    with torch.no_grad():
        wanted = teacher(_all(seen)).clamp(*SUREST)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            said = torch.cat([pupil(some)[1] for some in torch.split(_all(drawings), BATCH)])
        return float(F.smooth_l1_loss(said.float(), wanted))


def _folded(pupil: _Pupil) -> Vgg16:
    """What each convolution's maps were normalised by goes into its weights."""
    state = pupil.norms.state_dict()
    with torch.no_grad():
        for place, layer in enumerate(_layers(pupil.net)):
            weight, bias, mean, variance = (
                state[f"{place}.{name}"]
                for name in ("weight", "bias", "running_mean", "running_var")
            )
            scale = weight / torch.sqrt(variance + VARIANCE)
            layer.weight.mul_(scale.reshape(-1, 1, 1, 1))
            if layer.bias is not None:
                layer.bias.copy_((layer.bias - mean) * scale + bias)
    return pupil.net


def _layers(net: Vgg16) -> list[nn.Conv2d]:
    return [each for each in net.features if isinstance(each, nn.Conv2d)]
