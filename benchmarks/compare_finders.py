"""Models, our peak finder and OM's peakfinder8 on the same frames and pixels.

    python -m benchmarks.compare_finders --om OM/bin/python --model models/hit FILES --out DIR

FILES are labelled HDF5 files, as `hitfinder simulate` writes them; each is one experiment.
Everybody gets the region `whole` of what is in the file; ambiguous frames are dropped. The peak
finders are given the true beam centre, which the models do without. OM runs over a grid of
settings in a Python of its own (`pip install ondamonitor 'numpy<2'`), fed by `om_worker.py`.
Written are finders.json and finders.md; see `benchmarks.finder_figures` for what is compared and
how OM's settings are chosen.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import IO

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.finder_figures import Experiment, Row, Setting, Terms, markdown, rows
from hitfinder.dataset.frames import FrameRef, Label, Series
from hitfinder.dataset.series import open_series
from hitfinder.errors import HitfinderError
from hitfinder.evaluation.measures import kept_at
from hitfinder.evaluation.scores import read_region, run_names
from hitfinder.images.reader import RegionReader
from hitfinder.images.region import RegionSettings, plan_region
from hitfinder.inference.onnx_model import OnnxModel
from hitfinder.peaks.finder import plan_peaks
from hitfinder.peaks.rings import radius_map
from hitfinder.peaks.settings import PeakSettings

NO_THRESHOLD = -1e6
"""OM has no word for off."""

ADC_THRESHOLDS = (NO_THRESHOLD, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 300.0)
MIN_SNRS = (3.0, 4.0, 5.0, 6.0, 8.0)
MIN_PIXELS = (1, 2, 3)
GRID: tuple[Setting, ...] = tuple(product(ADC_THRESHOLDS, MIN_SNRS, MIN_PIXELS))
"""Units differ from file to file, hence thresholds from two photons to hundreds of counts."""

BATCH_PIXELS = 2**25
"""128 MiB of float32 a batch."""

PEAKS = "peaks"
AGREE_PX = 1.0
AGREE_FRAMES = 20
_WORKER = Path(__file__).with_name("om_worker.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Peaks of some of an experiment's strong hits, found by ours and by OM at our default
    settings, and how many of each lie within a pixel of one of the other's.
    """

    experiment: str
    frames: int
    ours: int
    om: int
    ours_matched: int
    om_matched: int


class Om:
    """The worker at the other end of two pipes; made by `om_worker`."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path) -> None:
        self._folder = folder
        self._to, self._answers = _pipe(process.stdin), _pipe(process.stdout)

    def count(
        self,
        frames: NDArray[np.float32],
        radius_px: NDArray[np.float32],
        settings: Sequence[Setting],
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Peaks (n, settings) of frames (n, rows, cols), and those of the first setting one by
        one: (k, 3) frame, x_px, y_px.
        """
        places = {
            name: str(self._folder / f"{name}.npy")
            for name in ("frames", "radius", "counts", "peaks")
        }
        np.save(places["frames"], frames)
        np.save(places["radius"], radius_px)
        self._to.write(json.dumps({**places, "settings": list(settings)}) + "\n")
        self._to.flush()
        if not self._answers.readline():
            raise HitfinderError("OM's worker died; its words are above")
        return np.load(places["counts"]), np.load(places["peaks"])


