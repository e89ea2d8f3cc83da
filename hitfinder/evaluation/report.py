"""Measures to words: Markdown that reads well in a terminal, and JSON.

The same measures give the same bytes; no clock is read. What this file does not know: how the
measures were made.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from hitfinder.evaluation.measures import Area, Evaluation, RunMeasures, Share
from hitfinder.inference.model_card import ModelCard

MARKDOWN = "report.md"
JSON = "report.json"
UNDEFINED = "–"

_Columns = dict[str, Callable[[RunMeasures], str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was evaluated, and what came out. `region` is in words; `threshold_from` says where
    the threshold comes from; `problems` are the frames without a score, a line each.
    """

    model: str
    version: str
    onnx_sha256: str
    region: str
    threshold_from: str
    evaluation: Evaluation
    problems: tuple[str, ...]


def make_report(
    card: ModelCard,
    evaluation: Evaluation,
    *,
    region: str,
    threshold_from: str,
    problems: Sequence[str],
) -> Report:
    """A report on the model of a card."""
    return Report(
        model=card.name,
        version=card.version,
        onnx_sha256=card.onnx_sha256,
        region=region,
        threshold_from=threshold_from,
        evaluation=evaluation,
        problems=tuple(problems),
    )


def as_json(report: Report) -> bytes:
    """The report as indented JSON, keys in the order of the dataclasses."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def as_markdown(report: Report, plots: Sequence[str] = ()) -> str:
    """The report as Markdown; `plots` are names of pictures beside it."""
    evaluation = report.evaluation
    rows = evaluation.rows
    parts = [
        f"# {report.model} {report.version}",
        (
            f"Threshold {evaluation.threshold:.6g} ({report.threshold_from}); region "
            f"{report.region}; model.onnx {report.onnx_sha256[:12]}."
        ),
        "## By run",
        _table(RESULTS, rows),
        _explained(evaluation),
        "## By what is in the frames",
        (
            "Sensitivity on hits with more than 10 spots at signal to noise 5 (strong) or only at "
            "3 (weak); specificity on misses without and with artefacts."
        ),
        _table(KINDS, rows),
    ]
    if evaluation.overall.artefacts:
        parts += [
            "## Misses by artefact",
            "Specificity on all runs' misses that hold the artefact, alone or among others.",
            _grid(
                [["artefact", "misses", "Spe"]]
                + [
                    [each.artefact, str(each.specificity.of), share_text(each.specificity)]
                    for each in evaluation.overall.artefacts
                ]
            ),
        ]
    parts += ["## Frames", _table(COUNTS, rows)]
    if report.problems:
        parts += ["## Frames without a score", "\n".join(f"- {line}" for line in report.problems)]
    parts += [f"![{Path(name).stem}]({name})" for name in plots]
    return "\n\n".join(parts) + "\n"


def share_text(share: Share | Area) -> str:
    """Value and interval, or a dash."""
    if share.value is None:
        return UNDEFINED
    return f"{share.value:.4f} ({share.low:.3f}–{share.high:.3f})"


def value_text(share: Share | Area) -> str:
    """The value alone, or a dash."""
    return UNDEFINED if share.value is None else f"{share.value:.4f}"


RESULTS: _Columns = {
    "run": lambda row: row.run,
    "events": lambda row: str(row.events),
    "hit share": lambda row: value_text(row.hit_share),
    "Sen": lambda row: share_text(row.sensitivity),
    "Spe": lambda row: share_text(row.specificity),
    "Acc": lambda row: share_text(row.accuracy),
    "AUC": lambda row: share_text(row.auc),
}
"""The columns of Table II of Li et al. 2018, and the area under the curve."""

KINDS: _Columns = {
    "run": lambda row: row.run,
    "strong": lambda row: str(row.strong.of),
    "Sen strong": lambda row: share_text(row.strong),
    "weak": lambda row: str(row.weak.of),
    "Sen weak": lambda row: share_text(row.weak),
    "clean": lambda row: str(row.clean.of),
    "Spe clean": lambda row: share_text(row.clean),
    "marred": lambda row: str(row.with_artefacts.of),
    "Spe marred": lambda row: share_text(row.with_artefacts),
}

COUNTS: _Columns = {
    "run": lambda row: row.run,
    "frames": lambda row: str(row.frames),
    "hits kept": lambda row: str(row.sensitivity.count),
    "hits vetoed": lambda row: str(row.sensitivity.of - row.sensitivity.count),
    "misses kept": lambda row: str(row.specificity.of - row.specificity.count),
    "misses vetoed": lambda row: str(row.specificity.count),
    "ambiguous": lambda row: str(row.ambiguous),
    "unlabelled": lambda row: str(row.unlabelled),
    "no score": lambda row: str(row.no_score),
}


def _explained(evaluation: Evaluation) -> str:
    lines = [
        "Sen: share of hits kept. Spe: share of misses vetoed. Acc: share of both that are right. "
        "AUC: share of pairs of a hit and a miss in which the hit scores higher. In brackets 95 % "
        "intervals (Wilson 1927; for AUC Newcombe 2006). Ambiguous frames are dropped.",
    ]
    if len(evaluation.runs) > 1:
        lines += [
            "",
            "The last row pools the frames; its intervals are for more frames of these runs, not "
            "for the next run.",
        ]
    for what, run in (
        ("sensitivity", evaluation.worst_sensitivity),
        ("specificity", evaluation.worst_specificity),
    ):
        if run is not None and len(evaluation.runs) > 1:
            row = next(each for each in evaluation.runs if each.run == run)
            found = row.sensitivity if what == "sensitivity" else row.specificity
            lines += ["", f"Lowest {what}: {share_text(found)} in {run}."]
    return "\n".join(lines)


def _table(columns: _Columns, rows: Sequence[RunMeasures]) -> str:
    return _grid([list(columns)] + [[text(row) for text in columns.values()] for row in rows])


def _grid(rows: list[list[str]]) -> str:
    """A Markdown table whose columns line up: names to the left, numbers to the right."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(len(row[at]) for row in cells) for at in range(len(cells[0]))]

    def line(row: list[str]) -> str:
        first, *rest = (
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "| " + " | ".join([first, *rest]) + " |"

    first, *rest = widths
    rule = "|" + "|".join(["-" * (first + 2), *("-" * (width + 1) + ":" for width in rest)]) + "|"
    return "\n".join([line(cells[0]), rule, *(line(row) for row in cells[1:])])
