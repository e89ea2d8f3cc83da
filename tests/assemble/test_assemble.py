"""What a configuration becomes: overrides, masks, geometry, and the artifacts it may name."""

import shutil
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from hitfinder.assemble import Judging, build_judging, build_service
from hitfinder.config import ServeConfig
from hitfinder.errors import ArtifactError, ConfigError
from hitfinder.frame import Detector, Frame, array_payload
from hitfinder.images.hot_pixel_file import HotPixelMap, save_hot_pixels
from hitfinder.inference.model_card import load_card, shipped_models, write_card
from hitfinder.serving.hot_pixels import HotPixelMask
from hitfinder.serving.line import InFlight, passage_of
from hitfinder.serving.settings import HotPixelSettings
from hitfinder.settings import checked
from hitfinder.verdict import Reason
from tests.inference.artifacts import write_artifact

GEOMETRY = """
clen = 0.1
photon_energy = 4570 eV
res = 10000
data = /x
dim0 = %
dim1 = ss
dim2 = fs
a/min_fs = 0
a/max_fs = 3
a/min_ss = 0
a/max_ss = 3
a/dim0 = 0
a/corner_x = -4
a/corner_y = -2
a/fs = +1.0x
a/ss = +1.0y
"""


def judging_of(folder: Path, **sections: dict[str, Any]) -> Judging:
    table = {
        "input": {"endpoint": "tcp://d:1", "protocol": "dectris-v2"},
        "region": {"kind": "whole"},
        "model": {"device": "cpu"},
        **sections,
    }
    return build_judging(checked(ServeConfig, table, "test"), folder, time.monotonic_ns)


def read(judging: Judging, pixels: np.ndarray[Any, Any], detector: Detector) -> Any:
    payload = array_payload(pixels)
    reader = judging.plan(payload.shape, detector)
    out = np.empty(reader.shape, np.float32)
    reader.read(payload, out)
    return out


def test_what_the_settings_say_stands_above_what_the_stream_says(tmp_path: Path) -> None:
    judging = judging_of(tmp_path, detector={"saturation": 5})
    pixels = np.array([[1, 4], [6, 9]], np.uint16)
    out = read(judging, pixels, Detector(saturation=8.0))
    assert np.isnan(out).tolist() == [[False, False], [True, True]]


def test_a_mask_file_is_added_to_the_streams_mask(tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", np.array([[1, 0], [0, 0]]))
    judging = judging_of(tmp_path, detector={"mask_file": "mask.npy"})
    own = np.array([[False, False], [False, True]])
    pixels = np.ones((2, 2), np.uint16)
    assert np.isnan(read(judging, pixels, Detector())).tolist() == [[True, False], [False, False]]
    both = read(judging, pixels, Detector(mask=own))
    assert np.isnan(both).tolist() == [[True, False], [False, True]]
    with pytest.raises(ConfigError, match="they must agree"):
        judging.plan((3, 3), Detector(mask=np.zeros((3, 3), np.bool_)))


def test_a_mask_file_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"detector\.mask_file: .*gone\.npy"):
        judging_of(tmp_path, detector={"mask_file": "gone.npy"})


def test_a_geometry_lays_modules_out(tmp_path: Path) -> None:
    (tmp_path / "d.geom").write_text(GEOMETRY)
    judging = judging_of(tmp_path, detector={"geometry_file": "d.geom"})
    pixels = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    assert read(judging, pixels, Detector()).tolist() == pixels[0].tolist()


def test_saved_hot_pixels_are_a_mask_file(tmp_path: Path) -> None:
    found = HotPixelMap(
        payload_shape=(2, 2), places=np.array([1]), shares=np.array([0.9], np.float32)
    )
    save_hot_pixels(tmp_path / "hot_pixels.npz", found)
    judging = judging_of(tmp_path, detector={"mask_file": "hot_pixels.npz"})
    out = read(judging, np.ones((2, 2), np.uint16), Detector())
    assert np.isnan(out).tolist() == [[False, True], [False, False]]


@pytest.mark.parametrize(
    ("settings", "file"),
    [
        ({}, "hot_pixels.npz"),
        ({"mode": "mask", "file": "own.npz"}, "own.npz"),
        ({"file": "off"}, None),
    ],
)
def test_hot_pixels_are_learned_live_as_set_and_never_from_files(
    tmp_path: Path, settings: dict[str, Any], file: str | None
) -> None:
    table = {
        "input": {"endpoint": "tcp://d:1", "protocol": "dectris-v2"},
        "model": {"device": "cpu"},
        "hot_pixels": settings,
    }
    config = checked(ServeConfig, table, "test")
    assert build_judging(config, tmp_path, time.monotonic_ns).hot_pixels is None
    live = build_judging(config, tmp_path, time.monotonic_ns, learns=True).hot_pixels
    assert live is not None
    assert live._file == (None if file is None else tmp_path / file)
    assert live._masks == (settings.get("mode") == "mask")
    off = config.model_copy(update={"hot_pixels": HotPixelSettings(mode=None)})
    assert build_judging(off, tmp_path, time.monotonic_ns, learns=True).hot_pixels is None


