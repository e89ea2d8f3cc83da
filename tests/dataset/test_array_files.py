"""NumPy arrays and headerless binaries: what their axes mean, and what is refused."""

import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hitfinder.dataset.array_files import open_array, open_raw
from hitfinder.dataset.location import parse_location
from hitfinder.dataset.series import open_series
from hitfinder.errors import DataFileError
from tests.dataset.files import counts, read_all


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize(
    ("shape", "inside", "frames", "frame_shape"),
    [
        ((8, 9), "", 1, (8, 9)),
        ((4, 8, 9), "", 1, (4, 8, 9)),
        ((257, 2, 3), "", 257, (2, 3)),
        ((2, 513, 1024), "", 2, (513, 1024)),
        ((2, 512, 1024), "", 1, (2, 512, 1024)),
        ((4, 8, 9), "::frames", 4, (8, 9)),
        ((300, 2, 3), "::modules", 1, (300, 2, 3)),
        ((3, 4, 8, 9), "", 3, (4, 8, 9)),
    ],
)
def test_what_the_axes_mean(
    tmp_path: Path,
    suffix: str,
    shape: tuple[int, ...],
    inside: str,
    frames: int,
    frame_shape: tuple[int, ...],
) -> None:
    array, path = counts(*shape), tmp_path / f"a{suffix}"
    np.save(path, array) if suffix == ".npy" else np.savez(path, some=array)
    file = open_array(parse_location(Path(f"{path}{inside}")))
    assert (len(file.frames), file.shape) == (frames, frame_shape)
    np.testing.assert_array_equal(read_all(f"{path}{inside}"), array.reshape(frames, *frame_shape))


def test_npz_takes_data_or_the_only_array(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, mask=counts(2, 2), data=counts(8, 9))
    assert read_all(path).shape == (1, 8, 9)
    np.savez(path, mask=counts(2, 2), image=counts(8, 9))
    with pytest.raises(DataFileError, match="holds the arrays mask, image"):
        open_series([path])


def test_byte_order_becomes_native(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", counts(8, 9).astype(">u2"))
    np.testing.assert_array_equal(read_all(tmp_path / "a.npy")[0], counts(8, 9))


def _npz_of(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("data.npy", data)
    return out.getvalue()


def _npy_of(array: object) -> bytes:
    out = io.BytesIO()
    np.save(out, np.asarray(array), allow_pickle=True)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.npy", b""),
        ("a.npy", b"not an array"),
        ("a.npy", _npy_of(counts(8, 9))[:-10]),
        ("a.npy", _npy_of([{"an": "object"}])),
        ("a.npy", _npy_of(np.zeros((8, 9), "c8"))),
        ("a.npy", _npy_of(np.zeros(9))),
        ("a.npy", _npy_of(np.zeros((0, 2, 8, 9)))),
        ("a.npz", b""),
        ("a.npz", b"not an archive"),
        ("a.npz", _npz_of(_npy_of(counts(8, 9)))[:-30]),
        ("a.npz", _npz_of(_npy_of(counts(8, 9))[:-30])),
        ("a.npz", _npz_of(b"")),
        ("a.npz", _npz_of(_npy_of([{"an": "object"}]))),
    ],
)
def test_unusable_arrays(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataFileError, match=name):
        open_series([tmp_path / name])


def test_unknown_word_after_the_colons(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", counts(8, 9))
    with pytest.raises(DataFileError, match="modules or frames, not 'stack'"):
        open_series([Path(f"{tmp_path / 'a.npy'}::stack")])


@given(
    dtype=st.sampled_from(["u1", "u2", "<i4", ">u2", ">f4", "f8"]),
    shape=st.lists(st.integers(1, 5), min_size=2, max_size=3),
    offset=st.integers(0, 20),
    frames=st.integers(1, 3),
)
def test_raw_binaries(
    tmp_path_factory: pytest.TempPathFactory,
    dtype: str,
    shape: list[int],
    offset: int,
    frames: int,
) -> None:
    path = tmp_path_factory.mktemp("raw") / "a.bin"
    stored = np.dtype(dtype if dtype[0] in "<>" else f"<{dtype}")
    array = counts(frames, *shape).astype(stored)
    path.write_bytes(bytes(offset) + array.tobytes())
    spec = f"{dtype},{'x'.join(map(str, shape))}" + (f",offset={offset}" if offset else "")
    np.testing.assert_array_equal(read_all(f"{path}::{spec}"), array)
    packed = path.with_name("a.bin.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(read_all(f"{packed}::{spec}"), array)


def test_raw_sizes_must_fit(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(99))
    for spec in ("u2,8x6", "u2,8x9", "u1,9x11,offset=99", "u2,8x9,offset=200"):
        with pytest.raises(DataFileError, match="no multiple of"):
            open_series([Path(f"{path}::{spec}")])
    with pytest.raises(DataFileError, match=r"suffix '\.bin' is not known"):
        open_series([path])
    with pytest.raises(DataFileError, match="is not 'dtype,ROWSxCOLS"):
        open_raw(parse_location(Path(f"{path}::u3,8x9")))
    with pytest.raises(DataFileError, match="are no frame"):
        open_series([Path(f"{path}::u1,0x9")])


def test_raw_file_that_shrinks(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(72 * 2))
    (series,) = open_series([Path(f"{path}::u1,8x9")])
    path.write_bytes(bytes(100))
    with pytest.raises(DataFileError, match="has become shorter"):
        series.frames[1].load()
