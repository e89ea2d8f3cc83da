"""Images through fabio: whole, cut, compressed, joined to series."""

import bz2
import gzip
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fabio.cbfimage import CbfImage
from fabio.edfimage import EdfImage
from fabio.TiffIO import TiffIO
from fabio.tifimage import TifImage
from numpy.typing import NDArray

from hitfinder.dataset.series import open_series
from hitfinder.errors import DataFileError
from tests.dataset.files import counts, read_all

WRITERS: dict[str, Any] = {
    ".cbf": lambda pixels: CbfImage(data=pixels.astype(np.int32)),
    ".tif": lambda pixels: TifImage(data=pixels),
    ".edf": lambda pixels: EdfImage(data=pixels),
}


COMPRESS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".bz2": bz2.compress}


def _write(path: Path, pixels: Any) -> Path:
    WRITERS[path.suffix](pixels).write(str(path))
    return path


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("packed", ["", ".gz", ".bz2"])
def test_formats_and_compressions(tmp_path: Path, suffix: str, packed: str) -> None:
    pixels = counts(40, 50)
    path = _write(tmp_path / f"a{suffix}", pixels)
    if packed:
        path = tmp_path / f"a{suffix}{packed}"
        path.write_bytes(COMPRESS[packed]((tmp_path / f"a{suffix}").read_bytes()))
    np.testing.assert_array_equal(read_all(path)[0], pixels)


def test_frames_of_an_edf(tmp_path: Path) -> None:
    pixels = counts(3, 20, 30)
    image = EdfImage(data=pixels[0])
    for frame in pixels[1:]:
        image.append_frame(data=frame)
    image.write(str(tmp_path / "a.edf"))
    np.testing.assert_array_equal(read_all(tmp_path / "a.edf"), pixels)


def _stack(path: Path, *frames: Any) -> Path:
    """A TIFF of several pages."""
    for number, pixels in enumerate(frames):
        TiffIO(str(path), mode="rb+" if number else "wb+").writeImage(pixels)
    return path


def test_pages_of_a_tiff(tmp_path: Path) -> None:
    pixels = counts(4, 20, 30)
    np.testing.assert_array_equal(read_all(_stack(tmp_path / "a.tif", *pixels)), pixels)


def test_a_page_of_another_shape(tmp_path: Path) -> None:
    path = _stack(tmp_path / "a.tif", counts(20, 30), counts(20, 31))
    with pytest.raises(DataFileError, match=r"frame 1 has shape \(20, 31\), the first one"):
        read_all(path)


@pytest.mark.parametrize("suffix", [".tif", ".edf"])
@pytest.mark.parametrize("keep", [0.01, 0.1, 0.3, 0.45, 0.8, 0.99])  # none between frames
def test_cut_stacks(tmp_path: Path, suffix: str, keep: float) -> None:
    pixels = counts(4, 40, 50)
    path = _stack(tmp_path / "a.tif", *pixels)
    if suffix == ".edf":
        path, image = tmp_path / "a.edf", EdfImage(data=pixels[0])
        for frame in pixels[1:]:
            image.append_frame(data=frame)
        image.write(str(path))
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(DataFileError, match=f"a{suffix}: is "):
        read_all(path)


