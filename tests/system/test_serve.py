"""The service as its users run it."""

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hitfinder.frame import Part
from hitfinder.transport.sockets import Sender
from hitfinder.wire import PROTOCOLS
from tests.system.detector import Detector, payload
from tests.system.harness import PATIENT, Bench, bench, drain, kinds, passed_on, until
from tests.wire.hostile import HOSTILE

pytestmark = pytest.mark.system


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path) as made:
        made.start()
        yield made


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_series_goes_through_verbatim_and_balances(tmp_path: Path, protocol: str) -> None:
    detector = Detector(protocol)
    messages = [*detector.start(10), *detector.frames(0, 10), *detector.end()]
    with bench(tmp_path, protocol) as made:
        made.with_kept()
        made.start()
        verdicts, receiver, sender = made.verdicts(), made.receiver(), made.sender()
        until(lambda: made.metric('hitfinder_peers{stream="kept"}') == 1, "the receiver is there")
        made.send(sender, messages)
        verdicts.heard(10)
        until(lambda: made.metric("hitfinder_frames_in_flight") == 0, "nothing is in flight")
        ended = made.stop()
        kept = drain(receiver)
    assert ended.code == 0, ended.text
    assert [v.outcome for v in verdicts.frames()] == ["kept", "vetoed"] * 5
    assert [v.sequence for v in verdicts.frames()] == list(range(1, 11))
    first = len(detector.start())
    vetoed = set(range(first + 1, first + 10, 2))
    passed = [parts for at, parts in enumerate(messages) if at not in vetoed]
    assert kept == [tuple(map(bytes, parts)) for parts in passed]
    assert verdicts.beats()[-1].totals.received == 10
    (series,) = made.report().series
    assert (series.received, series.kept, series.vetoed, series.lost) == (10, 5, 5, 0)
    assert series.balances


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_message_however_broken_keeps_a_good_frame_from_being_judged(
    tmp_path: Path, protocol: str
) -> None:
    cases = [case for case in HOSTILE if case.protocol == protocol]
    assert cases
    detector = Detector(protocol)
    with bench(tmp_path, protocol) as made:
        made.start()
        verdicts, sender = made.verdicts(), made.sender()
        made.send(sender, detector.frame(0))
        verdicts.heard(1)
        until(lambda: made.metric("hitfinder_frames_in_flight") == 0, "nothing is in flight")
        for case in cases:
            made.send(sender, [case.build()])
        made.send(sender, detector.frames(1, 21))

        def judged() -> set[int]:
            return {
                verdict.frame
                for verdict in verdicts.frames()
                if verdict.series == detector.series and verdict.score is not None
            }

        until(lambda: judged() >= set(range(21)), "every good frame is judged")
        assert made.page("/healthz") == (200, "ok\n")
        assert "hitfinder_bad_messages_total" in made.page("/metrics")[1]
        ended = made.stop()
    assert ended.code == 0, ended.text
    assert "Traceback" not in ended.text
    totals = verdicts.beats()[-1].totals
    assert totals.bad_messages > 0
    assert totals.received == totals.kept + totals.vetoed + sum(totals.unjudged.values())


def test_a_message_above_the_limit_is_refused_and_the_next_are_judged(running: Bench) -> None:
    detector = Detector("dectris-v2")
    verdicts, sender = running.verdicts(), running.sender()
    running.send(sender, detector.frames(0, 2))
    verdicts.heard(2)
    running.send(sender, [(bytes(64 * 2**20),)])
    # The connection is dropped, and made again; what libzmq held for it goes with it.
    running.send(sender, [parts for _ in range(50) for parts in detector.frame(4)])
    until(lambda: running.metric('hitfinder_peers{stream="input"}') == 1, "the sender is back")
    running.send(sender, detector.frame(5))
    until(lambda: any(v.frame == 5 for v in verdicts.frames()), "a frame is judged afterwards")
    assert running.stop().code == 0


def test_a_kill_leaves_a_ledger_that_tells_it(tmp_path: Path) -> None:
    detector = Detector("dectris-v2")
    with bench(tmp_path) as made:
        made.start()
        verdicts, sender = made.verdicts(), made.sender()
        made.send(sender, [*detector.start(40), *detector.frames(0, 20)])
        verdicts.heard(20)
        until(
            lambda: [one.received for one in made.report().series] == [20],
            "the ledger has every frame",
        )
        made.kill()
        (series,) = made.report().series
        assert (series.received, series.ended, series.balances) == (20, None, True)
        made.start()
        until(lambda: made.metric('hitfinder_peers{stream="input"}') == 1, "the sender is back")
        made.send(sender, [*detector.frames(25, 40), *detector.end()])
        until(
            lambda: [one.received for one in made.report().series] == [35],
            "the ledger has every frame",
        )
        ended = made.stop()
    assert "earlier crash" in ended.text
    first, second = made.report().sessions
    assert first.ended_unix_ns is None
    assert second.ended_unix_ns is not None
    (series,) = made.report().series
    # 20 to 24 came while nobody listened.
    assert (series.received, series.lost, series.ended, series.balances) == (35, 5, "end", True)


