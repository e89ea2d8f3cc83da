"""Pages written from the code are as the code is; hand-written ones name everything there is."""

import re
import sqlite3
from pathlib import Path

import msgspec
import pytest

from hitfinder.commands.reference import PAGES, commands, metrics, settings, write
from hitfinder.ledger.report import COLUMNS
from hitfinder.ledger.store import Ledger
from hitfinder.verdict import Diffuse, Outcome, Reason
from hitfinder.wire.verdicts import Heartbeat, Totals, VerdictMessage, decode, encode
from tests.docs.pages import ROOT, blocks

MODELS = ("model", "diffuse model")
REFERENCE = ROOT / "docs" / "reference"


def read(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_up_to_date(name: str, tmp_path: Path) -> None:
    write(tmp_path)
    fresh = (tmp_path / name).read_text(encoding="utf-8")
    assert read(name) == fresh, (
        "run: make docs (python -m hitfinder.commands.reference docs/reference)"
    )


def test_every_command_setting_and_metric_is_on_its_page() -> None:
    for command in commands():
        assert f"## {command}\n" in read("commands.md")
    for section, keys in settings().items():
        assert f"## [{section}]\n" in read("settings.md")
        assert all(f"| `{key}` |" in read("settings.md") for key in keys)
    assert all(f"`{name}" in read("metrics.md") for name in metrics())


def test_every_setting_and_metric_says_what_it_is() -> None:
    for section, keys in settings().items():
        for key, about in keys.items():
            assert about.get("description"), f"[{section}] {key} has no docstring"
    for name, (_, text, _) in metrics().items():
        assert text, name


@pytest.mark.parametrize("kind", [VerdictMessage, Heartbeat, Totals])
def test_verdict_fields_are_documented(kind: type[msgspec.Struct]) -> None:
    page = read("verdicts.md")
    for field in kind.__struct_fields__:
        assert f"| `{field}` |" in page, field


def test_reasons_and_outcomes_are_documented() -> None:
    page = read("verdicts.md")
    for reason in Reason:
        assert f"| `{reason.value}` |" in page
    for outcome in Outcome:
        assert f"`{outcome.value}`" in page
    for diffuse in Diffuse:
        assert f"`{diffuse.value}`" in page
        assert f"`{diffuse.value}`" in read("ledger.md")


def test_example_messages_are_real() -> None:
    examples = blocks(read("verdicts.md"), "json")
    messages = [decode(example.encode()) for example in examples]
    assert {type(each) for each in messages} == {VerdictMessage, Heartbeat}
    for example, message in zip(examples, messages, strict=True):
        assert encode(message).decode() == example.strip()


def ledger_columns(folder: Path) -> dict[str, list[str]]:
    ledger = Ledger(folder / "ledger.sqlite", model="m", wall_ns=lambda ns: ns)
    ledger.open(0)
    ledger.close(1)
    db = sqlite3.connect(folder / "ledger.sqlite")
    try:
        tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        return {t: [row[1] for row in db.execute(f"PRAGMA table_info({t})")] for t in tables}
    finally:
        db.close()


def test_ledger_tables_and_columns_are_documented(tmp_path: Path) -> None:
    page = read("ledger.md")
    for table, columns in ledger_columns(tmp_path).items():
        section = page.split(f"## {table}\n")[1].split("\n## ")[0]
        assert all(f"`{column}`" in section for column in columns), table
    assert all(f"`{column}`" in page for column in COLUMNS if column != "session")


def test_example_queries_run(tmp_path: Path) -> None:
    ledger_columns(tmp_path)
    db = sqlite3.connect(tmp_path / "ledger.sqlite")
    try:
        for query in blocks(read("ledger.md"), "sql"):
            db.execute(query)
    finally:
        db.close()


def test_event_kinds_are_documented() -> None:
    """Kinds stand as text in the code that reports them."""
    page = read("ledger.md")
    sources = (ROOT / "hitfinder").rglob("*.py")
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    kinds = re.findall(r'reports\.add\(\s*"([a-zA-Z ]+)"', text)
    assert len(kinds) > 5
    # Each model's name stands before these.
    kinds += [f"{model} {what}" for model in MODELS for what in ("failed", "recovered")]
    assert all(f"`{kind}`" in page for kind in kinds), kinds
