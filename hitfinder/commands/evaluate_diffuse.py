"""`hitfinder evaluate` for diffuse models: Table I of Su's report, every method in a row."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import typer
from numpy.typing import NDArray

from hitfinder.commands.evaluate import check_threshold, make_folder
from hitfinder.commands.progress import progress_bar
from hitfinder.commands.regions import REGIONS
from hitfinder.dataset.frames import Series, about_diffuse
from hitfinder.dataset.labels import apply_labels
from hitfinder.dataset.series import open_series
from hitfinder.errors import ArtifactError, ConfigError, DataFileError
from hitfinder.evaluation.diffuse_plots import plot_embedding, plot_seen, plot_worst_diffuse
from hitfinder.evaluation.diffuse_table import (
    HALF,
    DiffuseMeasures,
    diffuse_table,
    measure_diffuse,
)
from hitfinder.evaluation.report import JSON, MARKDOWN
from hitfinder.evaluation.scores import RunScores, frame_name, read_region, run_names
from hitfinder.images.region import plan_region
from hitfinder.inference.model_card import find_artifact
from hitfinder.inference.onnx_model import OnnxModel
from hitfinder.training.diffuse_methods.diffusion_map import COORDINATES
from hitfinder.training.diffuse_methods.methods import METHODS
from hitfinder.training.diffuse_methods.prepared import Prepared, Preparer, joined

EXPLAINED = (
    "Precision: share of the frames called so that are so. Recall: share of the frames that are so "
    "and are called so. Overall: share of all that are called right. In per cent, in brackets 95 % "
    "intervals (Wilson 1927). The time is that of one core. Frames that nobody called diffuse or "
    "not are left out."
)


@dataclass(slots=True, kw_only=True)
class _Pass:
    """What one pass over the frames gives. In the order of the frames that were judged: which one
    of which series each is, its truth, every model's scores and embeddings, and, for methods that
    learn from frames, what they compare.
    """

    places: list[tuple[int, int]] = field(default_factory=list)
    is_diffuse: list[bool] = field(default_factory=list)
    scores: dict[str, list[float]] = field(default_factory=dict)
    embeddings: dict[str, list[NDArray[np.float32]]] = field(default_factory=dict)
    prepared: list[Prepared] = field(default_factory=list)
    spent_s: dict[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scored:
    """A method's scores (n,) of all judged frames, and its place in an embedding (n, k), if any."""

    name: str
    scores: NDArray[np.float64]
    threshold: float
    s_a_frame: float
    points: NDArray[np.float64] | None


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
    check_threshold(threshold)
    sessions = _load(models)
    series, known = _labelled(files, learn, labels)
    make_folder(out)
    found = _go_through(series, sessions, prepare=bool(learn))
    methods = [
        _Scored(
            name=name,
            scores=np.array(found.scores[name], np.float64),
            threshold=session.card.threshold if threshold is None else threshold,
            s_a_frame=found.spent_s[name] / len(found.places),
            points=_joined(found.embeddings.get(name)),
        )
        for name, session in sessions.items()
    ]
    if learn:
        methods += _learned(_go_through(known, {}, prepare=True), found)
    rows = [_row(each, each.name, found, each.s_a_frame) for each in methods]
    by_run = [
        _row(each, f"{name}, {each.name}", found, None, of=number)
        for number, name in enumerate(run_names(series))
        for each in methods
        if len(series) > 1
    ]
    maps = {each.name: each.points for each in methods if each.points is not None}
    pictures = ["worst.png", "seen.png", *(["embedding.png"] if maps else [])]
    # The numbers first: they must not be lost with a picture that cannot be drawn.
    _write(out, rows, by_run, found.problems, pictures)
    for problem in found.problems:
        typer.echo(f"hitfinder: {problem}", err=True)
    typer.echo(diffuse_table(rows))
    if maps:
        plot_embedding(out / "embedding.png", maps, np.array(found.is_diffuse))
    session = next(iter(sessions.values()))
    plot_worst_diffuse(out / "worst.png", _run_scores(methods[0], found, series), series, session)
    plot_seen(out / "seen.png", _seen(methods[0], found, series, sessions))
    typer.echo(f"{len(found.places)} frames; {out / MARKDOWN}, {JSON} and pictures written")
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


def _labelled(
    files: Sequence[Path], learn: Sequence[Path], labels: Path | None
) -> tuple[list[Series], list[Series]]:
    """What is judged, and what is learned from; one table labels both."""
    series, known = open_series(files), open_series(learn)
    _check_apart(series, known)
    if labels is not None:
        both = apply_labels([*series, *known], labels)
        series, known = both[: len(series)], both[len(series) :]
    return _about_diffuse(files, series), _about_diffuse(learn, known)


def _about_diffuse(files: Sequence[Path], series: Sequence[Series]) -> list[Series]:
    asked = [about_diffuse(one) for one in series]
    said = {frame.truth for one in asked for frame in one.frames}
    if files and not {"hit", "miss"} <= said:
        raise DataFileError(
            f"{files[0]}: needs frames labelled diffuse and others labelled not diffuse; give "
            "--labels CSV with a column 'diffuse', or HDF5 files with /entry/truth/diffuse"
        )
    return asked


def _check_apart(series: Sequence[Series], known: Sequence[Series]) -> None:
    """Raises ConfigError when a file is judged that was learned from, through another as well."""
    learned = {path.resolve() for each in known for path in _files(each)}
    for path in (path for each in series for path in _files(each)):
        if path.resolve() in learned:
            raise ConfigError(f"--learn {path}: is judged as well; name other frames")