def test_a_sender_that_dies_and_starts_again_is_told(running: Bench) -> None:
    detector = Detector("dectris-v2")
    verdicts = running.verdicts()
    first = running.sender()
    running.send(first, [*detector.start(10), *detector.frames(0, 4)])
    verdicts.heard(4)
    first.close()
    until(lambda: running.metric('hitfinder_peers{stream="input"}') == 0, "the loss is noticed")
    second = running.sender()
    running.send(second, [*detector.start(3), *detector.frames(0, 3), *detector.end()])
    verdicts.heard(7)
    ended = running.stop()
    assert ended.code == 0
    assert "input disconnected" in ended.text
    broken, whole = running.report().series
    assert (broken.received, broken.lost, broken.lost_at_end) == (4, 6, 6)
    assert broken.ended == "no end seen"
    assert (whole.received, whole.lost, whole.ended) == (3, 0, "end")
    assert "input disconnected" in {event.kind for event in running.report().events}


def test_without_a_receiver_the_sender_feels_it_and_nothing_is_lost(tmp_path: Path) -> None:
    detector = Detector("dectris-v2")
    bounds = "[pressure]\nmax_in_flight_bytes = 1048576\nmax_judge_queue_bytes = 1048576\n"
    with bench(tmp_path, more=bounds) as made:
        text = made.config.read_text()
        made.config.write_text(
            text.replace("max_message_bytes = 33554432", "max_message_bytes = 1048576")
        )
        made.with_kept()
        made.start()
        verdicts, sender = made.verdicts(), made.sender()
        sent = 0
        messages = detector.start(1000) + detector.frames(0, 1000)
        while sent < len(messages) and _taken(sender, messages[sent]):
            sent += 1
        assert sent < len(messages), "backpressure reaches the sender"
        until(lambda: "output stalled" in made.log.read_text(), "the stall is told")
        assert made.page("/healthz")[0] == 200
        receiver = made.receiver()
        taken: list[tuple[bytes, ...]] = []

        def flow() -> bool:
            nonlocal sent
            taken.extend(drain(receiver))
            if sent < len(messages) and sender.offer(messages[sent]):
                sent += 1
            return sent == len(messages)

        while not flow():
            pass
        made.send(sender, detector.end())
        until(lambda: flow() and len(verdicts.frames()) == 1000, "every verdict is published")
        passed = [str(v.frame) for v in verdicts.frames() if v.outcome != "vetoed"]
        until(lambda: flow() and len(taken) == len(passed) + 2, "every kept message arrives")
        assert made.stop().code == 0
    decoder = PROTOCOLS["dectris-v2"].decoder()
    names = kinds([decoder.decode(parts, 0) for parts in taken])
    assert names == ["SeriesStarted", *passed, "SeriesEnded"]
    # Hits are even; catching up may be too fast to judge, and then frames go on unjudged.
    assert set(passed) >= {str(number) for number in range(0, 1000, 2)}


def _taken(sender: Sender, parts: tuple[Part, ...]) -> bool:
    try:
        until(lambda: sender.offer(parts), "it is taken", 1.0)
    except AssertionError:
        return False
    return True


def test_overload_fails_open_and_everything_arrives(tmp_path: Path) -> None:
    detector = Detector("dectris-v2")
    pixels = payload("dectris-v2", 30, (1500, 1500))
    count = 300
    # Ready for the shape beforehand: all frames come within the time that getting ready may take.
    more = """
[detector]
shape = [1500, 1500]
[region]
kind = "whole"
[pressure]
deadline_ms = 200
"""
    with bench(tmp_path, more=more) as made:
        made.with_kept()
        made.start()
        verdicts, receiver, sender = made.verdicts(), made.receiver(), made.sender()
        until(lambda: made.metric('hitfinder_peers{stream="kept"}') == 1, "the receiver is there")
        burst = detector.burst(count, pixels)
        taken = list(passed_on(sender, receiver, burst, count + 2))
        verdicts.heard(count)
        assert made.stop().code == 0
    (series,) = made.report().series
    assert (series.received, series.lost, series.vetoed) == (count, 0, 0)
    assert series.unjudged > 0
    assert series.kept > 0
    assert series.balances
    decoder = PROTOCOLS["dectris-v2"].decoder()
    assert kinds([decoder.decode(parts, 0) for parts in taken])[1:-1] == [*map(str, range(count))]


def test_a_stop_in_midstream_judges_what_is_there_and_says_so(running: Bench) -> None:
    detector = Detector("dectris-v2")
    verdicts, sender = running.verdicts(), running.sender()
    running.send(sender, [*detector.start(1000), *detector.frames(0, 50)])
    verdicts.heard(1)
    ended = running.stop()
    assert ended.code == 0, ended.text
    totals = verdicts.beats()[-1].totals
    assert totals.in_flight == 0
    assert f"received      {totals.received}" in ended.text
    (series,) = running.report().series
    assert (series.ended, series.received) == ("service stopped", totals.received)


