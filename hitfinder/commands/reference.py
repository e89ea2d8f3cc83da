"""The reference pages that the code itself knows: commands, settings and metrics.

    python -m hitfinder.commands.reference docs/reference

writes `commands.md`, `settings.md` and `metrics.md`, the same bytes every time; a test compares
them with the committed files. Help texts, docstrings under settings and the metrics' own
descriptions are the source, so a page is corrected where the thing is defined.
What this file does not know: verdicts and the ledger, whose pages are written by hand.
"""

import importlib
import inspect
import sys
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import typer
from prometheus_client.metrics import MetricWrapperBase

from hitfinder.config import ServeConfig
from hitfinder.errors import BAD_MESSAGE_KINDS
from hitfinder.serving.line import Line
from hitfinder.serving.metrics import QUEUES, STAGES, Metrics
from hitfinder.verdict import Diffuse, Outcome, Reason

_NOTE = (
    "<!-- Written by `python -m hitfinder.commands.reference docs/reference`; change the code, "
    "not this file. -->"
)

_VALUES: Final[Mapping[type, str]] = {Path: "PATH", str: "TEXT", int: "COUNT", float: "NUMBER"}

_LABELS: Final[Mapping[str, tuple[str, ...]]] = {
    "outcome": tuple(outcome.value for outcome in Outcome),
    "reason": tuple(reason.value for reason in Reason),
    "stage": STAGES,
    "queue": QUEUES,
    "kind": BAD_MESSAGE_KINDS,
    "device": ("cpu", "cuda"),
    "stream": ("kept", "vetoed", "diffuse"),
    "diffuse": tuple(diffuse.value for diffuse in Diffuse),
}
"""Values of each label; `hitfinder_peers` has the stream "input" besides."""

_SAMPLES: Final[Mapping[str, tuple[str, ...]]] = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
    "info": ("_info",),
}
"""What a metric of a type is called on /metrics: its name and each of these endings."""


def commands() -> dict[str, Any]:
    """Every command by its full name, without the groups."""
    return dict(_leaves("hitfinder", _root()))


def _root() -> Any:
    """The `hitfinder` command. Its type has no name here: Typer's own copy of click, or click's."""
    # By name, not by import: the command line lies above this room, which only describes it.
    return typer.main.get_command(importlib.import_module("hitfinder.cli").app)


