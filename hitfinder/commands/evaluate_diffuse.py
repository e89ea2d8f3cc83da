"""`hitfinder evaluate` for diffuse models: Table I of Su's report, every method in a row."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from hitfinder.commands.evaluate import make_folder
from hitfinder.dataset.frames import Series, about_diffuse
from hitfinder.dataset.labels import apply_labels
from hitfinder.dataset.series import open_series
from hitfinder.errors import ArtifactError, ConfigError, DataFileError
from hitfinder.evaluation.diffuse_plots import plot_embedding, plot_worst_diffuse
from hitfinder.evaluation.diffuse_table import DiffuseMeasures, diffuse_table, measure_diffuse
from hitfinder.evaluation.report import JSON, MARKDOWN
from hitfinder.evaluation.scores import RunScores, read_region, run_names
from hitfinder.images.region import RegionSettings, plan_region
from hitfinder.inference.model_card import find_artifact
from hitfinder.inference.onnx_model import OnnxModel
from hitfinder.training.diffuse_methods.diffusion_map import embedded
from hitfinder.training.diffuse_methods.methods import METHODS
from hitfinder.training.diffuse_methods.prepared import Prepared, Preparer, joined
from hitfinder.training.diffuse_methods.similarity import common_line

WHOLE = RegionSettings(kind="whole")

EXPLAINED = (
    "Precision: share of the frames called so that are so. Recall: share of the frames that are so "
    "and are called so. Overall: share of all that are called right. In per cent, in brackets 95 % "
    "intervals (Wilson 1927). The time is that of one core. Frames that nobody called diffuse or "
    "not are left out."
)


@dataclass(slots=True, kw_only=True)
class _Pass:
    """What one pass over the frames gives: each model's scores by run (NaN for a frame without
    one), and for methods that learn from frames those frames and their truth.
    """

    runs: dict[str, list[RunScores]]
    embeddings: dict[str, list[NDArray[np.float32]]]
    spent_s: dict[str, float]
    frames: int = 0
    is_diffuse: list[bool] = field(default_factory=list)
    prepared: list[Prepared] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


PREPARING = "preparing"


def run(
    files: list[Path],
    *,
    models: Sequence[str],
    out: Path,
    labels: Path | None,
    learn: Sequence[Path],
    threshold: float | None,
) -> int:
    """Exit status 0 when every labelled frame got its scores. `learn` are files that the methods
    without a model learn from; without them those are left out.
    """
    if threshold is not None and not 0.0 <= threshold <= 1.0:
        raise ConfigError(f"--threshold {threshold:g}: a score lies between 0 and 1")
    make_folder(out)
    sessions = _load(models)
    series = _labelled(files, labels)
    known = _labelled(list(learn), labels) if learn else []
    found = _go_through(series, sessions, prepare=bool(learn))
    is_diffuse = np.array(found.is_diffuse)
    rows = []
    for name, session in sessions.items():
        at = session.card.threshold if threshold is None else threshold
        rows.append(_row(name, found.runs[name], at, found.spent_s[name] / found.frames))
    pictures = ["worst.png"]
    maps: dict[str, NDArray[np.float64]] = {
        name: np.concatenate(points).astype(np.float64)
        for name, points in found.embeddings.items()
        if points
    }
    if learn:
        before = _go_through(known, {}, prepare=True)
        both = joined([joined(before.prepared), joined(found.prepared)])
        rows += _learned(before, found, is_diffuse)
        maps["diffusion map, common line"] = embedded(common_line(both))[len(before.prepared) :]
    if maps:
        plot_embedding(out / "embedding.png", maps, is_diffuse)
        pictures.append("embedding.png")
    first, session = next(iter(sessions.items()))
    plot_worst_diffuse(out / "worst.png", found.runs[first], series, session)
    by_run = [
        _row(f"{each.run}, {name}", [each], session.card.threshold, None)
        for name, session in sessions.items()
        for each in found.runs[name]
        if len(series) > 1
    ]
    _write(out, rows, by_run, found.problems, pictures)
    for problem in found.problems:
        typer.echo(f"hitfinder: {problem}", err=True)
    typer.echo(diffuse_table(rows))
    typer.echo(f"{found.frames} frames; {out / MARKDOWN}, {JSON} and pictures written")
    return 1 if found.problems else 0


def _load(models: Sequence[str]) -> dict[str, OnnxModel]:
    """Sessions by name. Raises ArtifactError for a model of another task."""
    sessions: dict[str, OnnxModel] = {}
    for each in models:
        artifact = find_artifact(each, Path.cwd())
        session = OnnxModel.load(artifact, "cpu")
        if session.card.task != "diffuse":
            raise ArtifactError(f"{artifact} is a model for {session.card.task!r}, not 'diffuse'")
        sessions[session.card.name if session.card.name not in sessions else each] = session
    return sessions


def _labelled(files: list[Path], labels: Path | None) -> list[Series]:
    series = open_series(files)
    if labels is not None:
        series = apply_labels(series, labels)
    series = [about_diffuse(one) for one in series]
    said = {frame.truth for one in series for frame in one.frames}
    if not {"hit", "miss"} <= said:
        raise DataFileError(
            f"{files[0]}: needs frames labelled diffuse and others labelled not diffuse; give "
            "--labels CSV with a column 'diffuse', or HDF5 files with /entry/truth/diffuse"
        )
    return series


def _go_through(
    series: Sequence[Series], sessions: dict[str, OnnxModel], *, prepare: bool
) -> _Pass:
    """Every labelled frame read once, and shown to all."""
    found = _Pass(
        runs={name: [] for name in sessions},
        embeddings={name: [] for name in sessions},
        spent_s=dict.fromkeys([*sessions, PREPARING], 0.0),
    )
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("judging", total=sum(len(each.frames) for each in series))
        for one, run_name in zip(series, run_names(series), strict=True):
            reader = plan_region(WHOLE, one.shape, one.detector, None)
            preparer = Preparer(one.detector) if prepare else None
            image = np.empty((1, *reader.shape), np.float32)
            scores = {name: np.full(len(one.frames), np.nan) for name in sessions}
            for number, ref in enumerate(one.frames):
                progress.advance(task)
                if ref.truth not in ("hit", "miss"):
                    continue
                problem = read_region(ref, reader, image[0])
                if problem is not None:
                    found.problems.append(problem)
                    continue
                found.frames += 1
                found.is_diffuse.append(ref.truth == "hit")
                for name, session in sessions.items():
                    started = time.process_time()
                    outputs = session.outputs(image)
                    found.spent_s[name] += time.process_time() - started
                    scores[name][number] = outputs["score"][0]
                    if "embedding" in outputs:
                        found.embeddings[name].append(outputs["embedding"])
                if preparer is not None:
                    started = time.process_time()
                    found.prepared.append(preparer.one(image[0]))
                    found.spent_s[PREPARING] += time.process_time() - started
            for name, of in scores.items():
                truths = tuple(ref.label for ref in one.frames)
                found.runs[name].append(RunScores(run=run_name, scores=of, labels=truths))
    return found


def _row(
    name: str, runs: Sequence[RunScores], threshold: float, s_a_frame: float | None
) -> DiffuseMeasures:
    scores = np.concatenate([each.scores for each in runs])
    truths = np.array([label.truth if label else "" for each in runs for label in each.labels])
    judged = np.isfinite(scores)
    return measure_diffuse(
        name,
        scores[judged],
        truths[judged] == "hit",
        threshold=threshold,
        ms_a_frame=None if s_a_frame is None else 1e3 * s_a_frame,
    )


def _learned(before: _Pass, found: _Pass, is_diffuse: NDArray[np.bool_]) -> list[DiffuseMeasures]:
    """Rows of the methods that learn from the frames `before`."""
    train, test = joined(before.prepared), joined(found.prepared)
    labels = np.array(before.is_diffuse)
    preparing_s = found.spent_s[PREPARING] / found.frames
    rows = []
    for name, method in METHODS.items():
        started = time.process_time()
        scores = method(train, labels, test)
        together_s = (time.process_time() - started) / (len(train) + len(test))
        rows.append(
            measure_diffuse(name, scores, is_diffuse, ms_a_frame=1e3 * (preparing_s + together_s))
        )
    return rows


def _write(
    out: Path,
    rows: Sequence[DiffuseMeasures],
    by_run: Sequence[DiffuseMeasures],
    problems: Sequence[str],
    pictures: Sequence[str],
) -> None:
    parts = ["# Diffuse scattering", diffuse_table(rows), EXPLAINED]
    if by_run:
        parts += ["## By run", diffuse_table(by_run)]
    if problems:
        parts += ["## Frames without a score", "\n".join(f"- {line}" for line in problems)]
    parts += [f"![{Path(name).stem}]({name})" for name in pictures]
    (out / MARKDOWN).write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    content = msgspec.json.encode({"rows": rows, "by_run": by_run, "problems": problems})
    (out / JSON).write_bytes(msgspec.json.format(content, indent=2) + b"\n")
