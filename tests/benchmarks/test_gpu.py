"""The GPU benchmark where there is no GPU: what it says, and its arithmetic."""

import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks import gpu, gpu_rates, gpu_start
from benchmarks.gpu_limits import (
    Demand,
    Limits,
    crop_demand,
    limits_section,
    rate_bar,
    shares,
    timed,
    told_shares,
    vgg16_demand,
)
from benchmarks.gpu_networks import eager_scores, hit_net, relieved_vgg16, vgg16_alone, vgg16_net
from benchmarks.record import Record, Spread, as_markdown
from benchmarks.rig import Passed, Setup
from hitfinder.config import ServeConfig
from hitfinder.inference.model_card import load_card
from hitfinder.inference.onnx_model import ModelRunError, OnnxModel
from hitfinder.settings import checked
from tests.inference.artifacts import write_artifact


def figure(value: float) -> Spread:
    return Spread(median=value, low=value, high=value, n=3)


LIMITS = Limits(
    bus_bytes=figure(50e9), memory_bytes=figure(3e12), halves=figure(800e12), floats=figure(50e12)
)


@pytest.mark.parametrize(
    ("module", "why"),
    [
        (None, "PyTorch is not installed"),
        (SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: False)), "PyTorch sees no GPU"),
        (SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: True)), "ONNX Runtime: no"),
    ],
)
def test_without_a_gpu_it_is_one_line_and_no_failure(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    module: Any,
    why: str,
) -> None:
    monkeypatch.setitem(sys.modules, "torch", module)
    cpu = SimpleNamespace(get_providers=lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(gpu, "start", lambda *_: (cpu, "no"))
    assert gpu.main([]) == 0
    out, err = capsys.readouterr()
    assert out == f"no GPU is measured: {why}; docs/how-to/gpu.md says what it takes\n"
    assert err == ""


def test_parts_are_chosen_by_name() -> None:
    assert gpu.parser().parse_args([]).only == list(gpu.PARTS)
    assert gpu.parser().parse_args(["--only", "rates"]).only == ["rates"]
    with pytest.raises(SystemExit):
        gpu.parser().parse_args(["--only", "gossip"])


def test_what_a_crop_asks_for() -> None:
    assert crop_demand(350) == Demand(bus_bytes=490_000.0)
    # 20 000 a second of 0.49 MB are 9.8 GB/s.
    assert shares(20_000.0, crop_demand(350), LIMITS) == {"bus": pytest.approx(0.196)}


def test_what_vgg16_asks_for() -> None:
    """15.3 G products in its convolutions (Simonyan & Zisserman's net D at 224²), 0.12 G in two
    layers of 4096.
    """
    demand = vgg16_demand(224 * 224)
    assert demand.halves == 2 * (15_346_630_656 + 25_088 * 4096 + 4096 * 4096)
    assert demand.bus_bytes == 4 * 224 * 224
    found = shares(4000.0, demand, LIMITS)
    assert found["tensor cores"] == pytest.approx(0.1547, abs=1e-4)
    assert told_shares(4000.0, demand, LIMITS) == "bus 2 %, tensor cores 15 %"


def test_limits_are_a_table() -> None:
    section = limits_section(LIMITS, "H100")
    assert [row.cells for row in section.rows][:2] == [(figure(50.0),), (figure(3000.0),)]
    bar = rate_bar("crops/s", [figure(3.0), figure(7.0)], 5.0)
    assert (bar.value, bar.met) == (7.0, True)
    assert not rate_bar("crops/s", [], 5.0).met


def test_the_first_turns_do_not_count() -> None:
    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            pass

        def elapsed_time(self, end: "Event") -> float:
            return 2.0

    done: list[int] = []
    cuda = SimpleNamespace(Event=Event, synchronize=lambda: None)
    assert timed(SimpleNamespace(cuda=cuda), lambda: done.append(1), 5) == [0.002] * 5
    assert len(done) == 8


def test_ways_are_measured_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_rates, "TURN_S", 0.0)
    seen: list[tuple[str, int]] = []

    def way(name: str) -> Any:
        def score(batch: NDArray[np.float32]) -> NDArray[np.float32]:
            seen.append((name, len(batch)))
            return batch[:, 0, 0]

        return score

    ways = {"ONNX Runtime": way("ort"), "PyTorch, eager": way("torch")}
    images = np.zeros((64, 2, 2), np.float32)
    rows, served = gpu_rates.in_turns(ways, images, (1, 64), crop_demand(2), LIMITS, lambda _: None)
    assert [row.name for row in rows] == [
        *("ONNX Runtime, 1", "PyTorch, eager, 1"),
        *("ONNX Runtime, 64", "PyTorch, eager, 64"),
    ]
    assert [each.n for each in served] == [gpu_rates.TURNS]  # a batch of 64 is never served
    assert seen[:4] == [("ort", 1), ("ort", 1), ("torch", 1), ("torch", 1)]


