"""Base of every settings class, and how a mistake in one is told.

The docstring under a field is its description in `hitfinder config schema` and in
docs/reference/settings.md, so it is written for the person who edits the TOML file.
"""

import difflib
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from hitfinder.errors import ConfigError


class Settings(BaseModel):
    """Frozen settings, unknown keys forbidden. `None`, never -1, means off.

    TOML has no null, so there None is written "off".
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )

    @model_validator(mode="before")
    @classmethod
    def _off_is_none(cls, table: Any) -> Any:
        if not isinstance(table, dict):
            return table
        return {key: cls._plain(key, value) for key, value in table.items()}

    @classmethod
    def _plain(cls, key: str, value: Any) -> Any:
        field = cls.model_fields.get(key)
        if isinstance(value, bool) and field is not None and "bool" not in str(field.annotation):
            raise ValueError(f"{key} is not a matter of true or false")
        return None if isinstance(value, str) and value == "off" else value


S = TypeVar("S", bound=Settings)


def checked(kind: type[S], table: dict[str, Any], source: str) -> S:
    """Settings from a table that was read from `source`.

    Raises ConfigError with a line for each mistake: the key, what is wrong, for an unknown key
    the nearest known one.
    """
    try:
        return kind.model_validate(table)
    except ValidationError as error:
        lines = [_line(kind, source, dict(mistake)) for mistake in error.errors()]
        raise ConfigError("\n".join(lines)) from error


def _line(kind: type[Settings], source: str, mistake: dict[str, Any]) -> str:
    place = [str(part) for part in mistake["loc"]]
    key = ": ".join([source, ".".join(place)] if place else [source])
    if mistake["type"] == "extra_forbidden":
        known = _known_keys(kind, place[:-1])
        near = difflib.get_close_matches(place[-1], known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(known))}"
        return f"{key}: no such setting; {hint}"
    if mistake["type"] == "missing":
        return f"{key}: must be set"
    if mistake["input"] is None:
        return f'{key}: cannot be "off"; give a value, or leave it out'
    message = mistake["msg"].removeprefix("Value error, ")
    if mistake["type"] == "literal_error" and _may_be_off(kind, place):
        message += ' or "off"'
    given = "" if isinstance(mistake["input"], dict) else f" (got {mistake['input']!r})"
    return f"{key}: {message[0].lower()}{message[1:]}{given}"


def _known_keys(kind: type[Settings], section: list[str]) -> list[str]:
    return list(_section(kind, section).model_fields)


def _may_be_off(kind: type[Settings], place: list[str]) -> bool:
    """Whether a setting that has a value by default may also be none."""
    field = _section(kind, place[:-1]).model_fields[place[-1]]
    return field.default is not None and type(None) in getattr(field.annotation, "__args__", ())


def _section(kind: type[Settings], section: list[str]) -> type[Settings]:
    for part in section:
        inner = kind.model_fields[part].annotation
        options = [inner, *getattr(inner, "__args__", ())]
        kind = next(o for o in options if isinstance(o, type) and issubclass(o, Settings))
    return kind