def _tiff(*pages: dict[int, int], big: bool = False) -> bytes:
    """Directories without pixels: {tag: value} for each page."""
    offset, length, entry = ("Q", "Q", "HHQHxxxxxx") if big else ("I", "H", "HHIHxx")
    head = (
        struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16) if big else struct.pack("<2sHI", b"II", 42, 8)
    )
    data = head
    for number, tags in enumerate(pages):
        data += struct.pack(f"<{length}", len(tags))
        for tag, value in tags.items():
            data += struct.pack(f"<{entry}", tag, 3, 1, value)
        size = struct.calcsize(f"<{offset}")
        data += struct.pack(f"<{offset}", len(data) + size if number + 1 < len(pages) else 0)
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_tiff({277: 3}), "is a colour image"),
        (_tiff({259: 32773}), "is compressed by PackBits"),
        (_tiff({259: 1}, {259: 8}), "is compressed or a BigTIFF, and has 2 pages"),
        (_tiff({259: 1}, {259: 1}, {259: 1}, big=True), "a BigTIFF, and has 3 pages"),
        (_tiff({259: 1}, {259: 1})[:-1], "its pages lead beyond its end"),
        (_tiff({259: 1})[:-4] + b"\x08\0\0\0", "its pages lead in a circle"),
        (b"II", "its pages lead beyond its end"),
        (b"II\x2c\0" + bytes(50), "does not begin as a TIFF"),
        (b"XX\x2a\0" + bytes(50), "does not begin as a TIFF"),
    ],
)
def test_tiffs_that_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(data)
    with pytest.raises(DataFileError, match=message):
        open_series([path])


def test_an_image_that_changes_is_read_anew(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.edf", counts(8, 9))
    before = read_all(path)
    _write(path, counts(8, 9) + 1)
    os.utime(path, ns=(1, 1))
    np.testing.assert_array_equal(read_all(path), before + 1)


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("keep", [0, 1, 100, 0.3, 0.6])
def test_cut_images(tmp_path: Path, suffix: str, keep: float) -> None:
    path = _write(tmp_path / f"a{suffix}", counts(100, 100))
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if keep < 1 else int(keep)])
    with pytest.raises(DataFileError, match=f"a{suffix}: is "):
        read_all(path)


@pytest.mark.parametrize("packed", [".gz", ".bz2"])
def test_cut_compression(tmp_path: Path, packed: str) -> None:
    raw = _write(tmp_path / "a.edf", counts(100, 100)).read_bytes()
    data = COMPRESS[packed](raw)
    path = tmp_path / f"a.edf{packed}"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataFileError, match="compressed stream is cut short"):
        read_all(path)
    path.write_bytes(b"no such thing")
    with pytest.raises(DataFileError, match="cannot be read"):
        read_all(path)


