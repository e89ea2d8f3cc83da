"""Random streams, and the few ways in which conditions are drawn."""

from enum import IntEnum
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class Purpose(IntEnum):
    """What a random stream is for; streams of different purposes are independent."""

    SHOT = 0
    RUN = 1
    CONDITIONS = 2
    PROBE = 3
    DEMO = 4
    DIFFUSE = 5


def stream(seed: int, purpose: Purpose, number: int = 0) -> np.random.Generator:
    """A random stream of its own for each seed, purpose and number (all >= 0)."""
    return np.random.Generator(
        np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(purpose, number)))
    )


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Log-uniform: a range of sizes."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def chance(rng: np.random.Generator, share: float) -> bool:
    """True in a share of cases."""
    return bool(rng.random() < share)


def one_of(rng: np.random.Generator, values: tuple[T, ...]) -> T:
    """Any of the values, alike."""
    return values[int(rng.integers(len(values)))]