@contextmanager
def om_worker(python: Path) -> Iterator[Om]:
    """A worker in another Python."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [str(python), str(_WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        with process:
            yield Om(process, Path(folder))


def judge(
    name: str, series: Series, models: Sequence[OnnxModel], om: Om, limit: int | None
) -> tuple[Experiment, Agreement]:
    """Every finder's scores of an experiment's hits and misses."""
    frames = [each for each in series.frames if each.truth in ("hit", "miss")][:limit]
    settings = PeakSettings()
    same: Setting = (NO_THRESHOLD, settings.min_snr, settings.min_pixels)
    reader = plan_region(RegionSettings(kind="whole"), series.shape, series.detector, None)
    beam_x_px, beam_y_px = series.detector.beam_x_px, series.detector.beam_y_px
    if beam_x_px is None or beam_y_px is None or not frames:
        raise HitfinderError(f"{name}: needs a beam centre, and frames labelled hit or miss")
    finder = plan_peaks(reader.shape, settings, beam_x_px=beam_x_px, beam_y_px=beam_y_px)
    radius_px = radius_map(reader.shape, (beam_y_px, beam_x_px))
    size = max(1, BATCH_PIXELS // radius_px.size)
    scores: dict[str, list[float]] = {name: [] for name in (*(m.card.name for m in models), PEAKS)}
    om_counts, labels, agreements = [], [], []
    for start in range(0, len(frames), size):
        batch, read = _read(frames[start : start + size], reader)
        labels += read
        for model in models:
            scores[model.card.name] += [float(model.score(one[None])[0]) for one in batch]
        found = [finder.find(one) for one in batch]
        scores[PEAKS] += [float(len(peaks)) for peaks in found]
        counts, positions = om.count(batch, radius_px, (same, *GRID))
        om_counts.append(counts[:, 1:])
        ours = [np.stack([peaks.col_px, peaks.row_px], axis=1) for peaks in found]
        agreements += [
            (ours[place], positions[positions[:, 0] == place, 1:])
            for place, label in enumerate(read)
            if label.truth == "hit" and label.tier != "weak"
        ]
        print(f"{name}: {len(labels)} of {len(frames)} frames", file=sys.stderr)
    arrays = {key: np.array(values, np.float64) for key, values in scores.items()}
    experiment = Experiment(
        name=name,
        hit=np.array([each.truth == "hit" for each in labels], np.bool_),
        strong=np.array([each.truth == "hit" and each.tier != "weak" for each in labels]),
        weak=np.array([each.tier == "weak" for each in labels], np.bool_),
        artefacts=tuple(each.artefacts for each in labels),
        scores=arrays,
        kept={
            each.card.name: kept_at(arrays[each.card.name], each.card.threshold) for each in models
        },
        om=np.concatenate(om_counts),
    )
    return experiment, _agreement(name, agreements[:AGREE_FRAMES])


def _read(
    frames: Sequence[FrameRef], reader: RegionReader
) -> tuple[NDArray[np.float32], list[Label]]:
    """The regions (n, H, W) of those frames that can be read, and their labels."""
    batch = np.empty((len(frames), *reader.shape), np.float32)
    labels: list[Label] = []
    for frame in frames:
        problem = read_region(frame, reader, batch[len(labels)])
        if problem is not None:
            print(problem, file=sys.stderr)
        elif frame.label is not None:
            labels.append(frame.label)
    return batch[: len(labels)], labels


def _agreement(
    name: str, lists: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]
) -> Agreement:
    """From (k, 2) positions of ours and of OM's, a pair for each frame."""
    return Agreement(
        experiment=name,
        frames=len(lists),
        ours=sum(len(ours) for ours, _ in lists),
        om=sum(len(theirs) for _, theirs in lists),
        ours_matched=sum(_matched(ours, theirs) for ours, theirs in lists),
        om_matched=sum(_matched(theirs, ours) for ours, theirs in lists),
    )


def _matched(these: NDArray[np.float64], those: NDArray[np.float64]) -> int:
    if not len(these) or not len(those):
        return 0
    apart = np.hypot(*(these[:, None] - those[None]).transpose(2, 0, 1))  # (k, l) pixels
    return int((apart.min(axis=1) <= AGREE_PX).sum())


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise HitfinderError("OM's worker was started without pipes")
    return pipe


def _agreed(agreements: Sequence[Agreement]) -> str:
    lines = [
        "## Peak lists",
        "",
        (
            f"Up to {AGREE_FRAMES} strong hits, both finders at our default settings: peaks within "
            f"{AGREE_PX:g} pixel of one of the other's."
        ),
        "",
        "| experiment | frames | ours | also OM's | OM's | also ours |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {a.experiment} | {a.frames} | {a.ours} | {a.ours_matched} | {a.om} | {a.om_matched} |"
        for a in agreements
    ]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    terms: Terms
    rows: list[Row]
    agreements: list[Agreement]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--om", type=Path, required=True, help="a Python that has ondamonitor")
    parser.add_argument("--model", type=Path, action="append", default=[], help="artifact folder")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tables")
    parser.add_argument("--specificity", type=float, default=0.97)
    parser.add_argument("--sensitivity", type=float, default=0.98)
    parser.add_argument("--limit", type=int, help="use the first so many frames of each file")
    options = parser.parse_args()
    terms = Terms(specificity=options.specificity, sensitivity=options.sensitivity)
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        models = [OnnxModel.load(folder, "cpu") for folder in options.model]
        series = open_series(options.files)
        with om_worker(options.om) as om:
            judged = [
                judge(name, one, models, om, options.limit)
                for name, one in zip(run_names(series), series, strict=True)
            ]
    except (HitfinderError, OSError) as error:
        sys.exit(f"finders: {error}")
    experiments = [experiment for experiment, _ in judged]
    result = _Result(
        terms=terms, rows=rows(experiments, GRID, terms), agreements=[each for _, each in judged]
    )
    text = markdown(result.rows) + "\n" + _agreed(result.agreements)
    (options.out / "finders.md").write_text(text)
    encoded = msgspec.json.format(msgspec.json.encode(result), indent=2)
    (options.out / "finders.json").write_bytes(encoded + b"\n")
    print(text)


if __name__ == "__main__":
    main()
