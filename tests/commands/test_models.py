"""`hitfinder models verify` where a GPU works: its scores must be the CPU's."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hitfinder.commands.models import trial_images, verify_model
from hitfinder.errors import DeviceError
from hitfinder.inference import onnx_model
from hitfinder.inference.model_card import shipped_models
from hitfinder.inference.onnx_model import OnnxModel


class Off:
    """A session whose scores are off by so much."""

    def __init__(self, session: Any, by: float) -> None:
        self._session = session
        self._by = np.float32(by)

    def run(self, names: list[str], feed: dict[str, Any]) -> list[Any]:
        return [each + self._by for each in self._session.run(names, feed)]


def stand_in(monkeypatch: pytest.MonkeyPatch, by: float) -> None:
    """A GPU that works and gives scores that are off by so much."""
    real = OnnxModel.load

    def load(folder: Path, device: str = "auto", threads: int = 1) -> OnnxModel:
        model = real(folder, "cpu", threads)
        if device == "cpu":
            return model
        return replace(model, device="cuda", _session=Off(model._session, by))

    monkeypatch.setattr(onnx_model.OnnxModel, "load", load)


def test_a_gpu_that_agrees_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(monkeypatch, 1e-5)
    assert verify_model("hit") == 0
    assert "on the GPU it scores the same, but for 1e-05" in capsys.readouterr().out


@pytest.mark.parametrize("by", [0.002, -0.5, np.nan])
def test_a_gpu_that_scores_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch, by: float) -> None:
    stand_in(monkeypatch, by)
    with pytest.raises(DeviceError, match="model hit scores otherwise on this GPU"):
        verify_model("hit")


def test_the_trial_has_hits_and_misses_and_what_is_not_measured() -> None:
    images = trial_images()
    scores = OnnxModel.load(shipped_models() / "hit", "cpu").score(images)
    assert (scores > 0.65).tolist() == [False, True, False, True]
    assert np.isnan(images).any((1, 2)).tolist() == [False, False, True, True]
