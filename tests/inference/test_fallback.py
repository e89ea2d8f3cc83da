"""A model whose GPU dies: who goes on, when, and what is told."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hitfinder.errors import DeviceError
from hitfinder.inference.fallback import IN_A_ROW, LastingModel
from hitfinder.inference.onnx_model import ModelRunError, OnnxModel
from tests.inference.artifacts import write_artifact

ONE = np.full((1, 2, 2), 0.5, np.float32)


class Session:
    """Answers as ONNX Runtime does until it is `dead`; then as it does after a CUDA error."""

    def __init__(self) -> None:
        self.dead = False
        self.least_side = 1
        self.runs = 0

    def run(self, names: list[str], feed: dict[str, Any], options: object = None) -> list[Any]:
        self.runs += 1
        if self.dead:
            raise RuntimeError("x.cc:146 CUDA failure 700: an illegal access ; GPU=0 ; y.cc")
        if min(feed["image"].shape[1:]) < self.least_side:
            raise RuntimeError("the image is too small")
        return [feed["image"][:, 0, 0]]


class Setting:
    def __init__(self, folder: Path, **spares: bool) -> None:
        """Each of `spares` by name, and whether it loads."""
        self.card = write_artifact(folder)
        self.sessions = {"first": Session(), **{name: Session() for name in spares}}
        self.moves: list[tuple[str, str]] = []
        self.loaded: list[str] = []
        self.lasting = LastingModel(
            self.model("first"),
            [partial(self._load, name, loads) for name, loads in spares.items()],
            lambda model, why: self.moves.append((model.why, why)),
        )

    def model(self, name: str) -> OnnxModel:
        return OnnxModel(
            card=self.card,
            device="cpu",
            fell_back=False,
            why=name,
            no_capture="",
            binned=False,
            _session=self.sessions[name],
            _uploads=None,
        )

    def _load(self, name: str, loads: bool) -> OnnxModel:
        return self.load(name, loads)

    def load(self, name: str, loads: bool) -> OnnxModel:
        if not loads:
            raise DeviceError(f"{name} is absent")
        self.loaded.append(name)
        return self.model(name)

    def fail(self, times: int) -> None:
        for _ in range(times):
            with pytest.raises(ModelRunError, match=r"CUDA failure 700: an illegal access$"):
                self.lasting.score(ONE)


def test_it_goes_on_after_failures_in_a_row(tmp_path: Path) -> None:
    setting = Setting(tmp_path, cpu=True)
    assert setting.lasting.score(ONE).tolist() == [0.5]
    setting.sessions["first"].dead = True
    setting.fail(IN_A_ROW - 1)
    assert (setting.lasting.moves, setting.moves) == (0, [])
    setting.fail(1)
    assert setting.lasting.moves == 1
    ((now, why),) = setting.moves
    assert now == "cpu"
    assert "CUDA failure 700" in why
    assert setting.lasting.score(ONE).tolist() == [0.5]
    assert setting.sessions["first"].runs == 1 + IN_A_ROW


def test_failures_now_and_then_are_no_reason(tmp_path: Path) -> None:
    setting = Setting(tmp_path, cpu=True)
    for _ in range(5):
        setting.sessions["first"].dead = True
        setting.fail(IN_A_ROW - 1)
        setting.sessions["first"].dead = False
        setting.lasting.score(ONE)
    assert setting.lasting.moves == 0


def test_spares_are_tried_in_order_and_those_that_do_not_load_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    setting = Setting(tmp_path, plain=False, cpu=True)
    setting.sessions["first"].dead = True
    setting.fail(IN_A_ROW)
    ((now, why),) = setting.moves
    assert now == "cpu"
    assert why.endswith("CUDA failure 700: an illegal access")
    assert "cannot go on with a spare: plain is absent" in caplog.text


def test_without_a_spare_it_fails_and_may_recover(tmp_path: Path) -> None:
    setting = Setting(tmp_path)
    setting.sessions["first"].dead = True
    setting.fail(3 * IN_A_ROW)
    setting.sessions["first"].dead = False
    assert setting.lasting.score(ONE).tolist() == [0.5]
    assert setting.moves == []


def test_one_that_cannot_be_warmed_is_replaced_at_once_by_one_that_can(tmp_path: Path) -> None:
    setting = Setting(tmp_path, plain=True, cpu=True)
    setting.sessions["first"].dead = setting.sessions["plain"].dead = True
    setting.lasting.warm([(1, 2, 2), (1, 3, 3)])
    assert [now for now, _ in setting.moves] == ["cpu"]
    setting.sessions["cpu"].dead = True
    with pytest.raises(ModelRunError):
        setting.lasting.warm([(1, 2, 2)])


def test_a_shape_that_no_model_can_run_costs_none_of_them(tmp_path: Path) -> None:
    setting = Setting(tmp_path, plain=True, cpu=True)
    for session in setting.sessions.values():
        session.least_side = 3
    for _ in range(2):
        with pytest.raises(ModelRunError, match="too small"):
            setting.lasting.warm([(1, 2, 2)])
    for _ in range(2 * IN_A_ROW):
        with pytest.raises(ModelRunError, match="too small"):
            setting.lasting.score(ONE)
    assert (setting.lasting.moves, setting.moves) == (0, [])
    assert setting.loaded == ["plain", "cpu"]
    setting.sessions["first"].dead = setting.sessions["plain"].dead = True
    setting.lasting.warm([(1, 3, 3)])
    assert [now for now, _ in setting.moves] == ["cpu"]


def test_a_thread_that_warms_waits_for_another_that_moves(tmp_path: Path) -> None:
    setting = Setting(tmp_path, cpu=True)
    setting.sessions["first"].dead = True
    is_loading, may_load = threading.Event(), threading.Event()
    load = setting.load

    def slowly(name: str, loads: bool) -> OnnxModel:
        is_loading.set()
        assert may_load.wait(20)
        return load(name, loads)

    setting.load = slowly  # type: ignore[method-assign]
    with ThreadPoolExecutor(2) as threads:
        failing = threads.submit(setting.fail, IN_A_ROW)
        assert is_loading.wait(20)
        warming = threads.submit(setting.lasting.warm, [(1, 2, 2)])
        with pytest.raises(TimeoutError):
            warming.result(0.05)
        may_load.set()
        failing.result(20)
        warming.result(20)
    assert [now for now, _ in setting.moves] == ["cpu"]
