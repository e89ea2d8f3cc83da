"""Links lead somewhere, commands exist, configurations load."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest

from hitfinder.commands.config import check
from hitfinder.commands.reference import commands, samples
from hitfinder.config import ServeConfig, load_config
from hitfinder.settings import checked
from tests.docs.pages import (
    DEPLOYED,
    PAGES,
    ROOT,
    anchors,
    blocks,
    command_lines,
    links,
    name_of,
)

pages = pytest.mark.parametrize("page", PAGES, ids=name_of)


@pages
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page.read_text(encoding="utf-8")):
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


@pages
def test_every_page_can_be_reached(page: Path) -> None:
    reached = {ROOT / "README.md"}
    frontier = list(reached)
    while frontier:
        here = frontier.pop()
        for link in links(here.read_text(encoding="utf-8")):
            target = (here.parent / link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target not in reached:
                reached.add(target)
                frontier.append(target)
    assert page in reached


def understood(line: str) -> None:
    """Fails unless a line is a command that there is, with options that it has."""
    words = shlex.split(re.split(r" [>|&;#] ?|\\$", line.replace("[OPTIONS]", ""))[0])
    if words in (["hitfinder", "--version"], ["hitfinder", "--help"]):
        return
    name = next((n for n in commands() if words[: len(n.split())] == n.split()), None)
    assert name is not None, f"no such command: {line}"
    command, rest = commands()[name], words[len(name.split()) :]
    options = {flag: one for one in command.params for flag in (*one.opts, *one.secondary_opts)}
    positional = 0
    asked = set[str]()
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            positional += 1
        elif word != "--help":
            assert word in options, line
            asked.add(str(options[word].name))
            if not options[word].is_flag:
                assert rest, line
                rest.pop(0)
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    required = sum(bool(one.required) for one in arguments)
    many = any(one.nargs == -1 for one in arguments)
    must = {
        str(one.name) for one in command.params if one.param_type_name == "option" and one.required
    }
    # In a sentence a command may stand without its arguments.
    assert not asked or must <= asked, line
    assert positional == 0 or required <= positional, line
    assert many or positional <= len(arguments), line


@pages
def test_command_lines_exist(page: Path) -> None:
    for line in command_lines(page.read_text(encoding="utf-8")):
        understood(line)


def test_examples_in_help_texts_exist() -> None:
    for command in commands().values():
        understood(command.epilog.removeprefix("Example: "))


def test_a_wrong_command_line_is_noticed() -> None:
    for line in (
        *("hitfinder sever x", "hitfinder serve --fast x", "hitfinder ledger frob x"),
        "hitfinder label x --region whole",
    ):
        with pytest.raises(AssertionError):
            understood(line)


def settings_of(page: Path) -> list[dict[str, Any]]:
    return [tomllib.loads(block) for block in blocks(page.read_text(encoding="utf-8"), "toml")]


@pages
def test_configurations_are_valid(page: Path) -> None:
    for table in settings_of(page):
        checked(
            ServeConfig,
            {"input": {"endpoint": "tcp://a:1", "protocol": "dectris-v2"}, **table},
            "x",
        )


def test_the_readme_configuration_passes_config_check(tmp_path: Path) -> None:
    (block,) = blocks((ROOT / "README.md").read_text(encoding="utf-8"), "toml")
    assert len(block.splitlines()) == 10
    path = tmp_path / "hitfinder.toml"
    path.write_text(block, encoding="utf-8")
    config = load_config(path)
    assert config.kept is not None
    assert check(path) == 0


def test_the_readme_begins_with_what_it_is_and_how_to_try_it() -> None:
    screen = "\n".join((ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:40])
    for part in ("make demo", "make test", "──►", "[input]"):
        assert part in screen


METRIC = re.compile(r"\bhitfinder_\w+")


@pytest.mark.parametrize("file", [*DEPLOYED, *PAGES], ids=name_of)
def test_metrics_that_are_named_exist(file: Path) -> None:
    known = samples() | {name.removesuffix("_total") for name in samples()}
    if file.name == "metrics.md" or file.suffix == ".py":  # histograms by their own name
        known |= {name.removesuffix("_bucket") for name in samples()}
    for name in METRIC.findall(file.read_text(encoding="utf-8")):
        assert name in known, name


@pytest.mark.parametrize("file", [*DEPLOYED, *PAGES], ids=name_of)
def test_nothing_names_the_place_it_was_written_in(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.])/(?:work|tmp|root|home/\w+)/", text)
