"""HDF5 in every layout and place, and files that are not whole."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from hitfinder.dataset.frames import Label
from hitfinder.dataset.series import open_series
from hitfinder.errors import DataFileError
from tests.dataset.files import LAYOUTS, counts, read_all, write_hdf5, write_stack


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(3, 20, 33), (2, 4, 16, 24)])
def test_every_layout_reads_as_h5py_reads_it(
    tmp_path: Path, layout: str, shape: tuple[int, ...]
) -> None:
    frames = counts(*shape)
    path = write_stack(tmp_path / "run.h5", frames, layout)
    (series,) = open_series([path])
    payload = series.frames[1].load()
    assert payload.encoding == LAYOUTS[layout][1]
    np.testing.assert_array_equal(payload.rows(3, 9), frames[1].reshape(-1, shape[-1])[3:9])
    np.testing.assert_array_equal(read_all(path), frames)


def test_chunk_travels_as_it_lies_in_the_file(tmp_path: Path) -> None:
    path = write_stack(tmp_path / "run.h5", counts(2, 100, 120), "bitshuffle-lz4")
    (series,) = open_series([path])
    with h5py.File(path) as file:
        _, chunk = file["data"].id.read_direct_chunk((1, 0, 0))
    assert series.frames[1].load().data == chunk


@pytest.mark.parametrize("chunks", [(1, 8, 9), (1, 4, 3), (2, 8, 9)])
def test_a_frame_never_written_is_no_miss(tmp_path: Path, chunks: tuple[int, ...]) -> None:
    path = write_stack(tmp_path / "run.h5", counts(1, 8, 9), "bitshuffle-lz4")
    with h5py.File(path, "a") as file:
        del file["data"]
        cut_short = file.create_dataset(
            "data", (5, 8, 9), "u2", chunks=chunks, compression=32008, compression_opts=(0, 2)
        )
        cut_short[:2] = counts(2, 8, 9)
    (series,) = open_series([path])
    for ref in series.frames[:2]:
        assert ref.load().whole().any()
    for number, ref in enumerate(series.frames[2:], 2):
        with pytest.raises(DataFileError, match=f"frame {number} was never written; the file is"):
            ref.load()


def test_big_endian_pixels_become_native(tmp_path: Path) -> None:
    frames = counts(2, 8, 9)
    path = write_stack(tmp_path / "run.h5", frames.astype(">u2"), "bitshuffle-lz4")
    np.testing.assert_array_equal(read_all(path), frames)


@pytest.mark.parametrize(
    "place",
    [
        "entry/data/data",
        "entry/data/data_000001",
        "entry_1/data_1/data",
        "entry_1/instrument_1/detector_1/data",
        "somewhere/else",
    ],
)
def test_frames_are_found_where_they_usually_lie(tmp_path: Path, place: str) -> None:
    frames = counts(2, 8, 9)
    path = write_hdf5(tmp_path / "run.cxi", **{place: frames, "entry/other": np.zeros(5)})
    np.testing.assert_array_equal(read_all(path), frames)


@pytest.mark.parametrize("shape", [(2, 5632, 384), (3, 8, 64, 64)])
def test_panels_of_a_cxi_file(tmp_path: Path, shape: tuple[int, ...]) -> None:
    frames = counts(*shape).astype(np.int16)
    path = write_stack(tmp_path / "run.cxi", frames, "gzip-shuffle", "entry_1/data_1/data")
    (series,) = open_series([path])
    assert series.shape == shape[1:]
    np.testing.assert_array_equal(read_all(path), frames)


def test_cxi_links_and_its_mask(tmp_path: Path) -> None:
    mask = np.zeros((8, 9), "u4")
    # hot; a background that was corrected; a peak; a signal, which is no fault at all
    mask[1, 1], mask[2, 2], mask[3, 3], mask[4, 4] = 4, 0x4000, 0x2000, 0x10000
    path = write_hdf5(
        tmp_path / "run.cxi",
        entry_1__instrument_1__detector_1__data=counts(2, 8, 9),
        entry_1__instrument_1__detector_1__mask=mask,
        entry_1__result_1__peakXPosRaw=np.zeros((2, 1024)),
    )
    with h5py.File(path, "a") as file:
        file["entry_1/data_1/data"] = h5py.SoftLink("/entry_1/instrument_1/detector_1/data")
    (series,) = open_series([path])
    assert series.detector.mask is not None
    assert np.argwhere(series.detector.mask).tolist() == [[1, 1]]
    np.testing.assert_array_equal(read_all(path), counts(2, 8, 9))


@pytest.mark.parametrize("frames", [1, 3, 40])
def test_masks_of_each_frame_have_the_detectors_in_common(tmp_path: Path, frames: int) -> None:
    masks = np.zeros((frames, 8, 9), "u2")
    masks[:, 3, 4] = 1
    if frames > 1:
        masks[0, 5, 5] = masks[-1, 6, 6] = 2  # saturated for once
    path = write_hdf5(
        tmp_path / "run.cxi",
        entry_1__data_1__data=counts(frames, 8, 9),
        entry_1__instrument_1__detector_1__mask=masks,
    )
    (series,) = open_series([path])
    assert series.detector.mask is not None
    assert np.argwhere(series.detector.mask).tolist() == [[3, 4]]


def test_a_mask_of_another_shape_is_left_out(tmp_path: Path) -> None:
    path = write_hdf5(
        tmp_path / "run.cxi",
        entry_1__data_1__data=counts(2, 8, 9),
        entry_1__instrument_1__detector_1__mask=np.ones((9, 8), "u2"),
    )
    assert open_series([path])[0].detector.mask is None


def test_a_dataset_with_an_odd_name(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "run.h5", **{"my images [counts]": counts(2, 8, 9)})
    np.testing.assert_array_equal(read_all(path), counts(2, 8, 9))


TEXT = np.array(["salt", "cosmic,ice"], h5py.string_dtype())


@pytest.mark.parametrize("text", [TEXT, TEXT.astype("S12")])
def test_labels_with_tier_and_artefacts(tmp_path: Path, text: object) -> None:
    path = write_hdf5(
        tmp_path / "run.h5",
        entry__data__data=counts(2, 8, 9),
        entry__truth__hit=np.array([1, 0], "i8"),
        entry__truth__tier=np.array([2, 0], "u1"),
        entry__truth__artefacts=text,
    )
    (series,) = open_series([path])
    assert [frame.label for frame in series.frames] == [
        Label(truth="hit", tier="strong", artefacts=("salt",)),
        Label(truth="miss", artefacts=("cosmic", "ice")),
    ]


def test_truth_alone_and_codes_that_say_nothing(tmp_path: Path) -> None:
    path = write_hdf5(
        tmp_path / "run.h5",
        entry__data__data=counts(4, 8, 9),
        entry__truth__hit=np.array([1, -1, -2, 77], "i1"),
    )
    (series,) = open_series([path])
    assert [frame.truth for frame in series.frames] == ["hit", "ambiguous", None, None]


@pytest.mark.parametrize(
    ("place", "values", "message"),
    [
        ("hit", np.zeros((2, 1), "i1"), r"hit has shape \(2, 1\) for 2 frames; write one value a"),
        ("hit", np.ones(2), "hit holds float64, not whole numbers"),
        ("hit", TEXT, "hit holds text, not whole numbers"),
        ("hit/inside", np.zeros(2), "hit has shape none for 2 frames"),
        ("tier", np.zeros(3, "i1"), r"tier has shape \(3,\) for 2 frames"),
        ("tier", np.zeros(2), "tier holds float64, not whole numbers"),
        ("tier", TEXT, "tier holds text, not whole numbers"),
        ("artefacts", TEXT[:1], r"artefacts has shape \(1,\) for 2 frames"),
        ("artefacts", 1, r"artefacts has shape \(\) for 2 frames"),
        ("artefacts", np.zeros(2, "i1"), "artefacts holds int8, not text"),
        ("artefacts", np.array([b"\xff", b""]), "artefacts holds b'.xff', no text in UTF-8"),
    ],
)
def test_labels_that_are_none(tmp_path: Path, place: str, values: object, message: str) -> None:
    datasets = {"hit": np.ones(2, "i1")} if not place.startswith("hit") else {}
    path = write_hdf5(
        tmp_path / "run.h5",
        entry__data__data=counts(2, 8, 9),
        **{f"entry/truth/{name}": each for name, each in (datasets | {place: values}).items()},
    )
    with pytest.raises(DataFileError, match=rf"run\.h5: /entry/truth/{message}") as caught:
        open_series([path])
    assert "\n" not in str(caught.value)


def test_two_stacks_need_a_choice(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "run.h5", a=counts(2, 8, 9), b__c=counts(3, 8, 9))
    with pytest.raises(DataFileError, match=r"/a, /b/c; say which by appending '::/path"):
        open_series([path])
    assert read_all(f"{path}::/b/c").shape == (3, 8, 9)
    with pytest.raises(DataFileError, match="no dataset at '/nowhere'"):
        open_series([Path(f"{path}::/nowhere")])


@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        ({}, "has none"),
        ({"entry__data__data": np.zeros((0, 8, 9), "u2")}, "holds no frames yet"),
        ({"entry__data__data": np.zeros(5)}, "1 dimensions"),
        ({"entry__data__data": np.zeros((2, 3, 4), "c8")}, "are no frame"),
        (
            {"entry__data__data": counts(2, 8, 9), "entry__truth__hit": np.zeros(3, "i1")},
            r"shape \(3,\) for 2 frames",
        ),
        (
            {"entry__data__data_1": counts(1, 8, 9), "entry__data__data_2": counts(1, 8, 8)},
            "differ in shape or dtype",
        ),
    ],
)
def test_files_without_usable_frames(
    tmp_path: Path, datasets: dict[str, object], message: str
) -> None:
    path = write_hdf5(tmp_path / "run.h5", **datasets)
    with pytest.raises(DataFileError, match=message):
        open_series([path])


@pytest.mark.parametrize("keep", [0, 10, 600, 0.5, 0.99])
def test_cut_file(tmp_path: Path, keep: float) -> None:
    path = write_stack(tmp_path / "run.h5", counts(3, 50, 60), "bitshuffle-lz4")
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if keep < 1 else int(keep)])
    with pytest.raises(DataFileError, match=r"run\.h5: HDF5 cannot read it"):
        open_series([path])


def test_damage_in_a_filtered_chunk_shows_on_load(tmp_path: Path) -> None:
    path = write_stack(tmp_path / "run.h5", counts(1, 50, 60), "gzip-shuffle")
    with h5py.File(path) as file:
        where = file["data"].id.get_chunk_info_by_coord((0, 0, 0))
    data = bytearray(path.read_bytes())
    data[where.byte_offset : where.byte_offset + where.size] = bytes(where.size)
    path.write_bytes(data)
    (series,) = open_series([path])
    with pytest.raises(DataFileError, match=r"run\.h5: HDF5 cannot read it"):
        series.frames[0].load()


def test_a_single_frame_dataset(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "one.h5", entry__data__data=counts(8, 9))
    np.testing.assert_array_equal(read_all(path), counts(1, 8, 9)[0][None])


def test_detector_in_units_of_the_file(tmp_path: Path) -> None:
    mask = np.zeros((8, 9), "u4")
    mask[2, 3] = 16
    path = write_hdf5(
        tmp_path / "run_master.h5",
        entry__data__data=counts(2, 8, 9),
        entry__instrument__detector__beam_center_x=4.5,
        entry__instrument__detector__beam_center_y=0.0,
        entry__instrument__detector__x_pixel_size=75e-6,
        entry__instrument__detector__detector_distance=[0.15],
        entry__instrument__detector__detectorSpecific__pixel_mask=mask,
        entry__instrument__detector__detectorSpecific__countrate_correction_count_cutoff=9999,
        entry__instrument__beam__incident_wavelength=0.1,
    )
    with h5py.File(path, "a") as file:
        file["entry/instrument/beam/incident_wavelength"].attrs["units"] = "nm"
    (series,) = open_series([path])
    detector = series.detector
    assert detector.shape == (8, 9)
    assert detector.mask is not None
    assert np.argwhere(detector.mask).tolist() == [[2, 3]]
    assert detector.beam_x_px == 4.5
    assert detector.beam_y_px is None  # 0 is DECTRIS for "nobody said"
    assert detector.pixel_x_mm == pytest.approx(0.075)
    assert detector.distance_mm == pytest.approx(150)
    assert detector.wavelength_angstrom == pytest.approx(1)
    assert detector.saturation == 9999
    with h5py.File(path, "a") as file:
        file["entry/instrument/beam/incident_wavelength"].attrs["units"] = "furlong"
    with pytest.raises(DataFileError, match="is in 'furlong'; known units"):
        open_series([path])


@pytest.mark.parametrize("units", ["mm", np.array([b"mm"]), np.array(["mm"], h5py.string_dtype())])
def test_a_beam_that_is_given_as_a_length(tmp_path: Path, units: object) -> None:
    path = write_hdf5(
        tmp_path / "run.h5",
        entry__data__data=counts(2, 8, 9),
        entry__instrument__detector__beam_center_x=0.3,
        entry__instrument__detector__beam_center_y=4.5,
        entry__instrument__detector__x_pixel_size=75e-6,
        entry__instrument__detector__distance__value=0.2,  # a group, which says nothing
    )
    with h5py.File(path, "a") as file:
        detector = file["entry/instrument/detector"]
        detector["beam_center_x"].attrs["units"] = units
        detector["beam_center_y"].attrs["units"] = "pixels"
    found = open_series([path])[0].detector
    assert found.beam_x_px == pytest.approx(4.0)
    assert found.beam_y_px == 4.5
    assert found.distance_mm is None
    with h5py.File(path, "a") as file:
        del file["entry/instrument/detector/x_pixel_size"]
    with pytest.raises(DataFileError, match="is in 'mm', and no size of a pixel"):
        open_series([path])
