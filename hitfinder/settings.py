"""Base of every settings class: frozen, unknown keys forbidden, field docstrings kept.

The docstring under a field is its description in `hitfinder config schema` and in
docs/reference/settings.md, so it is written for the person who edits the TOML file.
"""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Frozen settings. `None`, never -1, means off."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )
