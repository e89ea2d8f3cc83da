"""The words: the same every time, aligned, and with gaps where nothing was measured."""

import json
import math

import pytest

from hitfinder.evaluation.measures import evaluate
from hitfinder.evaluation.report import Report, as_json, as_markdown, make_report
from hitfinder.evaluation.scores import RunScores
from tests.evaluation.runs import MISS, SALT, STRONG, WEAK, random_run, scored
from tests.inference.artifacts import card


def report_on(*runs: RunScores) -> Report:
    return make_report(
        card(),
        evaluate(runs, 0.5),
        region="whole frames",
        threshold_from="the model's card",
        problems=["run.h5, frame 3: damaged"],
    )


def tables(markdown: str) -> dict[str, list[list[str]]]:
    """Cells of the table under each heading."""
    found: dict[str, list[list[str]]] = {}
    heading = ""
    for line in markdown.splitlines():
        if line.startswith("## "):
            heading = line[3:]
        elif line.startswith("| "):
            found.setdefault(heading, []).append([cell.strip() for cell in line[1:-1].split("|")])
    return found


RUN = scored(
    "run 90",
    *[(0.9, STRONG)] * 3,
    (0.2, WEAK),
    *[(0.1, MISS)] * 4,
    *[(0.1, SALT), (0.8, SALT)],
    (math.nan, MISS),
)


def test_the_rows_are_those_of_the_papers_table() -> None:
    told = tables(as_markdown(report_on(RUN, scored("run 91", (0.4, MISS)))))
    head, first, second, last = told["By run"]
    assert head == ["run", "events", "hit share", "Sen", "Spe", "Acc", "AUC"]
    assert first[:3] == ["run 90", "10", "0.4000"]
    assert first[3:6] == [
        "0.7500 (0.301–0.954)",
        "0.8333 (0.436–0.970)",
        "0.8000 (0.490–0.943)",
    ]
    assert second[:4] == ["run 91", "1", "0.0000", "–"]
    assert second[4:] == ["1.0000 (0.207–1.000)", "1.0000 (0.207–1.000)", "–"]
    assert last[:2] == ["all", "11"]
    assert told["Misses by artefact"][1][:2] == ["salt", "2"]
    assert told["Frames"][1] == ["run 90", "11", "3", "1", "1", "5", "0", "0", "1"]
    assert told["By what is in the frames"][1][1:4:2] == ["3", "1"]


def test_the_text_names_the_worst_runs_the_model_and_the_pictures() -> None:
    text = as_markdown(report_on(RUN, scored("run 91", (0.4, MISS))), ["roc.png"])
    assert "Lowest sensitivity: 0.7500 (0.301–0.954) in run 90." in text
    assert "Lowest specificity: 0.8333 (0.436–0.970) in run 90." in text
    assert "# toy 1\n\nThreshold 0.5 (the model's card); region whole frames" in text
    assert "- run.h5, frame 3: damaged" in text
    assert text.endswith("![roc](roc.png)\n")


def test_one_run_has_no_row_for_all() -> None:
    text = as_markdown(report_on(RUN))
    assert [row[0] for row in tables(text)["By run"]] == ["run", "run 90"]
    assert "Lowest" not in text


def test_tables_line_up_in_a_terminal() -> None:
    text = as_markdown(report_on(RUN, random_run(1, name="a|very-long-name-")))
    for block in text.split("\n\n"):
        if block.startswith("|"):
            assert len({len(line) for line in block.splitlines()}) == 1
    assert "a\\|very-long-name-1" in text


def test_json_holds_what_was_measured() -> None:
    made = report_on(RUN, random_run(1))
    read = json.loads(as_json(made))
    assert read["model"] == "toy"
    assert read["evaluation"]["threshold"] == 0.5
    row = read["evaluation"]["runs"][0]
    assert row["sensitivity"]["value"] == 0.75
    assert row["sensitivity"]["low"] == pytest.approx(0.3006, abs=1e-4)
    assert row["artefacts"][0]["artefact"] == "salt"
    assert read["problems"] == ["run.h5, frame 3: damaged"]


def test_equal_measures_give_equal_bytes() -> None:
    first, again = (report_on(RUN, random_run(4)) for _ in range(2))
    assert as_json(first) == as_json(again)
    assert as_markdown(first) == as_markdown(again)
