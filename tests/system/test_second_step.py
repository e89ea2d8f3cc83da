"""The cascade with both models, as its users run it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hitfinder.frame import Payload, array_payload
from hitfinder.transport.settings import ReceiverSettings
from hitfinder.transport.sockets import Receiver
from hitfinder.verdict import Diffuse, Outcome, Reason
from hitfinder.wire.compression import recoded
from tests.inference.artifacts import slow, write_artifact
from tests.system.detector import Detector, payload
from tests.system.harness import PATIENT, Bench, bench, drain, free_ports, passed_on, until

pytestmark = pytest.mark.system

PATIENT_STEP = f"{PATIENT}\n[diffuse]\nartifact = 'second'\ndevice = 'cpu'\ndeadline_ms = 30000\n"


def second_model(folder: Path, repeats: int = 0) -> None:
    """Its score is the first pixel over 100."""
    graph = slow(repeats).SerializeToString()
    write_artifact(folder / "second", graph, task="diffuse", name="second")


def diffuse_hit(detector: Detector) -> Payload:
    pixels = detector.hit.whole().copy()
    pixels[0, 0] = 90
    return recoded(array_payload(pixels), carried=(), encoding="bslz4")


def diffuse_receiver(made: Bench, more: str = "") -> Receiver:
    """Where diffuse frames go, besides; the service is not started yet."""
    (port,) = free_ports(1)
    endpoint = f"tcp://127.0.0.1:{port}"
    made.config.write_text(
        f'{made.config.read_text()}\n[diffuse_frames]\nendpoint = "{endpoint}"\n{more}'
    )
    return made._opened(Receiver(ReceiverSettings(endpoint=endpoint), made.context))


def test_hits_carry_what_the_second_step_says_and_diffuse_ones_go_out_twice(
    tmp_path: Path,
) -> None:
    detector = Detector("dectris-v2")
    pixels = [diffuse_hit(detector), detector.miss, detector.hit]
    frames = [parts for at in range(9) for parts in detector.frame(at, pixels[at % 3])]
    messages = [*detector.start(9), *frames, *detector.end()]
    second_model(tmp_path)
    with bench(tmp_path, more=PATIENT_STEP) as made:
        made.with_kept()
        diffuse = diffuse_receiver(made, '[policy]\nnot_diffuse = "veto"\n')
        made.start()
        verdicts, kept, sender = made.verdicts(), made.receiver(), made.sender()
        for stream in ("kept", "diffuse"):
            peers = f'hitfinder_peers{{stream="{stream}"}}'
            until(lambda peers=peers: made.metric(peers) == 1, "the receiver is there")  # type: ignore[misc]
        made.send(sender, messages)
        verdicts.heard(9)
        until(lambda: made.metric("hitfinder_frames_in_flight") == 0, "nothing is in flight")
        assert made.metric('hitfinder_diffuse_frames_settled_total{diffuse="yes"}') == 3
        assert 'hitfinder_diffuse_model_info{device="cpu",name="second"' in made.page("/metrics")[1]
        assert made.page("/healthz") == (200, "ok\n")
        ended = made.stop()
        taken = [drain(kept), drain(diffuse)]
    assert ended.code == 0, ended.text
    assert [v.outcome for v in verdicts.frames()] == ["kept", "vetoed", "vetoed"] * 3
    assert [v.diffuse for v in verdicts.frames()] == [Diffuse.YES, None, Diffuse.NO] * 3
    assert [v.frame for v in verdicts.frames()] == list(range(9))
    passed = [tuple(map(bytes, messages[at])) for at in (0, 1, 4, 7, len(messages) - 1)]
    assert taken == [passed, passed]
    (series,) = made.report().series
    assert (series.kept, series.vetoed, series.diffuse, series.balances) == (3, 6, 3, True)
    assert "diffuse       3" in ended.text


def test_under_overload_the_second_step_is_shed_and_the_hit_model_judges_every_frame(
    tmp_path: Path,
) -> None:
    detector = Detector("dectris-v2")
    pixels = payload("dectris-v2", 30, (1500, 1500))
    count = 200
    second_model(tmp_path, repeats=40)
    # The spots lie in the corner. The second step sees all of the frame.
    settings = f"""{PATIENT}
