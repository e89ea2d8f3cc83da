"""Geometry files: what is read from them, and what a person is told about mistakes."""

from pathlib import Path

import pytest

from hitfinder.errors import ConfigError
from hitfinder.images.geometry import Quantity, parse_geometry, read_geometry

TOY = Path(__file__).with_name("toy.geom")

PANEL = """
a/min_fs = 0
a/max_fs = 3
a/min_ss = 0
a/max_ss = 5
a/corner_x = -10
a/corner_y = 2
a/fs = x
a/ss = y
"""


def test_reads_panels_groups_and_values() -> None:
    geometry = read_geometry(TOY)
    left, right, turned = geometry.panels
    assert [panel.name for panel in geometry.panels] == ["left", "right", "turned"]
    assert (left.fs, left.ss) == ((1.0, 0.0), (0.0, 1.0))
    assert (right.fs, right.ss) == ((-1.0, 0.0), (0.0, 1.0))
    assert turned.fs == (0.8660254, 0.5)
    assert left.axes == ("%", 0, "ss", "fs")
    assert turned.axes == ("%", 1, "ss", "fs")
    assert (right.max_adu, left.max_adu) == (14000.0, None)
    assert left.res_per_m == 10000.0
    assert left.clen_m == Quantity(value=0.12)
    assert geometry.photon_energy_ev == Quantity(value=9300.0)
    assert geometry.groups == {"upper": ("left", "right"), "lower": ("turned",)}
    assert geometry.other["adu_per_eV"] == "0.001"
    assert [bad.panel for bad in geometry.bad] == [None, "turned"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("photon_energy = 4570 eV", Quantity(value=4570.0)),
        ("photon_energy = 9000", Quantity(value=9000.0)),
        ("photon_energy = /LCLS/photon_energy_eV", Quantity(path="/LCLS/photon_energy_eV")),
        ("photon_energy = /LCLS/energy keV", Quantity(path="/LCLS/energy")),
    ],
)
def test_photon_energy_has_units_or_a_path(line: str, expected: Quantity) -> None:
    assert parse_geometry(line + PANEL, "t").photon_energy_ev == expected


def test_panel_without_axes_is_slow_then_fast() -> None:
    assert parse_geometry(PANEL, "t").panels[0].axes == ("ss", "fs")


def test_defaults_apply_to_panels_that_follow_only() -> None:
    text = PANEL + "max_adu = 5\n" + PANEL.replace("a/", "b/")
    a, b = parse_geometry(text, "t").panels
    assert (a.max_adu, b.max_adu) == (None, 5.0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "t: no panels"),
        ("hello", "t:1: expected `key = value`"),
        ("\nx =", "t:2: expected `key = value`"),
        ("a/min_fs = 0\na/fs = x", "t:2: panel a has no max_fs"),
        (PANEL.replace("-10", "left"), "t:6: expected a number, found 'left'"),
        (PANEL.replace("-10", "nan"), "t:6: expected a number, found 'nan'"),
        (PANEL.replace("max_fs = 3", "max_fs = 2.5"), "t:3: expected a whole number"),
        (PANEL.replace("max_fs = 3", "max_fs = -1"), "t:3: panel a ends before it begins"),
        (PANEL.replace("fs = x", "fs = 1.0q"), "t:8: expected a direction"),
        (PANEL.replace("fs = x", "fs = 1"), "t:8: expected a direction"),
        (PANEL.replace("fs = x", "fs = .x"), "t:8: expected a direction"),
        (PANEL.replace("ss = y", "ss = 2x"), "t:9: fs and ss of panel a are parallel"),
        ("dim0 = slow" + PANEL, "t:1: dim0 is ss, fs, % or a number"),
        ("dim0 = ss\ndim2 = fs" + PANEL, "panel a needs dim0 to dim2"),
        ("photon_energy = 9 lbs" + PANEL, "t:1: expected a number or a path"),
        ("rigid_group_q = a,b" + PANEL, "t:1: rigid_group_q names no panel 'b'"),
        (PANEL + "a/mask_edge_pixels = -1", "t:10: mask_edge_pixels is below 0"),
        (PANEL + "a/no_index = maybe", "t:10: expected a number, found 'maybe'"),
        (PANEL + "bad1/min_x = 3", "t:10: bad region bad1 needs min and max"),
        (
            PANEL + "bad1/min_fs=0\nbad1/max_fs=1\nbad1/min_ss=0\nbad1/max_ss=1\nbad1/panel=z",
            "t:14: bad region bad1 is on no panel 'z'",
        ),
        (PANEL + "a/res = 1\n" + PANEL.replace("a/", "b/"), "panels differ in res"),
    ],
)
def test_mistakes_name_the_place(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_geometry(text, "t")
    assert told in str(caught.value)


def test_absent_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.geom"):
        read_geometry(tmp_path / "nothing.geom")
