"""The shipped diffuse model on measured hits, whole, read as `hitfinder classify` reads them: one
threshold, the card's, for every detector. None of them was trained on.
"""

from pathlib import Path

import numpy as np
import pytest

from hitfinder.dataset.series import open_series
from hitfinder.images.region import RegionSettings, plan_region
from hitfinder.inference.model_card import shipped_models
from hitfinder.inference.onnx_model import OnnxModel

OTHERS = (
    *(f"thaumatin_grid_pilatus6m/thau_3_2_{number:04d}.cbf.bz2" for number in (1, 3, 5, 9, 12, 15)),
    "xfel_thermolysin_cspad",
    "jungfrau_module_bragg::f4,512x1024",
)


@pytest.fixture(scope="module")
def model() -> OnnxModel:
    return OnnxModel.load(shipped_models() / "diffuse", "cpu")


def called_diffuse(model: OnnxModel, path: Path) -> list[bool]:
    found = []
    for series in open_series([path]):
        reader = plan_region(RegionSettings(kind="whole"), series.shape, series.detector, None)
        batch = np.empty((1, *reader.shape), np.float32)
        for ref in series.frames:
            reader.read(ref.load(), batch[0])
            found.append(bool(model.score(batch)[0] >= model.card.threshold))
    return found


def test_every_nuclease_frame_is_diffuse(model: OnnxModel, realdata: Path) -> None:
    found = called_diffuse(model, realdata / "lunus_snase_diffuse")
    assert found == [True] * 12


def test_at_most_one_other_hit_is_called_diffuse(model: OnnxModel, realdata: Path) -> None:
    found = [called for name in OTHERS for called in called_diffuse(model, realdata / name)]
    assert len(found) == 14
    assert sum(found) <= 1
