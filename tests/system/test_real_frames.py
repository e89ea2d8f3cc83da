"""Measured frames and recorded messages, through files and through the live service alike."""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from hitfinder.assemble import build_judging
from hitfinder.classify import classify
from hitfinder.config import ServeConfig
from hitfinder.dataset.series import open_series
from hitfinder.settings import checked
from tests.system.harness import PATIENT, bench, until

pytestmark = pytest.mark.system

WHOLE = f'[region]\nkind = "whole"\n{PATIENT}'


def verdicts_of(files: Sequence[str | Path]) -> dict[str, str]:
    """Outcome by file name, as `hitfinder classify --region whole` gives it."""
    table = {
        "input": {"endpoint": "ipc://none", "protocol": "dectris-v2"},
        "region": {"kind": "whole"},
        "model": {"device": "cpu"},
        "pressure": {"deadline_ms": 600_000},
    }
    judging = build_judging(checked(ServeConfig, table, "test"), Path(), time.monotonic_ns)
    outcomes = {}
    for series in open_series([Path(file) for file in files]):
        for result in classify(series, judging, time.monotonic_ns):
            assert result.verdict is not None
            outcomes[result.path.name.partition(".")[0]] = result.verdict.outcome.value
    return outcomes


def thaumatin(realdata: Path, *numbers: str) -> list[Path]:
    return [realdata / f"thaumatin_grid_pilatus6m/thau_3_2_00{n}.cbf.bz2" for n in numbers]


def test_crystals_are_kept_and_empty_shots_vetoed(realdata: Path) -> None:
    hits = {f"thau_3_2_00{number}": "kept" for number in ("01", "03", "05", "09", "12", "15")}
    misses = {"thau_3_2_0017": "vetoed", "thau_3_2_0019": "vetoed"}
    assert verdicts_of([realdata / "thaumatin_grid_pilatus6m"]) == hits | misses


def test_modules_of_integrating_detectors_are_kept(realdata: Path) -> None:
    jungfrau = sorted((realdata / "jungfrau_module_bragg").iterdir())
    files = [f"{path}::f4,512x1024" for path in jungfrau]
    verdicts = verdicts_of([*files, realdata / "xfel_thermolysin_cspad"])
    assert len(verdicts) == 8
    assert set(verdicts.values()) == {"kept"}


def test_bragg_peaks_among_diffuse_streaks_are_kept(realdata: Path) -> None:
    paths = sorted((realdata / "lunus_snase_diffuse").iterdir())[::4]
    verdicts = verdicts_of([f"{path}::u2,1024x1024,offset=512" for path in paths])
    assert set(verdicts.values()) == {"kept"}


def test_a_replay_gets_the_verdicts_of_classify(realdata: Path, tmp_path: Path) -> None:
    files = thaumatin(realdata, "12", "17", "19", "05")
    with bench(tmp_path, more=WHOLE) as made:
        made.start()
        verdicts = made.verdicts()
        until(verdicts.beats, "the verdict stream is heard")
        replay = [sys.executable, "-m", "hitfinder", "replay", *map(str, files)]
        options = ["--rate", "120", "--bind", f"tcp://127.0.0.1:{made.frames}"]
        subprocess.run([*replay, *options], check=True, stdout=subprocess.DEVNULL)
        until(lambda: len(verdicts.frames()) == 4, "four verdicts are published")
        assert made.stop().code == 0
    live = [verdict.outcome for verdict in sorted(verdicts.frames(), key=lambda v: v.frame)]
    assert live == list(verdicts_of(files).values()) == ["kept", "vetoed", "vetoed", "kept"]


def parts_of(folder: Path, *numbers: int) -> tuple[bytes, ...]:
    by_number = {int(path.name.replace("_", ".").split(".")[-1]): path for path in folder.iterdir()}
    return tuple(by_number[number].read_bytes() for number in numbers)


@pytest.mark.parametrize("region", ["whole", "center"])
def test_recorded_darks_are_vetoed_cosmic_tracks_and_all(
    wire_samples: Path, tmp_path: Path, region: str
) -> None:
    folder = wire_samples / "v1_eiger2_1m_dark"
    messages = []
    for first, last in ((1, 49), (50, 98)):
        messages.append(parts_of(folder, *range(first, first + 8)))
        images = range(first + 8, last, 4)
        messages += [parts_of(folder, *range(at, at + 4)) for at in images]
        messages.append(parts_of(folder, last))
    more = f'[region]\nkind = "{region}"\n{PATIENT}'
    with bench(tmp_path, "dectris-v1", more) as made:
        made.start()
        sender = made.sender()
        made.send(sender, messages)
        until(
            lambda: sum(one.received for one in made.report().series) == 20,
            "twenty frames are in the ledger",
        )
        assert made.stop().code == 0
    first_series, second_series = made.report().series
    assert (first_series.series, second_series.series) == ("71", "72")
    for series in (first_series, second_series):
        assert (series.announced, series.received, series.vetoed) == (10, 10, 10)
        assert (series.lost, series.ended, series.balances) == (0, "end", True)


def test_a_recorded_hit_is_kept_though_fewer_frames_follow_than_announced(
    wire_samples: Path, tmp_path: Path
) -> None:
    folder = wire_samples / "v1_eiger4m_hits"
    # The flatfield's and the mask's blobs were not recorded.
    head = [*parts_of(folder, 1, 2, 3), b"", *parts_of(folder, 5), b"", *parts_of(folder, 7, 8, 9)]
    images = [parts_of(folder, *range(at, at + 4)) for at in (10, 14, 18)]
    with bench(tmp_path, "dectris-v1", WHOLE) as made:
        made.start()
        sender = made.sender()
        made.send(sender, [tuple(head), *images, parts_of(folder, 22)])
        until(
            lambda: [one.ended for one in made.report().series] == ["end"],
            "the series has ended",
        )
        assert made.stop().code == 0
    (series,) = made.report().series
    assert (series.announced, series.received, series.kept) == (10, 3, 3)
    assert (series.lost, series.lost_at_end, series.balances) == (7, 7, True)


def test_a_series_joined_midway_is_judged(wire_samples: Path, tmp_path: Path) -> None:
    folder = wire_samples / "v2_dectris_500k"
    names = ("bslz4_16bit_000001", "lz4_16bit_000001", "bslz4_32bit_000001", "bslz4_8bit_000001")
    messages = [((folder / f"r500k_bm_{name}.cbor").read_bytes(),) for name in names]
    end = ((folder / "r500k_bm_bslz4_16bit_000011.cbor").read_bytes(),)
    with bench(tmp_path, more=WHOLE) as made:
        made.start()
        sender = made.sender()
        made.send(sender, [*messages, end])
        until(lambda: made.metric("hitfinder_frames_received_total") == 4, "four frames arrive")
        assert made.stop().code == 0
    report = made.report()
    assert report.unjudged == {}
    assert sum(one.received for one in report.series) == 4