def _leaves(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name, command
        return
    for key, one in inner.items():
        yield from _leaves(f"{name} {key}", one)


def commands_page() -> str:
    """Every command with its arguments and options."""
    lines = _paragraphs(
        "# Commands",
        _NOTE,
        _root().help,
        "Exit status: 0 when all went well, 1 with one line on standard error when it did not, 2 "
        "for wrong usage. `hitfinder --version` prints the version; every command takes `--help`.",
    )
    for name, command in commands().items():
        lines += _command(name, command)
    return _page(lines)


def _command(name: str, command: Any) -> list[str]:
    types = typing.get_type_hints(inspect.unwrap(command.callback))
    shown = [one for one in command.params if not getattr(one, "hidden", False)]
    arguments = [one for one in shown if one.param_type_name == "argument"]
    options = [one for one in shown if one.param_type_name == "option" and one.name != "help"]
    usage = " ".join([name, *(_usage(one) for one in arguments), *(["[OPTIONS]"] * bool(options))])
    lines = _paragraphs(f"## {name}", command.help, f"    {usage}")
    rows = [(f"`{_metavar(one)}`", _help(one)) for one in arguments]
    rows += [(f"`{_flags(one, types[one.name])}`", _help(one)) for one in options]
    if rows:
        lines += [*_table(("argument or option", "meaning"), rows), ""]
    example = (command.epilog or "").removeprefix("Example: ")
    return lines + (_paragraphs(f"Example: `{example}`") if example else [])


def _metavar(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _usage(argument: Any) -> str:
    name = _metavar(argument) + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _flags(option: Any, kind: Any) -> str:
    flags = ", ".join(option.opts)
    if option.is_flag:
        return flags
    options = [one for one in typing.get_args(kind) if one is not type(None)] or [kind]
    (value, *_) = typing.get_args(options[0]) or options  # of `list[Path] | None`, Path
    return f"{flags} {_VALUES[value]}"


def _help(parameter: Any) -> str:
    text = parameter.help or ""
    if parameter.required or parameter.default is None or parameter.default is False:
        return text
    return f"{text} Default: `{parameter.default}`."


def settings() -> dict[str, dict[str, dict[str, Any]]]:
    """The JSON schema of every setting, by section and key."""
    schema = ServeConfig.model_json_schema()
    return {
        section: schema["$defs"][_reference(about)]["properties"]
        for section, about in schema["properties"].items()
    }


def _reference(about: Mapping[str, Any]) -> str:
    """The name of a section's class, which may be optional or have a default."""
    options = [about, *about.get("allOf", ()), *about.get("anyOf", ())]
    return next(str(one["$ref"]) for one in options if "$ref" in one).rpartition("/")[2]


def settings_page() -> str:
    """Every setting of the service's configuration file."""
    schema = ServeConfig.model_json_schema()
    lines = _paragraphs(
        "# Settings",
        _NOTE,
        "One TOML file configures `hitfinder serve`. Unknown keys are refused; relative paths "
        "are relative to the file's own folder; a key that is left out has its default. Where a "
        "description says None, the key is left out.",
        "`hitfinder config check FILE` tells the mistakes in one. [deploy/hitfinder.toml]"
        "(../../deploy/hitfinder.toml) has all of them, ready to edit.",
    )
    for section, keys in settings().items():
        definition = schema["$defs"][_reference(schema["properties"][section])]
        required = definition.get("required", [])
        # pydantic leaves a field's description out where it is its class's own.
        about = _prose(schema["properties"][section]) or _prose(definition)
        if section in schema.get("required", []):
            about += " This section must be there."
        rows = [
            (f"`{key}`", _kind(one), _default(one, required=key in required), _prose(one))
            for key, one in keys.items()
        ]
        lines += _paragraphs(f"## [{section}]", about)
        lines += [*_table(("key", "value", "default", "meaning"), rows), ""]
    return _page(lines)


def _kind(about: Mapping[str, Any]) -> str:
    options = about.get("anyOf", ())
    for option in options:
        if option.get("type") != "null":
            may_be_off = len(options) > 1 and about.get("default") is not None
            return _kind(option) + (', `"off"`' if may_be_off else "")
    if "enum" in about:
        return ", ".join(f'`"{value}"`' for value in about["enum"])
    if about.get("pattern", "").startswith("^(tcp"):
        return "`tcp://…` or `ipc://…`"
    if about["type"] == "array":
        fewest, most = about["minItems"], about["maxItems"]
        return f"{fewest} to {most} whole numbers"
    if about["type"] == "boolean":
        return "`true`, `false`"
    word = {"integer": "whole number", "number": "number", "string": "text"}[about["type"]]
    return ", ".join(["path" if about.get("format") == "path" else word, *_bounds(about)])


def _bounds(about: Mapping[str, Any]) -> Iterator[str]:
    texts = {
        "exclusiveMinimum": "above",
        "minimum": "from",
        "exclusiveMaximum": "below",
        "maximum": "up to",
    }
    bounds = [f"{text} {about[key]:.15g}" for key, text in texts.items() if key in about]
    if bounds:
        yield " ".join(bounds)


def _default(about: Mapping[str, Any], *, required: bool) -> str:
    if required:
        return "must be set"
    value = about.get("default")
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return "–" if value is None else f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def _prose(about: Mapping[str, Any]) -> str:
    return " ".join(about.get("description", "").split())


def metrics() -> dict[str, tuple[str, str, tuple[str, ...]]]:
    """Every metric by its name: type, description, labels."""
    everything = Metrics()
    everything.watch_line(Line(1).counts)
    labels = {
        family.name: one._labelnames
        for one in vars(everything).values()
        if isinstance(one, MetricWrapperBase)
        for family in one.describe()
    }
    found = {}
    for family in everything.registry.collect():
        names = labels.get(family.name)
        if names is None:  # made anew for each scrape: its samples carry its labels
            names = tuple(dict.fromkeys(key for one in family.samples for key in one.labels))
        found[family.name] = (family.type, family.documentation, tuple(names))
    return found


def samples() -> frozenset[str]:
    """Every name that can stand in a query."""
    return frozenset(
        name + ending for name, (kind, _, _) in metrics().items() for ending in _SAMPLES[kind]
    )


def metrics_page() -> str:
    """Every metric."""
    lines = _paragraphs(
        "# Metrics",
        _NOTE,
        "The service answers on `[http] host` and `port`, 127.0.0.1:9110 by default: `/metrics` "
        "in Prometheus' text format, `/healthz` (200 while frames can pass and every thread "
        "works) and `/readyz` (200 when frames are judged without a first-time delay). "
        "[deploy/prometheus/prometheus.yml](../../deploy/prometheus/prometheus.yml) scrapes them.",
    )
    rows = []
    for name, (kind, text, labels) in sorted(metrics().items()):
        shown = name + (_SAMPLES[kind][0] if len(_SAMPLES[kind]) == 1 else "")
        rows.append((f"`{shown}`", kind, ", ".join(f"`{one}`" for one in labels) or "–", text))
    lines += [*_table(("name", "type", "labels", "meaning"), rows), ""]
    lines += _paragraphs(
        "A histogram appears as `…_bucket`, `…_sum` and `…_count`. Beside each counter and "
        "histogram stands `…_created`, when its counting began. Frames balance at every scrape: "
        "`hitfinder_frames_received_total` = the sum of `hitfinder_frames_settled_total` + "
        "`hitfinder_frames_in_flight`; and hits that go to a second step: "
        "`hitfinder_diffuse_frames_offered_total` = the sum of "
        "`hitfinder_diffuse_frames_settled_total` + `hitfinder_diffuse_frames_waiting`.",
        "## Labels",
    )
    labels_rows = [
        (f"`{label}`", ", ".join(f"`{value}`" for value in values))
        for label, values in _LABELS.items()
    ]
    lines += [*_table(("label", "values"), labels_rows), ""]
    lines += _paragraphs(
        "`hitfinder_peers` has the stream `input` besides. `hitfinder_model_info` carries the "
        "artifact's `name`, `version`, `sha256` and `task` as labels, and "
        "`hitfinder_diffuse_model_info` the second step's, with its `device`.",
    )
    return _page(lines)


def _paragraphs(*texts: str) -> list[str]:
    return [line for text in texts for line in (text, "")]


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    lines = [heads, ("---",) * len(heads), *rows]
    escaped = ([cell.replace("|", r"\|") for cell in line] for line in lines)
    return [f"| {' | '.join(line)} |" for line in escaped]


def _page(lines: list[str]) -> str:
    return "\n".join(lines).rstrip() + "\n"


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "commands.md": commands_page,
    "settings.md": settings_page,
    "metrics.md": metrics_page,
}
"""Every page that is written from the code, by its file's name."""


def write(folder: Path) -> None:
    """Write all pages into `folder`. Raises OSError."""
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
