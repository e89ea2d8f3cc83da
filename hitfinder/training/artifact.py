"""From a trained graph to an artifact folder: threshold and measures, both through the ONNX file.

The folder appears under its name when it is complete; until then it is `NAME.partial`. What
this file does not know: networks, and how they are trained.
"""

import hashlib
import math
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from hitfinder.errors import DataFileError
from hitfinder.evaluation.calibration import (
    Calibration,
    allowed_below,
    calibrate,
    hits_needed,
    restrain,
)
from hitfinder.evaluation.curves import CURVES, Epoch, write_curves
from hitfinder.evaluation.measures import as_measured, evaluate
from hitfinder.evaluation.scores import RunScores
from hitfinder.inference.model_card import GRAPH, ModelCard, sha256, write_card
from hitfinder.inference.onnx_model import OnnxModel
from hitfinder.training.samples import Material, Part, Samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """With `confidence`, a model keeps at least the share `sensitivity` of strong hits."""

    sensitivity: float
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Restrained:
    """With `confidence`, at least the share `specificity` of misses, called `misses`, lies below
    the threshold: where what is sought is rare, what is found must be trusted.
    """

    specificity: float
    confidence: float
    misses: str


def check_promise(n_hits: int, promise: Promise) -> None:
    """Raises DataFileError when so many strong hits to calibrate on are too few for it."""
    sensitivity, confidence = promise.sensitivity, promise.confidence
    if allowed_below(n_hits, sensitivity=sensitivity, confidence=confidence) is not None:
        return
    # With none of n hits below the threshold, sensitivity ** n = 1 - confidence is the best.
    best = math.floor(1000 * (1 - confidence) ** (1 / n_hits)) / 1000 if n_hits else 0.0
    lower = f", or lower --sensitivity, to {best:g} at most" if best else ""
    raise DataFileError(
        f"{n_hits} hits to calibrate on (weak ones do not count) are too few for a sensitivity of "
        f"{sensitivity:g} with {confidence:.4g} confidence: that takes "
        f"{hits_needed(sensitivity=sensitivity, confidence=confidence)}. Add frames with hits, of "
        f"which about a fifth is calibrated on{lower}"
    )


def check_restrained(n_misses: int, promise: Restrained) -> None:
    """Raises DataFileError when so many misses to calibrate on are too few for the promise."""
    share, confidence = promise.specificity, promise.confidence
    if allowed_below(n_misses, sensitivity=share, confidence=confidence) is None:
        raise DataFileError(
            f"{n_misses} {promise.misses} to calibrate on are too few for a specificity of "
            f"{share:g} with {confidence:.4g} confidence: that takes "
            f"{hits_needed(sensitivity=share, confidence=confidence)}. Add such frames, of which "
            "about a fifth is calibrated on, or lower --specificity"
        )


def write_artifact(
    folder: Path,
    graph: ModelProto,
    draft: ModelCard,
    material: Material,
    curves: Iterable[Epoch],
    *,
    promise: Promise | Restrained | None,
    done: Callable[[Part, int], None],
) -> ModelCard:
    """Write `model.onnx`, `card.json` and `curves.csv`. `draft` is the card without hash and
    measures. The threshold is the one that just keeps the promise on frames like those of the
    material's calibration runs, without a promise the draft's; the measures are those of the test
    runs.

    Raises DataFileError when there are too few hits to calibrate on, and OSError, as for a
    `folder` that is there and not empty.
    """
    partial_folder = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial_folder, ignore_errors=True)
    partial_folder.mkdir(parents=True)
    try:
        content = graph.SerializeToString(deterministic=True)
        (partial_folder / GRAPH).write_bytes(content)
        card = msgspec.structs.replace(draft, onnx_sha256=sha256(content))
        write_card(partial_folder, card)  # so that the graph loads as any artifact does

        score = partial(scores_of, partial_folder)
        if promise is not None:
            calibrated = material.load("calibration", score, partial(done, "calibration"))
            threshold, told = _threshold(calibrated, promise)
            card = msgspec.structs.replace(
                card,
                threshold=threshold,
                threshold_from=told,
                confidence=f"{promise.confidence:.0%}",
            )
        tested = material.load("test", score, partial(done, "test"))
        evaluation = evaluate([_run_scores(each) for each in tested], card.threshold)
        card = msgspec.structs.replace(card, metrics=as_measured(evaluation))
        write_card(partial_folder, card)
        write_curves(partial_folder / CURVES, curves)
        if folder.exists():
            folder.rmdir()  # an empty one may be there, and nothing but an empty one goes
        partial_folder.rename(folder)
    finally:
        shutil.rmtree(partial_folder, ignore_errors=True)
    return card


def scores_of(folder: Path, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images (k, H, W) to scores (k,) by the artifact in `folder`: a `Reduce`. One by one, so that
    no score depends on how frames are shared out.
    """
    model = _loaded(folder, sha256((folder / GRAPH).read_bytes()))
    return np.concatenate([model.score(image[None]) for image in images])


@lru_cache(maxsize=1)  # a worker process scores many runs with one model
def _loaded(folder: Path, graph_sha256: str) -> OnnxModel:
    return OnnxModel.load(folder, "cpu")


def _threshold(samples: Sequence[Samples], promise: Promise | Restrained) -> tuple[float, str]:
    """The threshold and, in words, its promise."""
    if isinstance(promise, Restrained):
        misses = np.concatenate([each.inputs[each.truths == 0] for each in samples])
        check_restrained(len(misses), promise)
        restraint = restrain(misses, specificity=promise.specificity, confidence=promise.confidence)
        return restraint.threshold, restraint.told(promise.misses)
    calibration = _calibrated(samples, promise)
    return calibration.threshold, calibration.told()


def _calibrated(samples: Sequence[Samples], promise: Promise) -> Calibration:
    strong = np.concatenate([each.inputs[each.strong] for each in samples])
    check_promise(len(strong), promise)
    return calibrate(strong, sensitivity=promise.sensitivity, confidence=promise.confidence)


def _run_scores(samples: Samples) -> RunScores:
    return RunScores(
        run=samples.run, scores=samples.inputs.astype(np.float64), labels=samples.labels
    )


def hashed(samples: Sequence[Samples]) -> str:
    """SHA-256 of all that was learned from: what `Reduce` made of the images, labels, spots."""
    digest = hashlib.sha256()
    for each in samples:
        digest.update(np.ascontiguousarray(each.inputs).data)
        digest.update(each.truths.tobytes())
        for spots in each.spots:
            digest.update(np.ascontiguousarray(spots).tobytes())
    return digest.hexdigest()
