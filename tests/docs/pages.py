"""The pages that are checked, and what is found in them."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
DEPLOYED = tuple(
    path
    for path in (*sorted((ROOT / "deploy").rglob("*")), ROOT / "Dockerfile")
    if path.is_file() and path.suffix != ".pyc"
)

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_COMMAND = re.compile(r"(?:^ +|/bin/)hitfinder (.+)|docker run .* hitfinder:\w+ (.+)")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(text: str, language: str) -> list[str]:
    """Fenced blocks in a language."""
    return [body for _, kind, body in _FENCE.findall(text) if kind == language]


def links(text: str) -> list[str]:
    """Targets of links to somewhere in this repository."""
    outside_code = _FENCE.sub("", text)
    return [each for each in _LINK.findall(outside_code) if "://" not in each]


def anchors(text: str) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


def command_lines(text: str) -> Iterator[str]:
    """Every `hitfinder ...` that stands as code: in backticks, or indented on a line of its own."""
    prose = _FENCE.sub("", text)
    for code in re.findall(r"`([^`\n]+)`", prose):
        if code.startswith("hitfinder "):
            yield code
    for line in prose.splitlines():
        if line.startswith("    ") and (found := _COMMAND.search(line)):
            yield f"hitfinder {found[1] or found[2]}"