[region]
kind = "box"
top = 0
left = 0
[diffuse]
artifact = "second"
device = "cpu"
deadline_ms = 300
"""
    with bench(tmp_path, more=settings) as made:
        made.with_kept()
        made.start()
        verdicts, receiver, sender = made.verdicts(), made.receiver(), made.sender()
        until(lambda: made.metric('hitfinder_peers{stream="kept"}') == 1, "the receiver is there")
        burst = detector.burst(count, pixels)
        list(passed_on(sender, receiver, burst, count + 2))
        verdicts.heard(count)
        assert made.stop().code == 0
    # Far more hits than the second model can judge: it lost most, the first nothing.
    assert [v.outcome for v in verdicts.frames()] == [Outcome.KEPT] * count
    assert all(v.score is not None for v in verdicts.frames())
    reasons = {v.diffuse_reason for v in verdicts.frames()} - {None}
    assert reasons <= {Reason.OVERLOAD, Reason.DEADLINE}
    shed = sum(v.diffuse is Diffuse.UNJUDGED for v in verdicts.frames())
    assert shed > count / 2
    assert [v.frame for v in verdicts.frames()] == list(range(count))
    report = made.report()
    assert (report.series[0].kept, report.series[0].balances) == (count, True)
    assert sum(report.diffuse.values()) == count


def test_a_stop_lets_hits_that_wait_go_as_hits(tmp_path: Path) -> None:
    detector = Detector("dectris-v2")
    second_model(tmp_path, repeats=800)
    settings = PATIENT_STEP.replace(PATIENT, f"{PATIENT}drain_timeout_ms = 200\n")
    with bench(tmp_path, more=settings) as made:
        made.start()
        verdicts, sender = made.verdicts(), made.sender()
        until(verdicts.beats, "the verdict stream is heard")
        made.send(sender, detector.frames(0, 1))
        until(lambda: made.metric("hitfinder_diffuse_frames_waiting") == 1, "the hit waits")
        ended = made.stop()
    (verdict,) = verdicts.frames()
    assert (verdict.outcome, verdict.diffuse_reason) == ("kept", "draining")
    assert ended.code == 0, ended.text


def test_the_demo_runs_both_models(tmp_path: Path) -> None:
    target = tmp_path / "summary.json"
    program = f"""
import sys
from pathlib import Path
from hitfinder.commands import demo
from hitfinder.simulation.series import write_demo_series
demo.FRAMES = 10
sys.exit(demo.run(seconds=2, rate_hz=20, json_path=Path({str(target)!r})))
"""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    summary = json.loads(target.read_text())
    assert summary["received"] == 40
    assert summary["kept"] > 0
    found = [summary[name] for name in ("diffuse", "not_diffuse", "diffuse_unjudged")]
    assert sum(found) == summary["kept"]


def test_a_stop_does_not_wait_for_a_model_that_warms(tmp_path: Path) -> None:
    """A hundred convolutions of 4M pixels, four times: many seconds."""
    second_model(tmp_path, repeats=100)
    settings = f"[detector]\nshape = [2000, 2000]\n{PATIENT_STEP}"
    with bench(tmp_path, more=settings) as made:
        summary = tmp_path / "summary.json"
        made.start("--summary-json", str(summary), wait=False)
        until(lambda: made.page("/readyz")[0] == 503, "it starts")
        ended = made.stop()
    assert ended.code == 0, ended.text
    assert "no frame was taken" in ended.text
    assert json.loads(summary.read_text())["received"] == 0
    report = made.report()
    assert report.sessions[0].ended_unix_ns is not None
    assert [event.kind for event in report.events] == ["start stopped"]
