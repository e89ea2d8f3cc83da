"""The rows of the table that learn no network: from labelled frames and others to the others'
scores, P(diffuse), and to where they lie in a diffusion map.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hitfinder.training.diffuse_methods.diffusion_map import embedded
from hitfinder.training.diffuse_methods.prepared import Prepared, joined
from hitfinder.training.diffuse_methods.similarity import common_line, correlation, euclidean

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """m frames: `scores` (m,) in [0, 1]; `points` (m, k) where a map puts them, if one does."""

    scores: Scores
    points: NDArray[np.float64] | None = None


class Method(Protocol):
    """Judges m test frames by n training frames and whether each is diffuse, (n,) bool."""

    def __call__(
        self, train_frames: Prepared, train_labels: NDArray[np.bool_], test_frames: Prepared
    ) -> Judged:
        """See the class."""
        ...


def anisotropy(
    train_frames: Prepared, train_labels: NDArray[np.bool_], test_frames: Prepared
) -> Judged:
    """By how much is left without the round background; the threshold is learned."""
    dark = np.finfo(np.float32).tiny  # of a frame of zeros
    train, test = (
        np.log(np.maximum(each.anisotropy, dark))[:, None] for each in (train_frames, test_frames)
    )
    return Judged(scores=fitted(train, train_labels, test))


def diffusion_map(similarity: Callable[[Prepared], NDArray[np.float64]]) -> Method:
    """By the place in the diffusion map of all frames together."""

    def method(
        train_frames: Prepared, train_labels: NDArray[np.bool_], test_frames: Prepared
    ) -> Judged:
        points = embedded(similarity(joined([train_frames, test_frames])))
        known = len(train_frames)
        scores = fitted(points[:known], train_labels, points[known:])
        return Judged(scores=scores, points=points[known:])

    return method


METHODS: dict[str, Method] = {
    "anisotropy": anisotropy,
    "diffusion map, Euclidean": diffusion_map(euclidean),
    "diffusion map, correlation": diffusion_map(correlation),
    "diffusion map, common line": diffusion_map(common_line),
}


def fitted(
    train: NDArray[np.float64], labels: NDArray[np.bool_], test: NDArray[np.float64]
) -> Scores:
    """P (m,) of test points (m, k) by a logistic regression on points (n, k), scaled."""
    model = make_pipeline(StandardScaler(), LogisticRegression())
    model.fit(train, labels)
    scores: Scores = model.predict_proba(test)[:, 1]
    return scores