@pytest.mark.parametrize("suffix", [".cbf", ".tif", ".edf", ".mccd", ".kcd", ".img"])
def test_noise_is_no_image(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(np.random.default_rng(5).bytes(5000))
    with pytest.raises(DataFileError, match=f"a{suffix}: is no readable image"):
        open_series([path])


def test_nothing_is_said_beside_the_answer(tmp_path: Path) -> None:
    # a d*TREK header as cameras write it, without the end that fabio would like
    header = b"{\nHEADER_BYTES=  512;\nSIZE1=30;\nSIZE2=20;\nData_type=unsigned short int;\n"
    header += b"BYTE_ORDER=little_endian;\n"
    path = tmp_path / "a.img"
    path.write_bytes(header.ljust(512) + counts(20, 30).astype("<u2").tobytes())
    code = "import sys; from tests.dataset.files import read_all; "
    code += "sys.exit(read_all(sys.argv[1]).shape != (1, 20, 30))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_files_of_one_frame_join_while_they_are_alike(tmp_path: Path) -> None:
    for name, shape in (("a1", (8, 9)), ("a2", (8, 9)), ("b1", (9, 9)), ("c1", (8, 9))):
        np.save(tmp_path / f"{name}.npy", counts(*shape))
    np.save(tmp_path / "c2.npy", counts(2, 1, 8, 9))
    series = open_series([tmp_path])
    assert [(one.name, len(one.frames)) for one in series] == [
        ("a1", 2),
        ("b1", 1),
        ("c1", 1),
        ("c2", 2),
    ]


def test_files_of_two_folders_are_two_runs(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for number in range(2):
            np.save(tmp_path / folder / f"{number}.npy", counts(8, 9))
    series = open_series([tmp_path / "a", tmp_path / "b"])
    assert [[frame.path.parent.name for frame in one.frames] for one in series] == [
        ["a", "a"],
        ["b", "b"],
    ]


def test_paths_that_hold_nothing(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no data")
    with pytest.raises(DataFileError, match=r"holds no data files .* folders within it"):
        open_series([tmp_path])
    with pytest.raises(DataFileError, match="no such file"):
        open_series([tmp_path / "gone.cbf"])
    with pytest.raises(DataFileError, match=r"suffix '\.txt' is not known"):
        open_series([tmp_path / "notes.txt"])
    _write(tmp_path / "a.tif", counts(8, 9))
    with pytest.raises(DataFileError, match="takes nothing after '::'"):
        open_series([Path(f"{tmp_path / 'a.tif'}::frames")])


def _write_cbf(path: Path, text: str, pixels: NDArray[Any]) -> None:
    header = {"_array_data.header_contents": text}
    CbfImage(data=pixels.astype(np.int32), header=header).write(str(path))


def test_a_cbf_says_what_its_detector_is(tmp_path: Path) -> None:
    pixels = counts(8, 9).astype(np.int32)
    pixels[3, 4] = -1
    text = "# Count_cutoff 5000 counts\r\n# Pixel_size 172e-6 m x 173e-6 m\r\n"
    text += "# Wavelength 0.97 A\r\n# Detector_distance 0.35 m\r\n# Beam_xy (4.25, 5.5) pixels\r\n"
    _write_cbf(tmp_path / "a.cbf", text, pixels)
    (series,) = open_series([tmp_path / "a.cbf"])
    detector = series.detector
    assert detector.mask is not None
    assert np.argwhere(detector.mask).tolist() == [[3, 4]]
    assert (detector.saturation, detector.underload) == (5000, 0)
    assert (detector.beam_x_px, detector.beam_y_px) == (4.25, 5.5)
    assert detector.pixel_x_mm == pytest.approx(0.172)
    assert detector.pixel_y_mm == pytest.approx(0.173)
    assert detector.distance_mm == pytest.approx(350)
    assert detector.wavelength_angstrom == pytest.approx(0.97)


def test_zeros_of_a_cbf_are_what_nobody_entered(tmp_path: Path) -> None:
    text = "# Count_cutoff 0 counts\r\n# Pixel_size 172e-6 m x 172e-6 m\r\n# Wavelength 1e999 A\r\n"
    text += "# Detector_distance 0.0 m\r\n# Beam_xy (0.00, 0.00) pixels\r\n"
    _write_cbf(tmp_path / "a.cbf", text, counts(8, 9))
    (series,) = open_series([tmp_path / "a.cbf"])
    detector = series.detector
    assert (detector.saturation, detector.distance_mm) == (None, None)
    assert (detector.beam_x_px, detector.beam_y_px) == (None, None)
    assert detector.wavelength_angstrom is None
    assert detector.pixel_x_mm == pytest.approx(0.172)


def test_a_number_that_is_none_is_named_with_its_file_and_the_remedy(tmp_path: Path) -> None:
    _write_cbf(tmp_path / "a.cbf", "# Wavelength 0.9.7 A\r\n", counts(8, 9))
    said = r"a\.cbf: its header says 'Wavelength 0\.9\.7 A', which is no number; correct it"
    with pytest.raises(DataFileError, match=said):
        open_series([tmp_path])


def test_images_of_one_folder_are_parted_where_their_headers_say_another_experiment(
    tmp_path: Path,
) -> None:
    distances_m = {"a_1": 0.1, "a_2": 0.1004, "a_3": None, "b_1": 0.4, "b_2": 0.4}
    for name, distance_m in distances_m.items():
        said = "" if distance_m is None else f"# Detector_distance {distance_m} m\r\n"
        text = f"# Beam_xy (4.25, 5.5) pixels\r\n{said}"
        _write_cbf(tmp_path / f"{name}.cbf", text, counts(8, 9))
    near, far = open_series([tmp_path])
    assert (near.name, len(near.frames), near.detector.distance_mm) == ("a_1", 3, 100)
    assert (far.name, len(far.frames), far.detector.distance_mm) == ("b_1", 2, 400)
