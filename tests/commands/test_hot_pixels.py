"""`hitfinder hot-pixels show`: the list and the picture."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from hitfinder.commands.hot_pixels import WORST, show
from hitfinder.errors import ConfigError, DataFileError
from hitfinder.images.hot_pixel_file import HotPixelMap, save_hot_pixels


def saved(path: Path, shape: tuple[int, ...], places: list[int], shares: list[float]) -> Path:
    found = HotPixelMap(
        payload_shape=shape,
        places=np.array(places, np.intp),
        shares=np.array(shares, np.float32),
    )
    save_hot_pixels(path, found)
    return path


def test_the_worst_come_first_with_their_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path / "h.npz", (30, 40), [0, 41, 1199], [0.6, 0.98, 0.7])
    assert show(path, None) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.endswith("3 hot pixels in frames of 30 x 40")
    assert [line.split() for line in rest] == [
        ["row", "col", "share", "of", "frames"],
        *(["1", "1", "98%"], ["29", "39", "70%"], ["0", "0", "60%"]),
    ]


def test_modules_are_named_and_the_list_has_an_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path / "h.npz", (2, 30, 40), list(range(1200, 1300)), [0.6] * 100)
    assert show(path, None) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:3] == ["module", "row", "col"]
    assert lines[2].split() == ["1", "0", "0", "60%"]
    assert len(lines) == 2 + WORST


def test_the_picture_marks_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path / "h.npz", (2, 30, 40), [0, 1200 + 10 * 40 + 20], [0.6, 0.7])
    png = tmp_path / "out.png"
    assert show(path, png) == 0
    picture = imagecodecs.png_decode(png.read_bytes())
    assert picture.shape == (60, 40)
    assert (picture == 255).sum() == 5 * 5 + 9 * 9
    assert picture[40, 20] == 255
    assert picture[30, 20] < 255


def test_no_hot_pixels_are_no_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert show(saved(tmp_path / "h.npz", (30, 40), [], []), tmp_path / "out.png") == 0
    assert capsys.readouterr().out.endswith("0 hot pixels in frames of 30 x 40\n")


def test_a_wrong_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="gone"):
        show(tmp_path / "gone.npz", None)
    with pytest.raises(ConfigError, match="no such folder"):
        show(tmp_path / "gone.npz", tmp_path / "none" / "out.png")
