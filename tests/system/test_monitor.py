"""The live page in a browser, beside the real service."""

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hitfinder.frame import Detector as Geometry
from hitfinder.frame import SeriesStarted
from hitfinder.transport.settings import ReceiverSettings, SenderSettings
from hitfinder.transport.sockets import Receiver, Sender, new_context
from tests.system.detector import SHAPE, Detector, payload
from tests.system.harness import PATIENCE_S, Bench, bench, free_ports, passed_on, until

pytestmark = pytest.mark.system

GEOMETRY = Geometry(
    shape=SHAPE,
    beam_x_px=128.0,
    beam_y_px=128.0,
    pixel_x_mm=0.075,
    pixel_y_mm=0.075,
    distance_mm=50.0,
    wavelength_angstrom=1.0,
)
CONFIG = """
[region]
ice_rings = "keep"
[pressure]
deadline_ms = {deadline_ms}
[samples]
endpoint = "tcp://127.0.0.1:{samples}"
kept_per_s = 20.0
vetoed_per_s = 10.0
"""


class Feeder(threading.Thread):
    """A detector that never ends its series: `every_s` between frames, and bursts."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(daemon=True)
        self._endpoint = endpoint
        self._over = threading.Event()
        self.flowing = threading.Event()
        self.flowing.set()
        self.burst = 0
        self.every_s = 0.05
        self.sent = 0

    def run(self) -> None:
        detector = Detector("dectris-v2")
        start = SeriesStarted(series=detector.series, detector=GEOMETRY)
        context = new_context()
        settings = SenderSettings(endpoint=self._endpoint, high_water_mark=10)
        sender = Sender(settings, context)
        sender.open()
        waiting = list(detector.encoder.start(start))
        while not self._over.is_set():
            if not waiting and self.flowing.is_set():
                waiting = detector.frame(self.sent)
                self.sent += 1
            if not waiting or not sender.offer(waiting[0]):
                time.sleep(0.01)
                continue
            waiting.pop(0)
            if self.burst:
                self.burst -= 1
            else:
                self._over.wait(self.every_s)
        sender.close()
        context.destroy()

    def stop(self) -> None:
        self._over.set()
        self.join(PATIENCE_S)


class Page:
    """A `hitfinder monitor` and the browser's view of it."""

    def __init__(self, browser: Any, config: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hitfinder", "monitor", str(config), "--port", "0"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("live page: "), line
        self.url = line.removeprefix("live page: ").strip()
        self._context = browser.new_context(viewport={"width": 1440, "height": 1000})
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.tab = self.new_tab("")

    def new_tab(self, path: str) -> Any:
        tab = self._context.new_page()
        tab.on("console", lambda said: self.complaints.append(f"{said.type}: {said.text}"))
        tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        tab.on("request", lambda request: self.requests.append(request.url))
        tab.goto(self.url + path)
        return tab

    def address(self) -> str:
        """Asked of the page itself: the tab's `url` is only renewed by the calls between."""
        found: str = self.tab.evaluate("location.href")
        return found

    def number(self, name: str) -> float:
        text = self.tab.text_content(f"#tile-{name}").replace(",", "")
        match = re.match(r"[\d.]+", text)
        return float(match[0]) if match else -1.0

    def alerts(self) -> list[str]:
        return [
            item.split(":")[0] for item in self.tab.text_content("#banner").splitlines() if item
        ]

    def close(self) -> int:
        self._context.close()
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(PATIENCE_S)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code


@pytest.fixture
def shown(tmp_path: Path, browser: Any) -> Iterator[tuple[Bench, Page, Feeder]]:
    (samples,) = free_ports(1)
    more = CONFIG.format(deadline_ms=500, samples=samples)
    # A short queue: what came while the service was held up must be too much on any machine.
    more = more.replace("[pressure]", "[pressure]\nmax_judge_queue_bytes = 500000")
    with bench(tmp_path, more=more) as made:
        made.start()
        page = Page(browser, made.config)
        feeder = Feeder(f"tcp://127.0.0.1:{made.frames}")
        feeder.start()
        try:
            yield made, page, feeder
        finally:
            feeder.stop()
            page.close()


OVERLAY = """(canvas) => {
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  let coloured = 0, any = 0;
  for (let i = 0; i < data.length; i += 4) {
    any += data[i + 3] > 0;
    coloured += data[i] > 150 && data[i + 1] < 130 && data[i + 2] < 80;  // the spots' orange
  }
  return { coloured, any };
}"""


def test_the_page_shows_what_passes(shown: tuple[Bench, Page, Feeder]) -> None:
    _, page, feeder = shown
    tab = page.tab
    until(lambda: page.number("received") > 20, "totals rise")
    before = page.number("received")
    until(lambda: page.number("received") > before + 10, "totals rise on")
    until(lambda: tab.get_attribute("#frame", "data-frame"), "a hit is shown")
    until(lambda: tab.get_attribute("#miss", "data-frame"), "a miss is shown")
    until(lambda: int(tab.get_attribute("#powder", "data-hits") or 0) > 5, "hits are added up")
    assert int(tab.get_attribute("#frame", "data-frame").partition("/")[2]) % 2 == 0
    assert int(tab.get_attribute("#miss", "data-frame").partition("/")[2]) % 2 == 1
    assert 45 < page.number("rate") < 55
    assert tab.is_visible("text=threshold 0.")
    assert tab.text_content("#state") == "live"
    assert tab.text_content("#alerts") == "None."
    assert page.alerts() == []

    # Pause: the page stands still while the service goes on.
    tab.keyboard.press("Space")
    assert tab.text_content("#state") == "paused"
    standing, sent = page.number("received"), feeder.sent
    until(lambda: feeder.sent > sent + 20, "frames go on")
    assert page.number("received") == standing

    # The overlay: the spots of a hit, and none when they are switched off.
    with_spots = tab.eval_on_selector("#frame", OVERLAY)
    tab.keyboard.press("s")
    without = tab.eval_on_selector("#frame", OVERLAY)
    assert with_spots["coloured"] > 100 + without["coloured"]
    assert with_spots["any"] > 10_000
    tab.keyboard.press("s")
    tab.keyboard.press("r")
    tab.keyboard.press("l")
    tab.keyboard.press("+")
    assert tab.get_attribute("#rings", "aria-pressed") == "false"
    assert tab.get_attribute("#log", "aria-pressed") == "true"
    tab.keyboard.press("Space")
    until(lambda: page.number("received") > standing, "the page goes on")

    # A frame has an address, which another tab can open.
    tab.keyboard.press("ArrowLeft")
    until(lambda: "/frame/99/" in page.address(), "the picked frame's address")
    path = page.address().removeprefix(page.url)
    wanted = path.removeprefix("frame/")
    until(lambda: tab.get_attribute("#frame", "data-frame") == wanted, "the picked frame")
    other = page.new_tab(path)
    until(lambda: other.get_attribute("#frame", "data-frame") == wanted, "the same frame")
    other.goto(page.url + "frame/99/123456789")
    until(lambda: "left the buffer" in other.text_content("#frame-note"), "no such frame")
    tab.keyboard.press("h")
    until(lambda: page.address() == page.url, "the latest hit again")

    assert all(url.startswith(page.url) for url in page.requests)
    # An answer of 404 is expected, and it is this test that reads the canvas.
    expected = ("404", "willReadFrequently")
    assert [one for one in page.complaints if not any(part in one for part in expected)] == []


def test_trouble_shows_and_clears(shown: tuple[Bench, Page, Feeder]) -> None:
    made, page, feeder = shown
    until(lambda: page.number("received") > 20, "frames pass")

    feeder.flowing.clear()
    until(lambda: page.alerts() == ["NoFramesArriving"], "a stalled sender is told")
    feeder.every_s = 0.005
    feeder.burst = 1500
    feeder.flowing.set()
    for _ in range(3):
        made.process.send_signal(signal.SIGSTOP)
        time.sleep(1.0)
        made.process.send_signal(signal.SIGCONT)
        time.sleep(0.5)
    until(lambda: "UnjudgedShareHigh" in page.alerts(), "overload is told")
    feeder.every_s = 0.05
    until(lambda: page.alerts() == [], "both alerts end", 60)

    made.kill()
    until(lambda: page.alerts() == ["ServiceDown"], "a killed service is told")
    until(lambda: "silent" in page.tab.text_content("#state"), "its silence is shown")
    made.start()
    until(lambda: "ServiceDown" not in page.alerts(), "the alert ends")
    until(lambda: page.tab.text_content("#state") == "live", "it is heard again")
    over = page.tab.text_content("#alerts")
    for name in ("NoFramesArriving", "UnjudgedShareHigh", "ServiceDown"):
        assert name in over
    assert page.complaints == []


def test_a_page_that_stalls_costs_the_service_neither_frames_nor_memory(tmp_path: Path) -> None:
    """More frames than a minute's samples have, to a subscriber that reads nothing."""
    (samples,) = free_ports(1)
    mark, first, frames = 4, 200, 600
    more = CONFIG.format(deadline_ms=30_000, samples=samples)
    more = more.replace("20.0", "100.0").replace("10.0", "100.0") + f"high_water_mark = {mark}\n"
    more += "[batch]\nsize = 1\n"  # one by one, half of them are sampled
    # What a busy machine leaves in the line is not what this is about.
    bounds = "max_in_flight_bytes = 33554432\nmax_judge_queue_bytes = 16777216"
    more = more.replace("[pressure]", f"[pressure]\n{bounds}")
    more = more.replace("[region]", '[region]\nkind = "box"\ntop = 0\nleft = 0')
    detector = Detector("dectris-v2")
    large = payload("dectris-v2", 30, (2048, 1024))
    with bench(tmp_path, more=more) as made:
        made.with_kept()
        made.start()
        receiver, sender = made.receiver(), made.sender()
        settings = ReceiverSettings(
            endpoint=f"tcp://127.0.0.1:{samples}", socket="sub", high_water_mark=1
        )
        stalled = Receiver(settings, made.context)
        stalled.open()
        until(lambda: made.metric('hitfinder_peers{stream="kept"}') == 1, "the receiver is there")

        def pass_on(start: int, stop: int) -> None:
            messages = (detector.frame(number, large)[0] for number in range(start, stop))
            for _ in passed_on(sender, receiver, messages, stop - start, 120):
                pass

        assert list(passed_on(sender, receiver, detector.start(), 1))
        pass_on(0, first)
        before = resident(made)
        pass_on(first, frames)
        grown = resident(made) - before
        stalled.close()
        ended = made.stop()
    assert ended.code == 0, ended.text
    for told in (rf"received +{frames}\n", rf"forwarded +{frames}\n", r"dropped +0\n"):
        assert re.search(told, ended.text), ended.text
    # Buffers fill and empty by some frames all the time; a leak of samples grows by 150 MB here.
    assert grown < 60 * 2**20


def resident(made: Bench) -> int:
    """Bytes of memory that the service's process has."""
    pages = Path(f"/proc/{made.process.pid}/statm").read_text().split()[1]
    return int(pages) * 4096


def test_a_page_for_others_needs_a_token(tmp_path: Path) -> None:
    with bench(tmp_path) as made:
        made.config.write_text(made.config.read_text() + '[monitor]\nhost = "0.0.0.0"\n')
        command = [sys.executable, "-m", "hitfinder", "monitor", str(made.config)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert ended.returncode == 1
    assert "token_file" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