def test_readiness_and_health_are_pages(running: Bench) -> None:
    assert running.page("/readyz") == (200, "ok\n")
    assert running.page("/healthz") == (200, "ok\n")
    assert running.page("/nothing")[0] == 404
    assert running.metric("hitfinder_ready") == 1
    assert 'name="hit"' in running.page("/metrics")[1]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("[model]", "[modell]"), "modell: no such setting; did you mean model?"),
        (('device = "cpu"', 'artifact = "gone"'), "no model 'gone'"),
        (('device = "cpu"', 'device = "cuda"'), "device is cuda, but"),
        (('protocol = "dectris-v2"', 'protocol = "dectris-v3"'), "input.protocol:"),
    ],
)
def test_a_broken_world_is_one_clear_line(
    tmp_path: Path, change: tuple[str, str], says: str
) -> None:
    with bench(tmp_path) as made:
        made.config.write_text(made.config.read_text().replace(*change))
        made.start(wait=False)
        assert made.process.wait(30) == 1
        text = made.log.read_text()
        lines = [line for line in text.splitlines() if line.startswith("hitfinder:")]
        assert len(lines) == 1, text
        assert says in lines[0]
        assert "Traceback" not in text


def test_a_detector_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    with bench(tmp_path) as made:
        known = f"tcp://127.0.0.1:{made.frames}"
        made.config.write_text(made.config.read_text().replace(known, "tcp://nowhere.invalid:1"))
        made.start()
        assert made.stop().code == 0


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    with bench(tmp_path) as made, socket.socket() as other:
        other.bind(("127.0.0.1", made.verdict_port))
        other.listen()
        made.start(wait=False)
        assert made.process.wait(30) == 1
        last = made.log.read_text().splitlines()[-1]
        assert last.startswith(f"hitfinder: cannot bind tcp://127.0.0.1:{made.verdict_port}")


def test_ctrl_c_stops_like_sigterm(running: Bench) -> None:
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(30) == 0


def test_ports_that_are_probed_a_thousand_times_keep_working(tmp_path: Path) -> None:
    detector = Detector("dectris-v2")
    with bench(tmp_path) as made:
        made.with_kept()
        made.start()
        for port in (made.verdict_port, made.kept_port) * 1200:
            with socket.create_connection(("127.0.0.1", port), timeout=5):
                pass
        receiver, sender, verdicts = made.receiver(), made.sender(), made.verdicts()
        until(lambda: made.metric('hitfinder_peers{stream="kept"}') == 1, "the receiver is there")
        until(verdicts.beats, "the verdict stream is heard")
        made.send(sender, detector.frames(0, 2))
        verdicts.heard(2)
        until(lambda: drain(receiver), "the kept frame arrives")
        assert made.stop().code == 0


def test_a_receiver_slower_than_a_second_gets_everything_after_a_stop(tmp_path: Path) -> None:
    detector = Detector("dectris-v2")
    with bench(tmp_path) as made:
        made.with_kept()
        made.start()
        receiver, sender = made.receiver(), made.sender()
        until(lambda: made.metric('hitfinder_peers{stream="kept"}') == 1, "the receiver is there")
        messages = [parts for n in range(24) for parts in detector.frame(n, detector.hit)]
        made.send(sender, [*detector.start(24), *messages, *detector.end()])
        until(lambda: made.metric("hitfinder_frames_received_total") == 24, "all are received")
        made.process.send_signal(signal.SIGTERM)
        taken = 0
        while made.process.poll() is None:
            taken += receiver.receive(100) is not None
            time.sleep(0.1)
        # What the service handed over is in this side's buffers now.
        while receiver.receive(1000) is not None:
            taken += 1
    assert made.process.returncode == 0
    assert taken == 26


def test_two_workers_give_the_verdicts_of_one_in_order(tmp_path: Path) -> None:
    detector = Detector("dectris-v2")
    messages = [*detector.start(200), *detector.frames(0, 200), *detector.end()]
    said = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        with bench(folder, more=f"{PATIENT}[batch]\nworkers = {workers}\n") as made:
            made.start()
            sender, verdicts = made.sender(), made.verdicts()
            until(verdicts.beats, "a heartbeat is heard")
            made.send(sender, messages)
            verdicts.heard(200)
            assert made.stop().code == 0
            frames = verdicts.frames()
            said.append([(one.frame, one.outcome, round(one.score or 0, 4)) for one in frames])
            (series,) = made.report().series
            assert (series.received, series.lost, series.unjudged) == (200, 0, 0)
    assert [number for number, *_ in said[1]] == list(range(200))
    assert said[0] == said[1]
