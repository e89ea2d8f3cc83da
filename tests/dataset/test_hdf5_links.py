"""HDF5 frames that lie in other files: links, masters, virtual datasets."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from hitfinder.dataset.frames import check_given_once
from hitfinder.dataset.series import open_series
from hitfinder.errors import DataFileError
from tests.dataset.files import counts, read_all, write_hdf5, write_stack


@pytest.mark.parametrize("link", [h5py.SoftLink("/a/b"), h5py.ExternalLink("raw.h5", "/a/b")])
def test_links_to_frames(tmp_path: Path, link: object) -> None:
    for name in ("raw.h5", "run.h5"):
        write_hdf5(tmp_path / name, a__b=counts(2, 8, 9))
    with h5py.File(tmp_path / "run.h5", "a") as file:
        file["entry/data/data"] = link
    np.testing.assert_array_equal(read_all(tmp_path / "run.h5"), counts(2, 8, 9))


def test_a_link_to_nothing(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "run.cxi", other=counts(2, 8, 9))
    with h5py.File(path, "a") as file:
        file["entry_1/data_1/data"] = h5py.SoftLink("/gone")
    with pytest.raises(DataFileError, match="files it links to lie beside it"):
        open_series([path])


def test_master_whose_data_file_is_cut(tmp_path: Path) -> None:
    path = _master(tmp_path, 2, 3)
    data = (tmp_path / "run_data_000002.h5").read_bytes()
    (tmp_path / "run_data_000002.h5").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataFileError, match=r"run_master\.h5: HDF5 cannot read it .*truncated"):
        open_series([path])


def _master(folder: Path, *lengths: int) -> Path:
    for number, length in enumerate(lengths, start=1):
        name = f"run_data_{number:06d}.h5"
        write_stack(
            folder / name, counts(length, 8, 9, seed=number), "bitshuffle-lz4", "entry/data/data"
        )
    path = folder / "run_master.h5"
    with h5py.File(path, "w") as file:
        for number in range(1, len(lengths) + 1):
            link = h5py.ExternalLink(f"run_data_{number:06d}.h5", "/entry/data/data")
            file[f"entry/data/data_{number:06d}"] = link
    return path


def test_master_joins_its_data_files_in_order(tmp_path: Path) -> None:
    _master(tmp_path, 2, 3)
    (series,) = open_series([tmp_path])  # the folder: data files are read through the master only
    assert series.name == "run"
    assert [frame.index for frame in series.frames] == [0, 1, 2, 3, 4]
    expected = np.concatenate([counts(2, 8, 9, seed=1), counts(3, 8, 9, seed=2)])
    np.testing.assert_array_equal(
        np.stack([frame.load().whole() for frame in series.frames]), expected
    )
    assert series.frames[4].load().encoding == "bslz4"


def test_data_files_of_a_master_that_is_gone_are_one_run(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        _master(tmp_path / folder, 3, 2, 1).unlink()
    other = write_hdf5(tmp_path / "a" / "two_data_000001.h5", data=counts(2, 8, 9))
    series = open_series([tmp_path / "a", tmp_path / "b"])
    assert [len(one.frames) for one in series] == [6, 2, 6]
    assert [frame.index for frame in series[0].frames] == [0, 1, 2, 0, 1, 0]
    assert series[1].frames[0].path == other


@pytest.mark.parametrize("through", ["run_master.h5", "virtual.h5", "outer.h5"])
def test_a_file_given_by_itself_and_through_another(tmp_path: Path, through: str) -> None:
    _master(tmp_path, 2)
    data = tmp_path / "run_data_000001.h5"
    _virtual(tmp_path / "virtual.h5", data.name, "entry/data/data")
    _virtual(tmp_path / "outer.h5", "virtual.h5", "entry/data/data")
    check_given_once(open_series([tmp_path / through]))
    with pytest.raises(DataFileError, match=rf"000001\.h5: .* given twice, through .*{through}"):
        check_given_once(open_series([tmp_path / through, data]))


def test_master_without_its_data_file_names_the_remedy(tmp_path: Path) -> None:
    path = _master(tmp_path, 2, 3)
    (tmp_path / "run_data_000002.h5").unlink()
    with pytest.raises(DataFileError, match="files it links to lie beside it"):
        open_series([path])


def test_virtual_dataset_without_its_file_is_no_series_of_zeros(tmp_path: Path) -> None:
    source = write_hdf5(tmp_path / "part.h5", data=counts(2, 8, 9))
    path = _virtual(tmp_path / "whole.h5", "part.h5")
    np.testing.assert_array_equal(read_all(path), counts(2, 8, 9))
    source.unlink()
    with pytest.raises(DataFileError, match=r"made of 'part\.h5'"):
        open_series([path])


def _virtual(path: Path, source: str, inside: str = "data") -> Path:
    """A file whose two frames lie in `source`."""
    with h5py.File(path, "w") as file:
        layout = h5py.VirtualLayout((2, 8, 9), "u2")
        layout[:] = h5py.VirtualSource(source, inside, (2, 8, 9))
        file.create_virtual_dataset("entry/data/data", layout)
    return path


def test_a_virtual_dataset_of_virtual_ones_is_no_series_of_zeros(tmp_path: Path) -> None:
    source = write_hdf5(tmp_path / "raw.h5", data=counts(2, 8, 9))
    _virtual(tmp_path / "part.h5", "raw.h5")
    path = _virtual(tmp_path / "whole.h5", "part.h5", "entry/data/data")
    np.testing.assert_array_equal(read_all(path), counts(2, 8, 9))
    source.unlink()
    with pytest.raises(DataFileError, match=r"whole\.h5: .* is made of 'raw\.h5', which is not"):
        open_series([path])


@pytest.mark.parametrize("source", ["part.h5", "."])
def test_a_source_without_the_dataset_is_no_series_of_zeros(tmp_path: Path, source: str) -> None:
    write_hdf5(tmp_path / "part.h5", other=counts(2, 8, 9))
    path = _virtual(tmp_path / "whole.h5", source, "gone")
    with pytest.raises(DataFileError, match=r"is made of 'gone' in .* has no such dataset"):
        open_series([path])


def test_the_sources_of_a_virtual_dataset_are_sought_where_hdf5_seeks_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, linked, work = tmp_path / "raw", tmp_path / "linked", tmp_path / "work"
    for folder in (raw, linked, work):
        folder.mkdir()
    monkeypatch.chdir(work)
    write_hdf5(raw / "part.h5", data=counts(2, 8, 9))
    write_hdf5(work / "near.h5", data=counts(2, 8, 9))
    beside = _virtual(raw / "beside.h5", "part.h5")
    (linked / "symlink.h5").symlink_to(beside)
    with h5py.File(linked / "master.h5", "w") as file:
        file["entry/data/data"] = h5py.ExternalLink("../raw/beside.h5", "entry/data/data")
    for path in (
        linked / "symlink.h5",
        linked / "master.h5",
        _virtual(raw / "moved.h5", "/gone/part.h5"),
        _virtual(raw / "worked.h5", "near.h5"),
    ):
        np.testing.assert_array_equal(read_all(path), counts(2, 8, 9))


def test_a_source_beside_the_master_only_is_no_series_of_zeros(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    write_hdf5(tmp_path / "part.h5", data=counts(2, 8, 9))
    _virtual(tmp_path / "raw" / "virtual.h5", "part.h5")
    with h5py.File(tmp_path / "master.h5", "w") as file:
        file["entry/data/data"] = h5py.ExternalLink("raw/virtual.h5", "entry/data/data")
    with pytest.raises(DataFileError, match=r"made of 'part\.h5'"):
        open_series([tmp_path / "master.h5"])


def test_a_virtual_dataset_of_numbered_files(tmp_path: Path) -> None:
    frames = counts(2, 8, 9)
    for number in range(2):
        write_hdf5(tmp_path / f"part{number}.h5", data=frames[number : number + 1])
    growing = h5py.h5s.create_simple((2, 8, 9), (h5py.h5s.UNLIMITED, 8, 9))
    blocks = growing.copy()
    blocks.select_hyperslab((0, 0, 0), (h5py.h5s.UNLIMITED, 1, 1), (1, 8, 9), (1, 8, 9))
    options = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    options.set_virtual(blocks, b"part%b.h5", b"data", h5py.h5s.create_simple((1, 8, 9)))
    with h5py.File(tmp_path / "run.h5", "w") as file:
        group = file.create_group("entry/data")
        h5py.h5d.create(group.id, b"data", h5py.h5t.NATIVE_UINT16, growing, options)
    np.testing.assert_array_equal(read_all(tmp_path / "run.h5"), frames)


@pytest.mark.parametrize("name", ["pixel_mask", "beam_center_x"])
def test_a_detector_behind_a_file_that_is_gone_is_not_another_detector(
    tmp_path: Path, name: str
) -> None:
    path = write_hdf5(tmp_path / "run.h5", entry__data__data=counts(2, 8, 9))
    with h5py.File(path, "a") as file:
        file[f"entry/instrument/detector/{name}"] = h5py.ExternalLink("run_meta.h5", f"/{name}")
        file["entry/instrument/detector/saturation_value"] = h5py.SoftLink("/never/said")
    with pytest.raises(DataFileError, match=rf"{name} leads to 'run_meta\.h5', which is not there"):
        open_series([path])
    mask = np.eye(8, 9, dtype=np.uint32)
    write_hdf5(tmp_path / "run_meta.h5", pixel_mask=mask, beam_center_x=4.5)
    (series,) = open_series([path])
    assert (series.detector.mask is None) == (name != "pixel_mask")
    assert series.detector.saturation is None


def test_parts_of_one_run_are_joined_in_whatever_order_runs_are_given(tmp_path: Path) -> None:
    for name in ("a_data_000001", "a_data_000002", "b_data_000001", "b_data_000002"):
        write_hdf5(tmp_path / f"{name}.h5", entry__data__data=counts(2, 8, 9))
    mixed = [tmp_path / f"{run}_data_00000{part}.h5" for part in (1, 2) for run in "ab"]
    assert [(one.name[0], len(one.frames)) for one in open_series(mixed)] == [("a", 4), ("b", 4)]


def test_files_of_one_frame_are_parted_where_they_say_another_experiment(tmp_path: Path) -> None:
    for number, distance_m in enumerate((0.1, 0.1, 0.3)):
        write_hdf5(
            tmp_path / f"r{number}.h5",
            entry__data__data=counts(1, 8, 9),
            entry__instrument__detector__detector_distance=distance_m,
        )
    series = open_series([tmp_path])
    assert [(len(one.frames), one.detector.distance_mm) for one in series] == [(2, 100), (1, 300)]


def test_a_frame_that_no_source_of_a_virtual_dataset_has_is_no_miss(tmp_path: Path) -> None:
    write_hdf5(tmp_path / "part.h5", data=counts(2, 8, 9))
    layout = h5py.VirtualLayout((5, 8, 9), "u2")
    layout[1:3] = h5py.VirtualSource("part.h5", "data", (2, 8, 9))
    path = tmp_path / "whole.h5"
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("entry/data/data", layout)
    (series,) = open_series([path])
    read = [series.frames[number].load().whole() for number in (1, 2)]
    np.testing.assert_array_equal(np.stack(read), counts(2, 8, 9))
    for number in (0, 3, 4):
        with pytest.raises(DataFileError, match=f"frame {number} was never written"):
            series.frames[number].load()
