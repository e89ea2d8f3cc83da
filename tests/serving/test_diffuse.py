"""The second step: what a hit's verdict says of it, and what happens when it cannot say."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hitfinder.cascade import PolicySettings, outcome_of_hit
from hitfinder.errors import ConfigError, HitfinderError
from hitfinder.frame import Detector, Frame, SeriesStarted, array_payload
from hitfinder.ledger.report import read_frames, read_report
from hitfinder.serving.scorer import AGAIN_NS
from hitfinder.testing.fakes import FakeReader
from hitfinder.verdict import Diffuse, Outcome, Reason
from tests.serving.bench import (
    DIFFUSE_MS,
    MISS,
    Bench,
    balanced,
    end,
    findings,
    frame,
    hit,
    outcomes,
    start,
)

KEEP_ALL = PolicySettings()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, policy=KEEP_ALL)


def test_only_hits_are_asked_and_their_verdicts_say_what_was_found(bench: Bench) -> None:
    bench.feed(start(), hit(0, 80), frame(1, MISS), hit(2, 20), end())
    bench.run()
    assert outcomes(bench) == [Outcome.KEPT, Outcome.VETOED, Outcome.KEPT]
    assert findings(bench) == [Diffuse.YES, None, Diffuse.NO]
    first, miss, _ = bench.verdicts()
    assert first.score == pytest.approx(0.9)
    assert first.diffuse_score == pytest.approx(0.8)
    assert (first.diffuse_model, first.diffuse_threshold) == ("fake diffuse", 0.5)
    assert miss.diffuse_score is None
    assert bench.diffuse_model.batches == [(1, 4, 4)] * 2


def test_without_a_second_step_verdicts_say_nothing_of_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.feed(hit(0, 80))
    bench.run()
    assert findings(bench) == [None]
    assert bench.line.counts().diffuse.offered == 0


def test_diffuse_frames_go_to_their_own_output_too_with_start_and_end(bench: Bench) -> None:
    diffuse, other = hit(0, 80), hit(1, 20)
    bench.feed(start(), diffuse, other, frame(2, MISS), end())
    bench.run()
    assert bench.diffuse_frames.taken == [start().parts, diffuse.parts, end().parts]
    assert bench.kept.taken == [start().parts, diffuse.parts, other.parts, end().parts]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({}, ["kept", "kept", "kept"]),
        ({"diffuse": "veto"}, ["vetoed", "kept", "kept"]),
        ({"not_diffuse": "veto"}, ["kept", "vetoed", "kept"]),
    ],
)
def test_the_policy_vetoes_what_is_known_and_nothing_else(
    tmp_path: Path, policy: dict[str, Any], expected: list[str]
) -> None:
    bench = Bench(tmp_path, policy=PolicySettings(**policy))
    nothing = np.full((4, 4), 90.0, np.float32)
    nothing[0, 1] = np.nan
    unknown = Frame(series="1", number=2, payload=array_payload(nothing), parts=(b"unknown",))
    bench.feed(hit(0, 80), hit(1, 20), unknown)
    bench.run()
    assert outcomes(bench) == expected
    assert findings(bench) == [Diffuse.YES, Diffuse.NO, Reason.MODEL]
    # A diffuse frame goes to its own output whatever the policy says.
    assert bench.diffuse_frames.taken == [hit(0, 80).parts]
    assert len(bench.vetoed.taken) == expected.count("vetoed")
    assert balanced(bench)


def test_a_vetoed_diffuse_frame_that_the_share_leaves_out_goes_to_its_own_output(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, policy=PolicySettings(diffuse="veto"), vetoed_share=1e-12)
    bench.feed(hit(0, 80))
    bench.run()
    assert (bench.vetoed.taken, bench.diffuse_frames.taken) == ([], [hit(0, 80).parts])


@pytest.mark.parametrize("policy", [{"diffuse": "veto"}, {"not_diffuse": "veto"}])
def test_no_policy_vetoes_what_was_not_judged(policy: dict[str, Any]) -> None:
    assert outcome_of_hit(Diffuse.UNJUDGED, PolicySettings(**policy)) is Outcome.KEPT


def test_a_policy_that_would_keep_no_judged_hit_is_refused() -> None:
    with pytest.raises(ValueError, match="no judged hit would be kept"):
        PolicySettings(diffuse="veto", not_diffuse="veto")


def test_a_second_model_that_went_on_on_another_device_is_measured_anew(bench: Bench) -> None:
    bench.feed(hit(0, 80))
    bench.run()
    before = len(bench.diffuse_model.warmed)
    bench.diffuse_model.moves += 1
    bench.feed(hit(1, 80), hit(2, 20))
    bench.run()
    assert len(bench.diffuse_model.warmed) == 2 * before
    assert findings(bench) == [Diffuse.YES, Diffuse.YES, Diffuse.NO]


@pytest.mark.parametrize("how", ["raises", "no number", "out of memory", "unreadable"])
def test_a_second_model_that_fails_costs_no_frame_and_no_hit(
    bench: Bench, how: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_number(batch: Any) -> Any:
        return np.full(len(batch), np.inf, np.float32)

    def greedy(batch: Any) -> Any:
        raise MemoryError

    if how == "raises":
        bench.diffuse_model.broken = True
    elif how == "no number":
        monkeypatch.setattr(bench.diffuse_model, "score", no_number)
    elif how == "out of memory":
        monkeypatch.setattr(bench.diffuse_model, "score", greedy)
    else:
        assert bench.diffuse is not None
        monkeypatch.setattr(bench.diffuse._scorer, "read", lambda *_: False)
    bench.feed(*(hit(number, 80) for number in range(3)), frame(3, MISS))
    bench.run()
    assert outcomes(bench) == [*[Outcome.KEPT] * 3, Outcome.VETOED]
    expected = Reason.DECODE if how == "unreadable" else Reason.MODEL
    assert findings(bench) == [*[expected] * 3, None]
    assert all(verdict.score is not None for verdict in bench.verdicts())
    assert len(bench.kept.taken) == 3
    assert caplog.text.count("diffuse model failed") == (how in ("raises", "out of memory"))
    monkeypatch.undo()
    bench.diffuse_model.broken = False
    bench.feed(hit(4, 80))
    bench.run()
    assert findings(bench)[-1] is Diffuse.YES


def test_frames_that_no_second_region_fits_are_hits_all_the_same(tmp_path: Path) -> None:
    asked: list[tuple[int, ...]] = []

    def plan(payload_shape: tuple[int, ...], detector: Detector) -> FakeReader:
        asked.append(payload_shape)
        if len(asked) % 2 == 0:  # the second of each two to ask is the second step
            raise ConfigError("the region lies outside the frame")
        return FakeReader((payload_shape[0], payload_shape[1]))

    bench = Bench(tmp_path, policy=KEEP_ALL, plan=plan)
    bench.feed(hit(0, 80), hit(1, 80))
    bench.run()
    assert outcomes(bench) == [Outcome.KEPT] * 2
    assert findings(bench) == [Reason.DECODE] * 2


def test_a_second_step_that_could_not_get_ready_tries_again(bench: Bench) -> None:
    """A GPU whose memory is full for a moment; no series starts, as with array-1.0."""

    def full(shapes: list[tuple[int, int, int]]) -> None:
        raise HitfinderError("out of memory")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench.diffuse_model, "warm", full)
        bench.feed(hit(0, 80), hit(1, 80))
        bench.run()
    bench.feed(hit(2, 80))
    bench.run()
    bench.clock.now_ns += AGAIN_NS
    bench.feed(hit(3, 80))
    bench.run()
    assert findings(bench) == [*[Reason.DECODE] * 3, Diffuse.YES]
    assert outcomes(bench) == [Outcome.KEPT] * 4


def test_a_series_tells_both_steps_its_detector_in_order(tmp_path: Path) -> None:
    seen: list[float | None] = []

    def plan(payload_shape: tuple[int, ...], detector: Detector) -> FakeReader:
        seen.append(detector.saturation)
        return FakeReader((payload_shape[0], payload_shape[1]))

    bench = Bench(tmp_path, policy=KEEP_ALL, plan=plan)
    for number, saturation in enumerate((1.0, 2.0)):
        begins = SeriesStarted(
            series="1", detector=Detector(saturation=saturation), parts=(f"s{number}".encode(),)
        )
        bench.feed(begins, hit(number, 80))
    bench.run()
    assert seen == [1.0, 2.0, 1.0, 2.0]
    assert findings(bench) == [Diffuse.YES] * 2


def test_the_ledger_and_the_totals_say_what_the_verdicts_said(bench: Bench) -> None:
    bench.diffuse_backlog.cost_ns = DIFFUSE_MS * 1e6 / 6
    bench.feed(start(announced=4), hit(0, 80), hit(1, 20), hit(2), frame(3, MISS), end())
    bench.run()
    bench.publish.finish()
    report = read_report(bench.ledger_path)
    (series,) = report.series
    assert (series.kept, series.vetoed, series.diffuse, series.balances) == (3, 1, 1, True)
    assert report.diffuse == {"yes": 1, "no": 1, "overload": 1}
    rows = [row[-3:] for row in read_frames(bench.ledger_path)]
    assert rows == [
        ("yes", None, pytest.approx(0.8)),
        ("no", None, pytest.approx(0.2)),
        ("unjudged", "overload", None),
        (None, None, None),
    ]
    totals = bench.beats()[-1].totals
    assert (totals.diffuse, totals.not_diffuse) == (1, 1)
    assert {r: n for r, n in totals.diffuse_unjudged.items() if n} == {"overload": 1}


def test_the_metrics_tell_the_second_steps_share(bench: Bench) -> None:
    value = bench.metrics.registry.get_sample_value
    bench.feed(hit(0, 80), hit(1, 20), hit(2, 20))
    bench.settle()
    assert value("hitfinder_diffuse_frames_waiting") == 3
    assert value("hitfinder_diffuse_queue_bytes") == 3 * 109
    bench.run()
    assert value("hitfinder_diffuse_frames_offered_total") == 3
    assert value("hitfinder_diffuse_frames_settled_total", {"diffuse": "no"}) == 2
    assert value("hitfinder_diffuse_frames_unjudged_total", {"reason": "overload"}) == 0
    assert value("hitfinder_diffuse_score_bucket", {"le": "0.5"}) == 2
    assert value("hitfinder_diffuse_queue_bytes") == 0
    for stage in ("diffuse_queue", "diffuse_read", "diffuse_score"):
        assert value("hitfinder_stage_seconds_count", {"stage": stage}) == 3