def test_a_way_that_fails_is_left_out_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_rates, "TURN_S", 0.0)

    def fails(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        raise ModelRunError("no capture\nand much more")

    ways = {"CUDA graphs": fails, "PyTorch": lambda batch: batch[:, 0, 0]}
    images = np.zeros((4, 2, 2), np.float32)
    rows, _ = gpu_rates.in_turns(ways, images, (1, 2), crop_demand(2), LIMITS, lambda _: None)
    assert [(row.name, row.problem) for row in rows] == [
        *(("CUDA graphs, 1", "no capture"), ("PyTorch, 1", "")),
        ("PyTorch, 2", ""),
    ]


def test_a_section_that_fails_is_a_row_that_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = SimpleNamespace(get_device_name=lambda: "H100")
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(gpu, "measure_limits", lambda _: LIMITS)

    def fails(*_: Any) -> Any:
        raise RuntimeError("out of memory\nand much more")

    monkeypatch.setattr(gpu, "hit_rates", fails)
    monkeypatch.setattr(gpu, "vgg16_rates", fails)
    monkeypatch.setattr(gpu, "whole_rates", fails)
    sections = gpu.measure(["limits", "rates"], lambda _: None)
    assert [len(each.rows) for each in sections] == [4, 1, 1, 1]
    assert [each.part for each in sections] == ["gpu limits", *["gpu rates"] * 3]
    assert sections[1].rows[0].problem == "out of memory"
    page = as_markdown([Record(name="h100", about="", sections=tuple(sections))])
    assert "H100: hit model, crops: not measured: out of memory" in page


@pytest.mark.parametrize("write", [vgg16_alone, relieved_vgg16])
def test_the_vgg16_that_is_measured_is_a_model(tmp_path: Path, write: Any) -> None:
    write(tmp_path, 16)
    assert load_card(tmp_path).precision == "fp16"
    images = np.random.default_rng(1).random((2, 224, 224), np.float32)
    scores = OnnxModel.load(tmp_path, "cpu").score(images)
    assert scores.shape == (2,)
    assert ((scores > 0) & (scores < 1)).all()


def test_pytorch_scores_as_many() -> None:
    images = np.random.default_rng(1).random((3, 224, 224), np.float32)
    assert eager_scores(torch, hit_net(), device="cpu")(images[:, :60, :60]).shape == (3,)
    net = vgg16_net(16)
    assert eager_scores(torch, net, half=True, device="cpu")(images[:1]).shape == (1,)


@pytest.mark.parametrize("more", gpu.SERVICES.values())
def test_the_service_judges_on_the_gpu_and_nowhere_else(more: str) -> None:
    table = tomllib.loads(more)
    assert {section["device"] for section in table.values()} == {"cuda"}
    config = {"input": {"endpoint": "tcp://d:1", "protocol": "dectris-v2"}, **table}
    assert checked(ServeConfig, config, "test").model.device == "cuda"


def test_the_service_s_latency_is_a_row_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(setup: Setup, orders: Any) -> list[Passed]:
        assert orders == [(120.0, 20.0)]
        ms = np.full(2399, 6.0 if "diffuse" in setup.more else 3.0)
        return [
            Passed(
                sent=2400,
                sent_per_s=120.0,
                received=2400,
                judged=2399,
                judged_per_s=120.0,
                unjudged=1,
                latency_ms=ms,
            )
        ]

    monkeypatch.setattr(gpu, "run", run)
    monkeypatch.setattr(gpu, "demo_series", lambda _: Path("demo.h5"))
    section = gpu.at_120_hz(lambda _: None)
    assert [row.cells[2] for row in section.rows] == [3.0, 6.0]
    assert [(bar.value, bar.met) for bar in section.bars] == [
        *((3.0, True), (1.0, False)),
        *((6.0, False), (1.0, False)),
    ]


def test_a_cold_start_is_told_in_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_artifact(tmp_path)
    model = OnnxModel.load(tmp_path, "cpu")
    asked: list[tuple[str, bool]] = []

    def load(folder: Path, device: str, captures: bool) -> OnnxModel:
        asked.append((device, captures))
        return model

    monkeypatch.setattr(gpu_start, "OnnxModel", SimpleNamespace(load=load))
    found = gpu_start._start(True, 1.5)
    assert asked == [("cuda", True)]
    assert found.import_s == 1.5
    assert min(found.warm_s, found.first_ms, found.usual_ms) > 0
    assert 0 < gpu_start._since_process_began_s() < 1e6
