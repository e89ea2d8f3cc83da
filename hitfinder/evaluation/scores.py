"""Files to scores, with what the live service uses: the exported ONNX graph, the same region of
pixels, NaN where nothing was measured.

A run is a series. What this file does not know: thresholds, and what a score should have been.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from hitfinder.dataset.frames import FrameRef, Label, Series
from hitfinder.errors import DataFileError, PayloadError
from hitfinder.images.reader import RegionReader, check_measured
from hitfinder.images.region import RegionSettings, plan_region
from hitfinder.inference.onnx_model import OnnxModel

BATCH_SIZES = {"cpu": 4, "cuda": 32}
"""Frames in a batch, by device. On a CPU four frames of 350 x 350 still fit its cache, and 32 cost
half as much again a frame."""

MAX_BATCH_PIXELS = 2**24
"""A batch of whole frames must not outgrow memory: 64 MiB of float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunScores:
    """A run's frames, in order: `scores` (n,) float64, exactly the float32 that the model gave,
    and NaN for a frame without one, of which `problems` says why; `labels` n of them.
    """

    run: str
    scores: NDArray[np.float64]
    labels: tuple[Label | None, ...]
    problems: tuple[str, ...] = ()

    @property
    def hits(self) -> NDArray[np.float64]:
        """Scores (k,) of the frames labelled a hit: what a threshold is calibrated on."""
        is_hit = np.array([bool(label and label.truth == "hit") for label in self.labels], np.bool_)
        return self.scores[is_hit & np.isfinite(self.scores)]


def score_series(
    series: Series,
    model: OnnxModel,
    region: RegionSettings,
    *,
    run: str | None = None,
    scored: Callable[[int], object] = lambda n_frames: None,
) -> RunScores:
    """Score every frame of a series. The run is named `run`, or after the series; `scored` is
    told of frames as they are done.

    A frame that cannot be read, and one of whose region nothing was measured, has no score and is
    told among the problems: live, it would go on unjudged.
    Raises ConfigError when region and frames do not fit, and ModelRunError.
    """
    reader = plan_region(region, series.shape, series.detector, None)
    rows, cols = reader.shape
    size = max(1, min(BATCH_SIZES[model.device], MAX_BATCH_PIXELS // (rows * cols)))
    batch = np.empty((size, rows, cols), np.float32)
    scores = np.full(len(series.frames), np.nan, np.float64)
    problems: list[str] = []
    for chunk in _chunks(series.frames, size):
        places: list[int] = []
        for place, ref in chunk:
            problem = read_region(ref, reader, batch[len(places)])
            if problem is None:
                places.append(place)
            else:
                problems.append(problem)
        if places:
            scores[places] = model.score(batch[: len(places)])
        problems += [
            f"{frame_name(series.frames[place])}: the model gave a score that is no number"
            for place in places
            if not np.isfinite(scores[place])
        ]
        scored(len(chunk))
    return RunScores(
        run=series.name if run is None else run,
        scores=np.where(np.isfinite(scores), scores, np.nan),
        labels=tuple(ref.label for ref in series.frames),
        problems=tuple(problems),
    )


def read_region(ref: FrameRef, reader: RegionReader, out: NDArray[np.float32]) -> str | None:
    """Write a frame's region into `out` (H, W) float32; what went wrong, or None."""
    try:
        reader.read(ref.load(), out)
        check_measured(out)
    except DataFileError as error:
        return str(error)
    except PayloadError as error:
        return f"{frame_name(ref)}: {error}"
    return None


def frame_name(ref: FrameRef) -> str:
    """A frame in words."""
    return f"{ref.path}, frame {ref.index}"


def run_names(series: Sequence[Series]) -> tuple[str, ...]:
    """A name for each series, no two alike: its own, with its folder's before it where several
    have the same, and a number behind where that does not help.
    """
    own = Counter(each.name for each in series)
    names = [
        each.name if own[each.name] == 1 else f"{each.frames[0].path.parent.name}/{each.name}"
        for each in series
    ]
    alike = Counter(names)
    seen: Counter[str] = Counter()
    for place, name in enumerate(names):
        seen[name] += 1
        if alike[name] > 1:
            names[place] = f"{name} ({seen[name]})"
    return tuple(names)


def _chunks(frames: Sequence[FrameRef], size: int) -> Iterator[list[tuple[int, FrameRef]]]:
    numbered = iter(enumerate(frames))
    while chunk := list(islice(numbered, size)):
        yield chunk