@pytest.mark.parametrize(
    ("protocol", "reason"),
    [("dectris-v1", Reason.DECODE), ("dectris-v2", Reason.DECODE), ("array-1.0", None)],
)
def test_a_series_joined_midway_has_its_protocols_flags(
    tmp_path: Path, protocol: str, reason: Reason | None
) -> None:
    judging = judging_of(
        tmp_path,
        input={"endpoint": "tcp://d:1", "protocol": protocol},
        pressure={"deadline_ms": 600_000},
    )
    flags = array_payload(np.full((64, 64), -(2**31), np.int32))
    passage = InFlight(Frame(series="1", number=7, payload=flags, arrival_ns=time.monotonic_ns()))
    judging.line.enter(passage)
    judging.backlog.put(passage)
    while passage.verdict is None:
        judging.judge.step()
    assert passage.verdict.reason == reason


def test_a_threshold_may_be_set(tmp_path: Path) -> None:
    plain = judging_of(tmp_path)
    assert plain.threshold == plain.model.card.threshold != 0.9
    assert judging_of(tmp_path, model={"device": "cpu", "threshold": 0.9}).threshold == 0.9


def test_bounds_and_what_fills_them_are_metrics(tmp_path: Path) -> None:
    pressure = {"deadline_ms": 250, "max_in_flight_bytes": 2**28, "max_judge_queue_bytes": 2**20}
    judging = judging_of(tmp_path, model={"device": "cpu", "threshold": 0.25}, pressure=pressure)
    payload = array_payload(np.zeros((2, 2), np.uint16))
    frame = Frame(series="1", number=0, payload=payload, parts=(bytes(2**18),))
    passage = passage_of(frame)
    judging.line.enter(passage)
    judging.backlog.put(passage)
    value = judging.metrics.registry.get_sample_value
    assert value("hitfinder_threshold") == 0.25
    assert value("hitfinder_deadline_seconds") == 0.25
    assert value("hitfinder_judge_queue_bytes") == 2**18
    assert value("hitfinder_queue_fill", {"queue": "line"}) == 2**-10
    assert value("hitfinder_queue_fill", {"queue": "judge"}) == 0.25


def test_a_model_for_something_else_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(shipped_models() / "spotcount", folder)
    write_card(folder, msgspec.structs.replace(load_card(folder), task="diffuse"))
    with pytest.raises(ArtifactError, match="needs one for 'hit'"):
        judging_of(tmp_path, model={"device": "cpu", "artifact": "model"})


def test_a_second_step_is_built_from_its_section(tmp_path: Path) -> None:
    write_artifact(tmp_path / "second", task="diffuse", threshold=0.25)
    assert judging_of(tmp_path).second is None
    second = judging_of(tmp_path, diffuse={"artifact": "second", "device": "cpu"}).second
    assert second is not None
    assert second.threshold == 0.25
    assert second.plan((30, 40), Detector()).shape == (30, 40)
    section = {"artifact": "second", "device": "cpu", "threshold": 0.75}
    box = {"kind": "box", "top": 1, "left": 2, "rows": 5, "cols": 6}
    second = judging_of(tmp_path, diffuse=section, diffuse_region=box).second
    assert second is not None
    assert (second.threshold, second.plan((30, 40), Detector()).shape) == (0.75, (5, 6))
    with pytest.raises(ArtifactError, match=r"\[diffuse\] needs one for 'diffuse'"):
        judging_of(tmp_path, diffuse={"artifact": "spotcount", "device": "cpu"})


@pytest.mark.parametrize(
    ("region", "detector"),
    [
        ({"kind": "center"}, {"mask_file": "mask.npy"}),
        ({"kind": "center", "around": "beam"}, {}),
        ({"kind": "whole"}, {"shape": [40, 40], "mask_file": "mask.npy"}),
        ({"kind": "whole"}, {}),
    ],
)
def test_a_service_is_built_before_the_detector_has_said_anything(
    tmp_path: Path, region: dict[str, Any], detector: dict[str, Any]
) -> None:
    np.save(tmp_path / "mask.npy", np.zeros((40, 40)))
    table = {
        "input": {"endpoint": f"ipc://{tmp_path}/in", "protocol": "dectris-v2"},
        "region": region,
        "detector": detector,
        "model": {"device": "cpu"},
        "verdicts": {"endpoint": f"ipc://{tmp_path}/verdicts"},
        "http": {"port": "off"},
    }
    service = build_service(checked(ServeConfig, table, "test"), tmp_path)
    service.start()
    assert service.unready() == []
    assert service.stop().received == 0


def test_a_service_loads_hot_pixels_and_saves_them_while_it_waits_and_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def save(mask: HotPixelMask, *, now: bool = False) -> None:
        done.append("saved at the end" if now else "saved")
        service.request_stop()

    monkeypatch.setattr(HotPixelMask, "load", lambda mask: done.append("loaded"))
    monkeypatch.setattr(HotPixelMask, "save", save)
    table = {
        "input": {"endpoint": f"ipc://{tmp_path}/in", "protocol": "dectris-v2"},
        "model": {"device": "cpu"},
        "verdicts": {"endpoint": "off"},
        "http": {"port": "off"},
    }
    service = build_service(checked(ServeConfig, table, "test"), tmp_path)
    service.start()
    # Without a save nothing else would end the wait.
    late = threading.Timer(20.0, service.request_stop)
    late.start()
    assert service.wait()
    late.cancel()
    late.join()
    service.stop()
    assert done == ["loaded", "saved", "saved at the end"]
