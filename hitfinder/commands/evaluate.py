"""`hitfinder evaluate`: labelled files to measures, a report and pictures."""

import os
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.table import Table

from hitfinder.commands.progress import progress_bar
from hitfinder.commands.regions import REGIONS, check_region
from hitfinder.commands.tables import print_table
from hitfinder.dataset.frames import Series, check_given_once
from hitfinder.dataset.series import open_series
from hitfinder.errors import ArtifactError, ConfigError, DataFileError
from hitfinder.evaluation.curves import CURVES, read_curves
from hitfinder.evaluation.frame_plots import plot_worst
from hitfinder.evaluation.measures import Evaluation, RunMeasures, evaluate
from hitfinder.evaluation.plots import (
    plot_confusion,
    plot_curves,
    plot_roc,
    plot_runs,
    plot_scores,
)
from hitfinder.evaluation.report import (
    JSON,
    MARKDOWN,
    as_json,
    as_markdown,
    make_report,
    share_text,
    value_text,
)
from hitfinder.evaluation.scores import RunScores, run_names, score_series
from hitfinder.images.region import RegionSettings
from hitfinder.inference.model_card import find_artifact
from hitfinder.inference.onnx_model import OnnxModel

PLOTS = ("runs.png", "roc.png", "scores.png", "confusion.png", "worst.png")

_WORDS = {
    "center": "the centred 350 x 350 pixels",
    "whole": "whole frames",
}


def run(
    files: list[Path],
    *,
    model: str,
    out: Path,
    labels: Path | None = None,
    region: str = "center",
    threshold: float | None = None,
) -> int:
    """Exit status 0 when every frame got a score."""
    check_region(region)
    check_threshold(threshold)
    artifact = find_artifact(model, Path.cwd())
    session = OnnxModel.load(artifact)
    if session.card.task != "hit":
        raise ArtifactError(f"{artifact} is a model for {session.card.task!r}, not for 'hit'")
    at = session.card.threshold if threshold is None else threshold
    series = _labelled(files, labels)
    make_folder(out)
    runs = _score(series, session, REGIONS[region])
    evaluation = evaluate(runs, at)
    report = make_report(
        session.card,
        evaluation,
        region=_WORDS[region],
        threshold_from="the model's card" if threshold is None else "--threshold",
        problems=[problem for each in runs for problem in each.problems],
    )
    # The numbers first: they must not be lost with a picture that cannot be drawn.
    has_curves = (artifact / CURVES).is_file()
    plots = [*PLOTS, "curves.png"] if has_curves else [*PLOTS]
    (out / MARKDOWN).write_text(as_markdown(report, plots), encoding="utf-8")
    (out / JSON).write_bytes(as_json(report))
    for problem in report.problems:
        typer.echo(f"hitfinder: {problem}", err=True)
    _print(evaluation)
    plot_runs(out / "runs.png", evaluation)
    plot_roc(out / "roc.png", runs, evaluation)
    plot_scores(out / "scores.png", runs, evaluation)
    plot_confusion(out / "confusion.png", runs, evaluation)
    plot_worst(out / "worst.png", runs, series, session, REGIONS[region])
    if has_curves:
        plot_curves(out / "curves.png", read_curves(artifact / CURVES))
    typer.echo(
        f"model {session.card.name}, threshold {at:g}, {_WORDS[region]}, {session.device}; "
        f"{out / MARKDOWN}, {JSON} and pictures written"
    )
    return 1 if report.problems else 0


def check_threshold(threshold: float | None) -> None:
    """Raises ConfigError for one that no score can reach, or that none can miss."""
    if threshold is not None and not 0.0 <= threshold <= 1.0:
        raise ConfigError(f"--threshold {threshold:g}: a score lies between 0 and 1")


def make_folder(out: Path) -> None:
    """Raises ConfigError unless it can be made and written to."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"cannot make the folder {out}: {error.strerror}; name another"
        ) from error
    if not os.access(out, os.W_OK):
        raise ConfigError(f"cannot write in {out}: no right to; name another folder")


def _labelled(files: list[Path], labels: Path | None) -> list[Series]:
    """The series with their labels. Raises DataFileError when no frame is labelled hit or miss."""
    series = open_series(files)
    check_given_once(series)
    if labels is not None:
        from hitfinder.dataset.labels import apply_labels

        series = apply_labels(series, labels)
    if not any(frame.truth in ("hit", "miss") for each in series for frame in each.frames):
        raise DataFileError(
            "no frame is labelled hit or miss: give --labels CSV, or HDF5 files with "
            "/entry/truth/hit"
        )
    return series


def _score(series: Sequence[Series], model: OnnxModel, region: RegionSettings) -> list[RunScores]:
    with progress_bar() as progress:
        task = progress.add_task("judging", total=sum(len(each.frames) for each in series))
        return [
            score_series(
                each,
                model,
                region,
                run=name,
                scored=lambda n_frames: progress.advance(task, n_frames),
            )
            for each, name in zip(series, run_names(series), strict=True)
        ]


def _print(evaluation: Evaluation) -> None:
    table = Table(box=None)
    for name in ("run", "events", "hit share", "Sen", "Spe", "Acc", "AUC"):
        table.add_column(name, justify="left" if name == "run" else "right", overflow="fold")
    for row in evaluation.rows:
        table.add_row(*_cells(row))
    print_table(table)


def _cells(row: RunMeasures) -> tuple[str, ...]:
    return (
        row.run,
        str(row.events),
        value_text(row.hit_share),
        share_text(row.sensitivity),
        share_text(row.specificity),
        value_text(row.accuracy),
        value_text(row.auc),
    )
