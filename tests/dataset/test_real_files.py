"""Real frames, beside the checkout."""

from pathlib import Path

import numpy as np
import pytest

from hitfinder.dataset.location import read_bytes
from hitfinder.dataset.series import open_series
from hitfinder.errors import DataFileError


def test_thaumatin_on_a_pilatus(realdata: Path) -> None:
    folder = realdata / "thaumatin_grid_pilatus6m"
    (series,) = open_series([folder])
    assert (series.name, len(series.frames)) == ("thau_3_2_0001", 8)
    assert series.shape == (2527, 2463)
    assert series.dtype == np.int32
    assert series.detector.saturation == 115897
    assert series.detector.mask is not None
    assert series.detector.mask.sum() == 526726
    assert series.detector.distance_mm == pytest.approx(351)
    miss = series.frames[7].load().whole()
    assert miss.shape == (2527, 2463)
    assert np.median(miss[~series.detector.mask]) == 1


@pytest.mark.parametrize(
    ("path", "frames", "shape", "dtype", "mean"),
    [
        ("xfel_thermolysin_cspad", 2, (32, 185, 388), "i2", 14.314),
        ("jungfrau_module_bragg::f4,512x1024", 6, (512, 1024), "f4", 1.760),
        ("lunus_snase_diffuse/snc_newhead_00001.img.gz", 1, (1024, 1024), "u2", 873.372),
        (
            "lunus_snase_diffuse/snc_newhead_00001.img.gz::u2,1024x1024,offset=512",
            1,
            (1024, 1024),
            "u2",
            873.372,
        ),
        ("powder_pilatus300k/test_edf.edf.gz", 1, (619, 487), "i4", 24.301),
        ("rotation_weak", 1, (2527, 2463), "i4", 0.006),
        ("fabio_images/somedata_0001.mccd.bz2", 1, (1024, 1024), "u2", 128.372),
        ("fabio_images/i01f0001.kcd.bz2", 1, (576, 625), "i4", 195.386),
    ],
)
def test_formats(
    realdata: Path, path: str, frames: int, shape: tuple[int, ...], dtype: str, mean: float
) -> None:
    (series,) = open_series([realdata / path])
    assert (len(series.frames), series.shape, series.dtype) == (frames, shape, np.dtype(dtype))
    pixels = series.frames[0].load().whole()
    assert pixels.shape == shape
    assert pixels.mean(dtype=np.float64) == pytest.approx(mean, abs=1e-3)


@pytest.mark.parametrize(
    ("path", "suffix"),
    [
        ("fabio_images/somedata_0001.mccd.bz2", ".mccd"),
        ("fabio_images/run2_1_00148.cbf.bz2", ".cbf"),
        ("lunus_snase_diffuse/snc_newhead_00001.img.gz", ".img"),
    ],
)
@pytest.mark.parametrize("keep", [0.001, 0.5, 0.99])
def test_cut_files(realdata: Path, tmp_path: Path, path: str, suffix: str, keep: float) -> None:
    data = read_bytes(realdata / path)
    cut = tmp_path / f"a{suffix}"
    cut.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(DataFileError, match=f"a{suffix}: is no readable image") as caught:
        open_series([cut])
    assert "\n" not in str(caught.value)