def _files(series: Series) -> list[Path]:
    return [*(ref.path for ref in series.frames), *sorted(series.made_of)]


def _go_through(
    series: Sequence[Series], sessions: dict[str, OnnxModel], *, prepare: bool
) -> _Pass:
    """Every labelled frame read once, and shown to all."""
    found = _Pass(
        scores={name: [] for name in sessions},
        spent_s=dict.fromkeys([*sessions, PREPARING], 0.0),
    )
    with progress_bar() as progress:
        task = progress.add_task("judging", total=sum(len(each.frames) for each in series))
        for number, one in enumerate(series):
            reader = plan_region(REGIONS["whole"], one.shape, one.detector, None)
            preparer = Preparer(one.detector) if prepare else None
            image = np.empty((1, *reader.shape), np.float32)
            for place, ref in enumerate(one.frames):
                progress.advance(task)
                if ref.truth not in ("hit", "miss"):
                    continue
                problem = read_region(ref, reader, image[0])
                if problem is not None:
                    found.problems.append(problem)
                    continue
                found.places.append((number, place))
                found.is_diffuse.append(ref.truth == "hit")
                for name, session in sessions.items():
                    started = time.process_time()
                    outputs = session.outputs(image)
                    found.spent_s[name] += time.process_time() - started
                    score = float(outputs["score"][0])
                    found.scores[name].append(score)
                    if not np.isfinite(score):
                        found.problems.append(
                            f"{frame_name(ref)}: {name} gave a score that is no number"
                        )
                    if "embedding" in outputs:
                        found.embeddings.setdefault(name, []).append(outputs["embedding"])
                if preparer is not None:
                    started = time.process_time()
                    found.prepared.append(preparer.one(image[0]))
                    found.spent_s[PREPARING] += time.process_time() - started
    if not found.places:
        raise DataFileError(f"none of the frames can be judged; first: {found.problems[0]}")
    return found


def _joined(parts: list[NDArray[np.float32]] | None) -> NDArray[np.float64] | None:
    return np.concatenate(parts).astype(np.float64) if parts else None


def _learned(before: _Pass, found: _Pass) -> list[_Scored]:
    """The methods that learn from the frames `before`. Raises DataFileError where too few of either
    could be read.
    """
    if len(set(before.is_diffuse)) < 2:
        raise DataFileError("--learn: needs diffuse frames and others that can be read; add both")
    train, test = joined(before.prepared), joined(found.prepared)
    if (count := len(train) + len(test)) <= COORDINATES:
        raise DataFileError(
            f"--learn: {count} frames, judged ones included, are too few for a map of "
            f"{COORDINATES} coordinates; add frames, or leave it out"
        )
    labels = np.array(before.is_diffuse)
    preparing_s = found.spent_s[PREPARING] / len(test)
    methods = []
    for name, method in METHODS.items():
        started = time.process_time()
        judged = method(train, labels, test)
        together_s = (time.process_time() - started) / (len(train) + len(test))
        methods.append(
            _Scored(
                name=name,
                scores=judged.scores,
                threshold=HALF,
                s_a_frame=preparing_s + together_s,
                points=judged.points,
            )
        )
    return methods


def _row(
    method: _Scored, name: str, found: _Pass, s_a_frame: float | None, of: int | None = None
) -> DiffuseMeasures:
    """Of all frames, or of the series `of`."""
    some = np.isfinite(method.scores)
    if of is not None:
        some &= np.array([number == of for number, _ in found.places])
    return measure_diffuse(
        name,
        method.scores[some],
        np.array(found.is_diffuse)[some],
        threshold=method.threshold,
        ms_a_frame=None if s_a_frame is None else 1e3 * s_a_frame,
    )


def _run_scores(method: _Scored, found: _Pass, series: Sequence[Series]) -> list[RunScores]:
    """The same by run, NaN for frames that were not judged."""
    scores = [np.full(len(each.frames), np.nan) for each in series]
    for (number, place), score in zip(found.places, method.scores.tolist(), strict=True):
        scores[number][place] = score
    return [
        RunScores(run=name, scores=of, labels=tuple(ref.label for ref in each.frames))
        for name, of, each in zip(run_names(series), scores, series, strict=True)
    ]


def _seen(
    method: _Scored, found: _Pass, series: Sequence[Series], sessions: dict[str, OnnxModel]
) -> dict[str, dict[str, NDArray[np.float32]]]:
    """What is seen of a frame of each class, the one in the middle of its class by the method's
    scores.
    """
    frames: dict[str, dict[str, NDArray[np.float32]]] = {}
    names, is_diffuse = run_names(series), np.array(found.is_diffuse)
    for name, some in (("diffuse", is_diffuse), ("other", ~is_diffuse)):
        of = np.flatnonzero(some)
        if not len(of):
            continue  # none of them could be read
        chosen = int(of[np.argsort(method.scores[of])[len(of) // 2]])
        number, place = found.places[chosen]
        one = series[number]
        reader = plan_region(REGIONS["whole"], one.shape, one.detector, None)
        image = np.empty((1, *reader.shape), np.float32)
        if read_region(one.frames[place], reader, image[0]) is not None:
            continue  # read a minute ago: told in the numbers if it could not be
        pictures = {"frame": image[0]}
        for model, session in sessions.items():
            relief = session.outputs(image).get("relief")
            if relief is not None:
                pictures[model] = relief[0]
        if found.prepared:
            pictures["Euclidean, correlation"] = found.prepared[chosen].grid[0]
            pictures["common line"] = found.prepared[chosen].polar[0]
        frames[f"{name}: {names[number]} #{place}"] = pictures
    return frames


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
