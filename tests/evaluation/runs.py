"""Runs for tests: scores and labels as they are written down, and files of tiny frames."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hitfinder.dataset.frames import Label
from hitfinder.dataset.hdf5_writer import series_writer
from hitfinder.evaluation.scores import RunScores
from hitfinder.frame import Detector, array_payload

STRONG = Label(truth="hit", tier="strong")
WEAK = Label(truth="hit", tier="weak")
MISS = Label(truth="miss")
SALT = Label(truth="miss", artefacts=("salt",))
SALT_AND_ICE = Label(truth="miss", artefacts=("salt", "spotty-ice"))
AMBIGUOUS = Label(truth="ambiguous")


def scored(name: str, *frames: tuple[float, Label | None]) -> RunScores:
    """A run of (score, label)."""
    scores = np.array([score for score, _ in frames], np.float64)
    return RunScores(run=name, scores=scores, labels=tuple(label for _, label in frames))


def random_run(seed: int, n: int = 300, name: str = "run") -> RunScores:
    """Hits that mostly score higher than misses, in steps that make ties."""
    rng = np.random.default_rng(seed)
    kinds = [STRONG, WEAK, MISS, SALT, AMBIGUOUS, None]
    labels = tuple(kinds[at] for at in rng.integers(0, len(kinds), n))
    middle = np.array([0.7 if label in (STRONG, WEAK) else 0.4 for label in labels])
    scores = np.clip(np.round(middle + rng.normal(0, 0.2, n), 2), 0, 1)
    return RunScores(run=f"{name}{seed}", scores=scores, labels=labels)


def write_frames(path: Path, values: Sequence[float], labels: Sequence[Label | None]) -> None:
    """A file of 6 x 6 float32 frames whose first pixel is `values`: the toy model's score."""
    with series_writer(
        path, shape=(6, 6), dtype=np.dtype(np.float32), detector=Detector()
    ) as writer:
        for value, label in zip(values, labels, strict=True):
            pixels = np.zeros((6, 6), np.float32)
            pixels[0, 0] = value
            writer.add(array_payload(pixels), label=label)


def write_spotted(path: Path, n: int, seed: int) -> None:
    """A file of 200 x 200 frames, every other one with 30 spots and labelled a hit."""
    rng = np.random.default_rng(seed)
    spot = np.array([[300, 90], [90, 30]], np.uint16)
    with series_writer(
        path, shape=(200, 200), dtype=np.dtype(np.uint16), detector=Detector()
    ) as writer:
        for number in range(n):
            pixels = rng.poisson(2.0, (200, 200)).astype(np.uint16)
            for row, col in rng.integers(5, 190, (30 * (number % 2), 2)):
                pixels[row : row + 2, col : col + 2] += spot
            writer.add(array_payload(pixels), label=STRONG if number % 2 else SALT)
