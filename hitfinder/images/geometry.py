"""CrystFEL geometry files: where the panels of a detector lie in space and in the data.

Read by the format's published description (crystfel_geometry(5)). Kept are the panels, bad
regions, groups and a few physical values; every other key is kept as text.
Not read: mask files (`mask`, `mask_file`) and limits of values (`flag_lessthan`, ...); those come
with the detector. Positions are in pixels from the beam, y upwards as in the file.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from hitfinder.errors import ConfigError

T = TypeVar("T")

Axis = int | str
"""What one axis of the data is for a panel: `ss`, `fs`, `%` (the frame's number), or the place of
the panel in a stack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A physical value in SI units or eV, or the path in the data file where it is found."""

    value: float | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A rectangle of pixels. min and max are inclusive, in the data; `fs` and `ss` are the (x, y)
    steps from a pixel to the next along a row and down a column; the corner is the outer corner
    of the first pixel. `res_per_m` is pixels a metre. Not to be used are the outermost
    `bad_edge_px` pixels, and all of a panel that is `ignored`.
    """

    name: str
    min_fs: int
    max_fs: int
    min_ss: int
    max_ss: int
    corner_x: float
    corner_y: float
    fs: tuple[float, float]
    ss: tuple[float, float]
    axes: tuple[Axis, ...]
    res_per_m: float | None = None
    clen_m: Quantity | None = None
    coffset_m: float = 0.0
    max_adu: float | None = None
    bad_edge_px: int = 0
    ignored: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRegion:
    """Pixels not to be used: a is x and b is y where `panel` is None, else a is fs and b is ss."""

    panel: str | None
    min_a: float
    max_a: float
    min_b: float
    max_b: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """A whole file. `source` names it in errors; `other` is what hitfinder has no use for."""

    source: str
    panels: tuple[Panel, ...]
    bad: tuple[BadRegion, ...] = ()
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    photon_energy_ev: Quantity | None = None
    wavelength_m: Quantity | None = None
    other: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A value and the place it was read from, `file:line`."""

    text: str
    place: str


_Section = dict[str, _Entry]

_ENERGY = {"": 1.0, "eV": 1.0, "keV": 1e3, "MeV": 1e6}
_LENGTH = {"": 1.0, "m": 1.0, "mm": 1e-3}
_WAVELENGTH = {"": 1.0, "m": 1.0, "A": 1e-10}

_REQUIRED = ("min_fs", "max_fs", "min_ss", "max_ss", "corner_x", "corner_y", "fs", "ss")
_OPTIONAL = ("res", "clen", "coffset", "max_adu", "mask_edge_pixels", "no_index")
_PANEL_KEYS = frozenset((*_REQUIRED, *_OPTIONAL))
_ONLY_GLOBAL = frozenset({"photon_energy", "wavelength"})
_DIMENSION = re.compile(r"dim(\d+)")
_TERM = re.compile(r"([+-]?)\s*((?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)?)\s*\*?\s*([xyz])")
_QUANTITY = re.compile(r"(?P<number>[+-]?[\d.]+(?:[eE][+-]?\d+)?|/\S+)\s*(?P<unit>[A-Za-z]*)")


def read_geometry(path: Path) -> Geometry:
    """The geometry in a file. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read geometry {path}: {error}") from error
    return parse_geometry(text, str(path))


def parse_geometry(text: str, source: str) -> Geometry:
    """The geometry in a text; `source` names it in errors. Raises ConfigError.

    Keys before the first mention of a panel are defaults for that panel, as the format has it.
    """
    defaults: _Section = {}
    panels: dict[str, _Section] = {}
    bad: dict[str, _Section] = {}
    for number, line in enumerate(text.splitlines(), 1):
        content = line.partition(";")[0].strip()
        if not content:
            continue
        place = f"{source}:{number}"
        key, equals, value = (part.strip() for part in content.partition("="))
        if not equals or not key or not value:
            raise ConfigError(f"{place}: expected `key = value`, found {content!r}")
        section, slash, name = key.rpartition("/")
        if not slash:
            defaults[key] = _Entry(value, place)
        elif section.startswith("bad"):
            bad.setdefault(section, {})[name] = _Entry(value, place)
        else:
            panels.setdefault(section, dict(defaults))[name] = _Entry(value, place)
    if not panels:
        raise ConfigError(f"{source}: no panels; is it a CrystFEL geometry file?")
    made = tuple(_panel(name, section, source) for name, section in panels.items())
    if len({panel.res_per_m for panel in made}) > 1:
        raise ConfigError(f"{source}: panels differ in res; one image needs one size of pixels")
    return Geometry(
        source=source,
        panels=made,
        bad=tuple(_bad(name, section, source, panels) for name, section in bad.items()),
        groups=_groups(defaults, panels),
        photon_energy_ev=_optional(defaults, "photon_energy", _quantity(_ENERGY)),
        wavelength_m=_optional(defaults, "wavelength", _quantity(_WAVELENGTH)),
        other={
            key: entry.text
            for key, entry in defaults.items()
            if key not in _PANEL_KEYS | _ONLY_GLOBAL and not key.startswith("rigid_group")
        },
    )


def _panel(name: str, section: _Section, source: str) -> Panel:
    missing = [key for key in _REQUIRED if key not in section]
    if missing:
        place = next(reversed(section.values())).place
        raise ConfigError(f"{place}: panel {name} has no {', '.join(missing)}")
    panel = Panel(
        name=name,
        min_fs=_integer(section["min_fs"]),
        max_fs=_integer(section["max_fs"]),
        min_ss=_integer(section["min_ss"]),
        max_ss=_integer(section["max_ss"]),
        corner_x=_number(section["corner_x"]),
        corner_y=_number(section["corner_y"]),
        fs=_vector(section["fs"]),
        ss=_vector(section["ss"]),
        axes=_axes(name, section, source),
        res_per_m=_optional(section, "res", _number),
        clen_m=_optional(section, "clen", _quantity(_LENGTH)),
        coffset_m=_optional(section, "coffset", _number) or 0.0,
        max_adu=_optional(section, "max_adu", _number),
        bad_edge_px=_optional(section, "mask_edge_pixels", _integer) or 0,
        ignored=_optional(section, "no_index", _flag) or False,
    )
    if not 0 <= panel.min_fs <= panel.max_fs or not 0 <= panel.min_ss <= panel.max_ss:
        raise ConfigError(f"{section['max_fs'].place}: panel {name} ends before it begins")
    if abs(panel.fs[0] * panel.ss[1] - panel.fs[1] * panel.ss[0]) < 1e-6:
        raise ConfigError(f"{section['ss'].place}: fs and ss of panel {name} are parallel")
    if panel.bad_edge_px < 0:
        raise ConfigError(f"{section['mask_edge_pixels'].place}: mask_edge_pixels is below 0")
    return panel


def _axes(name: str, section: _Section, source: str) -> tuple[Axis, ...]:
    """A panel's axes in order; slow and fast scan where none are given."""
    given: dict[int, Axis] = {}
    for key, entry in section.items():
        if match := _DIMENSION.fullmatch(key):
            axis: Axis = int(entry.text) if entry.text.isdigit() else entry.text
            if isinstance(axis, str) and axis not in ("ss", "fs", "%"):
                raise ConfigError(f"{entry.place}: {key} is ss, fs, % or a number, not {axis!r}")
            given[int(match[1])] = axis
    if not given:
        return "ss", "fs"
    axes = tuple(given[each] for each in sorted(given))
    if sorted(given) != list(range(len(given))) or axes.count("ss") != 1 or axes.count("fs") != 1:
        raise ConfigError(
            f"{source}: panel {name} needs dim0 to dim{max(given)}, one of them ss and one fs"
        )
    return axes


def _bad(name: str, section: _Section, source: str, panels: Mapping[str, _Section]) -> BadRegion:
    panel = section["panel"].text if "panel" in section else None
    first, second = ("fs", "ss") if "min_fs" in section else ("x", "y")
    keys = [f"{end}_{axis}" for axis in (first, second) for end in ("min", "max")]
    missing = [key for key in keys if key not in section]
    if missing or (first == "fs") != (panel is not None):
        raise ConfigError(
            f"{next(iter(section.values())).place}: bad region {name} needs min and max of x and "
            "y, or a panel and min and max of fs and ss"
        )
    if panel is not None and panel not in panels:
        raise ConfigError(f"{section['panel'].place}: bad region {name} is on no panel {panel!r}")
    min_a, max_a, min_b, max_b = (_number(section[key]) for key in keys)
    return BadRegion(panel=panel, min_a=min_a, max_a=max_a, min_b=min_b, max_b=max_b)


def _groups(defaults: _Section, panels: Mapping[str, _Section]) -> dict[str, tuple[str, ...]]:
    """Rigid groups by name; collections of groups are of no use here."""
    groups = {}
    for key, entry in defaults.items():
        if key.startswith("rigid_group_") and not key.startswith("rigid_group_collection"):
            members = tuple(member.strip() for member in entry.text.split(","))
            for member in members:
                if member not in panels:
                    raise ConfigError(f"{entry.place}: {key} names no panel {member!r}")
            groups[key.removeprefix("rigid_group_")] = members
    return groups


def _optional(section: _Section, key: str, read: Callable[[_Entry], T]) -> T | None:
    return read(section[key]) if key in section else None


def _number(entry: _Entry) -> float:
    try:
        value = float(entry.text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"{entry.place}: expected a number, found {entry.text!r}")
    return value


def _integer(entry: _Entry) -> int:
    value = _number(entry)
    if not value.is_integer():
        raise ConfigError(f"{entry.place}: expected a whole number, found {entry.text!r}")
    return int(value)


def _flag(entry: _Entry) -> bool:
    known = {"true": True, "false": False}
    text = entry.text.lower()
    return known[text] if text in known else _integer(entry) != 0


def _vector(entry: _Entry) -> tuple[float, float]:
    """The x and y of a direction such as `-0.0057x +0.99y`; z is dropped."""
    parts = {"x": 0.0, "y": 0.0, "z": 0.0}
    terms = _TERM.findall(entry.text)
    if not terms or _TERM.sub("", entry.text).strip():
        raise ConfigError(
            f"{entry.place}: expected a direction such as 1.0x -0.2y, found {entry.text!r}"
        )
    for sign, size, axis in terms:
        parts[axis] += float(f"{sign}{size or 1}")
    return parts["x"], parts["y"]


def _quantity(units: Mapping[str, float]) -> Callable[[_Entry], Quantity]:
    def read(entry: _Entry) -> Quantity:
        match = _QUANTITY.fullmatch(entry.text)
        if match is None or match["unit"] not in units:
            raise ConfigError(
                f"{entry.place}: expected a number or a path in the data file, with unit "
                f"{', '.join(filter(None, units))} or none; found {entry.text!r}"
            )
        if match["number"].startswith("/"):
            return Quantity(path=match["number"])
        return Quantity(value=_number(_Entry(match["number"], entry.place)) * units[match["unit"]])

    return read
