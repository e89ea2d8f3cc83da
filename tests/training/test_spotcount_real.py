"""The shipped spot counter on measured frames, whole, with one setting for every detector."""

import bz2
import gzip
from pathlib import Path

import cbor2
import fabio
import numpy as np
import pytest
from numpy.typing import NDArray

from hitfinder.frame import Detector, Payload, array_payload
from hitfinder.images.region import RegionSettings, plan_region
from hitfinder.inference.model_card import shipped_models
from hitfinder.inference.onnx_model import OnnxModel
from hitfinder.wire.compression import CODECS

COUNTING = Detector(saturation=1e6, underload=0.0)
INTEGRATING = Detector()


@pytest.fixture(scope="module")
def model() -> OnnxModel:
    return OnnxModel.load(shipped_models() / "spotcount", "cpu")


def score(model: OnnxModel, frame: NDArray[np.generic] | Payload, detector: Detector) -> float:
    """The score of a whole frame, read as the service reads it."""
    payload = frame if isinstance(frame, Payload) else array_payload(frame)
    reader = plan_region(RegionSettings(kind="whole"), payload.shape, detector, None)
    batch = np.empty((1, *reader.shape), np.float32)
    reader.read(payload, batch[0])
    return float(model.score(batch)[0])


def encoded(data: bytes, encoding: str, dtype: str, shape: tuple[int, ...]) -> Payload:
    return Payload(
        data=data,
        dtype=np.dtype(dtype),
        shape=shape,
        encoding=encoding,
        decode=CODECS[encoding].decode,
    )


@pytest.mark.parametrize(
    ("number", "is_hit"),
    [(1, True), (5, True), (12, True), (15, True), (17, False), (19, False)],
)
def test_thaumatin_on_a_pilatus(
    model: OnnxModel, realdata: Path, number: int, is_hit: bool
) -> None:
    path = realdata / "thaumatin_grid_pilatus6m" / f"thau_3_2_{number:04d}.cbf.bz2"
    with fabio.open(path) as image:
        value = score(model, image.data, COUNTING)
    assert (value >= 0.9) if is_hit else (value <= 0.1)


@pytest.mark.parametrize("number", [401, 601])
def test_thermolysin_on_a_stack_of_cspad_modules(
    model: OnnxModel, realdata: Path, number: int
) -> None:
    path = realdata / "xfel_thermolysin_cspad" / f"idx-20130301060858{number}.npz"
    assert score(model, np.load(path)["data"], INTEGRATING) >= 0.9


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("saturation", [None, 32678.0])
def test_bragg_on_a_jungfrau(
    model: OnnxModel, realdata: Path, number: int, saturation: float | None
) -> None:
    path = realdata / "jungfrau_module_bragg" / f"mod5_conv{number}.bin"
    frame = np.fromfile(path, "<f4").reshape(512, 1024)
    assert score(model, frame, Detector(saturation=saturation)) >= 0.9


@pytest.mark.parametrize("number", [1, 49])
def test_bragg_and_diffuse_on_a_camera(model: OnnxModel, realdata: Path, number: int) -> None:
    path = realdata / "lunus_snase_diffuse" / f"snc_newhead_{number:05d}.img.gz"
    raw = gzip.decompress(path.read_bytes())
    frame = np.frombuffer(raw[512 : 512 + 2 * 1024 * 1024], "<u2").reshape(1024, 1024)
    assert score(model, frame, INTEGRATING) >= 0.9


def test_small_molecule_on_a_camera(model: OnnxModel, realdata: Path, tmp_path: Path) -> None:
    packed = realdata / "fabio_images" / "i01f0001.kcd.bz2"
    path = tmp_path / "i01f0001.kcd"
    path.write_bytes(bz2.decompress(packed.read_bytes()))
    with fabio.open(path) as image:
        assert score(model, image.data, INTEGRATING) >= 0.9


@pytest.mark.parametrize("part", [*range(11, 51, 4), *range(60, 100, 4)])
def test_dark_frames_of_an_eiger_are_misses(
    model: OnnxModel, wire_samples: Path, part: int
) -> None:
    path = wire_samples / "v1_eiger2_1m_dark" / f"streamData.{part:06d}"
    frame = encoded(path.read_bytes(), "lz4", "<u4", (1062, 1028))
    assert score(model, frame, Detector()) <= 0.25


def test_dark_frame_of_a_large_eiger_is_a_miss(model: OnnxModel, wire_samples: Path) -> None:
    message = cbor2.loads((wire_samples / "v2_eiger2_16m_dark" / "image.cbor").read_bytes())
    shape, pixels = message["data"]["threshold_1"].value
    frame = encoded(pixels.value.value[2], "bslz4", "<u2", tuple(shape))
    assert score(model, frame, Detector()) <= 0.4


def test_hit_on_an_eiger(model: OnnxModel, wire_samples: Path) -> None:
    data = (wire_samples / "v1_eiger4m_hits" / "streamfile_12").read_bytes()
    frame = encoded(data, "bslz4", "<u2", (2167, 2070))
    assert score(model, frame, Detector()) >= 0.9
