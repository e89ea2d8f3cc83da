"""The shipped hit model on measured frames, whole, read as `hitfinder classify` reads them: one
threshold, the card's, for every detector. None of them was trained on.
"""

from pathlib import Path

import numpy as np
import pytest

from hitfinder.dataset.series import open_series
from hitfinder.frame import Detector, Frame, Payload
from hitfinder.images.region import RegionSettings, plan_region
from hitfinder.inference.model_card import shipped_models
from hitfinder.inference.onnx_model import OnnxModel
from hitfinder.wire import PROTOCOLS

THAUMATIN = "thaumatin_grid_pilatus6m/thau_3_2_{:04d}.cbf.bz2"
HITS = (
    *(THAUMATIN.format(number) for number in (1, 3, 5, 9, 12, 15)),
    *(f"xfel_thermolysin_cspad/idx-20130301060858{number}.npz" for number in (401, 601)),
    *(f"jungfrau_module_bragg/mod5_conv{number}.bin::f4,512x1024" for number in range(6)),
    *(
        f"lunus_snase_diffuse/snc_newhead_{number:05d}.img.gz::u2,1024x1024,offset=512"
        for number in range(1, 90, 8)
    ),
    "rotation_weak",
    "fabio_images/run2_1_00148.cbf.bz2",
    "fabio_images/i01f0001.kcd.bz2",
)
MISSES = tuple(THAUMATIN.format(number) for number in (17, 19))


@pytest.fixture(scope="module")
def model() -> OnnxModel:
    return OnnxModel.load(shipped_models() / "hit", "cpu")


def is_kept(model: OnnxModel, payload: Payload, detector: Detector) -> bool:
    reader = plan_region(RegionSettings(kind="whole"), payload.shape, detector, None)
    batch = np.empty((1, *reader.shape), np.float32)
    reader.read(payload, batch[0])
    return bool(model.score(batch)[0] >= model.card.threshold)


def kept(model: OnnxModel, path: Path) -> list[bool]:
    return [
        is_kept(model, ref.load(), series.detector)
        for series in open_series([path])
        for ref in series.frames
    ]


@pytest.mark.parametrize("name", HITS)
def test_hits_are_kept(model: OnnxModel, realdata: Path, name: str) -> None:
    assert all(kept(model, realdata / name))


@pytest.mark.parametrize("name", MISSES)
def test_misses_are_vetoed(model: OnnxModel, realdata: Path, name: str) -> None:
    assert kept(model, realdata / name) == [False]


def test_dark_frames_with_cosmic_tracks_are_vetoed(model: OnnxModel, wire_samples: Path) -> None:
    folder, decoder = wire_samples / "v1_eiger2_1m_dark", PROTOCOLS["dectris-v1"].decoder()
    parts = [path.read_bytes() for path in sorted(folder.glob("streamData.*"))]
    frames = 0
    for start in (*range(8, 48, 4), *range(57, 97, 4)):
        event = decoder.decode(tuple(parts[start : start + 4]), 0)
        assert isinstance(event, Frame)
        assert not is_kept(model, event.payload, Detector())
        frames += 1
    assert frames == 20


def test_a_dark_frame_of_16_million_pixels_is_vetoed(model: OnnxModel, wire_samples: Path) -> None:
    message = (wire_samples / "v2_eiger2_16m_dark" / "image.cbor").read_bytes()
    event = PROTOCOLS["dectris-v2"].decoder().decode((message,), 0)
    assert isinstance(event, Frame)
    assert not is_kept(model, event.payload, Detector())
