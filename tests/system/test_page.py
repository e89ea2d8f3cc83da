"""The page in a browser, before a server that hangs, hurries or repeats itself."""

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from hitfinder.monitor.raster import Raster, raster
from hitfinder.monitor.web import Server
from hitfinder.verdict import Outcome
from hitfinder.wire.verdicts import encode
from tests.monitor.said import verdict
from tests.monitor.test_watch import Bench
from tests.system.harness import until

pytestmark = pytest.mark.system

TOKEN = "a token of enough characters"
HOSTILE = "<img src=x onerror=alert(1)>/?a=%41#\"'&amp;"
SIZES = [(320, 640), (700, 900), (1000, 800), (1440, 1000)]


class Slow:
    """What a page shows, where snapshots and single frames can be held back."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.flows = threading.Event()
        self.flows.set()
        self.slow: int | None = None
        self.slow_powder: str | None = None
        self.goes_on = threading.Event()

    def take(self, number: int) -> None:
        self.bench.watch._see(self.bench.sample(number), self.bench.clock())

    def snapshot(self) -> bytes:
        self.flows.wait(60)
        self.bench.clock.pass_ms(500)
        return self.bench.watch.snapshot()

    def frame(self, series: str, number: int) -> bytes | None:
        if number == self.slow:
            self.goes_on.wait(60)
        return self.bench.watch.frame(series, number)

    def image(self, series: str, number: int) -> Raster | None:
        return self.bench.watch.image(series, number)

    def spots(self, series: str, number: int) -> Raster | None:
        return self.bench.watch.spots(series, number)

    def powder(self, kind: str) -> Raster | None:
        if kind == self.slow_powder:
            self.goes_on.wait(60)
            return raster(np.eye(4, dtype=np.float32))
        return self.bench.watch.powder(kind)


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture(params=[None])
def tab(browser: Any, slow: Slow, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A tab before a server, which asks for a token if the test is run with one."""
    server = Server(slow, host="127.0.0.1", port=0, token=request.param)
    server.open()
    thread = threading.Thread(target=server.run)
    thread.start()
    context = browser.new_context(base_url=server.url)
    try:
        yield context.new_page()
    finally:
        context.close()
        slow.flows.set()
        slow.goes_on.set()
        server.stop()
        thread.join(30)


def shown(tab: Any) -> str:
    return str(tab.get_attribute("#frame", "data-frame"))


def test_a_page_that_is_told_nothing_does_not_say_live(slow: Slow, tab: Any) -> None:
    tab.goto("/")
    until(lambda: tab.text_content("#state") != "connecting …", "the first snapshot")
    slow.flows.clear()  # no error reaches the browser: its connection stands
    until(lambda: tab.text_content("#state") == "page server gone", "silence is told")
    slow.flows.set()
    until(lambda: tab.text_content("#state") != "page server gone", "it is heard again")


def test_what_was_picked_last_is_shown(slow: Slow, tab: Any) -> None:
    slow.take(1)
    tab.goto("/")
    until(lambda: shown(tab) == "5/1", "the first hit")
    slow.slow = 2
    slow.take(2)
    with tab.expect_request(lambda request: "number=2" in request.url):
        pass
    tab.click('#frames a[data-frame="1"]')
    slow.goes_on.set()
    until(lambda: tab.locator("#frames a").count() == 2, "both are listed")
    until(lambda: shown(tab) == "5/2" or tab.url.endswith("/frame/5/1"), "an answer")
    until(lambda: shown(tab) == "5/1", "the picked one")


def test_a_number_that_comes_again_is_fetched_again(slow: Slow, tab: Any) -> None:
    slow.take(1)
    tab.goto("/")
    until(lambda: shown(tab) == "5/1", "the first hit")
    slow.bench.clock.pass_ms(5000)
    with tab.expect_request(lambda request: "/api/frame/image" in request.url, timeout=20_000):
        slow.take(1)


def test_the_powder_pattern_that_was_asked_for_last_is_shown(slow: Slow, tab: Any) -> None:
    drawn = "document.querySelector('#powder').toDataURL()"
    slow.take(1)
    slow.take(2)
    slow.slow_powder = "max"
    with tab.expect_request(lambda request: "kind=max" in request.url):
        tab.goto("/")
    tab.click("#powder-sum")
    until(lambda: tab.get_attribute("#powder", "data-hits") == "2", "the sum")
    before = tab.evaluate(drawn)
    with tab.expect_response(lambda response: "kind=max" in response.url):
        slow.goes_on.set()
    tab.wait_for_timeout(300)
    assert tab.evaluate(drawn) == before


def test_an_address_that_is_none_leaves_the_page_alive(slow: Slow, tab: Any) -> None:
    tab.goto("/frame/%zz%ff/3")
    until(lambda: tab.text_content("#state") != "connecting …", "the page listens")


def test_a_tab_that_nobody_sees_listens_no_more(slow: Slow, tab: Any) -> None:
    tab.goto("/")
    until(lambda: tab.text_content("#state") != "connecting …", "the page listens")
    hide = "(is) => { Object.defineProperty(document, 'hidden', { value: is, configurable: true });"
    hide += "document.dispatchEvent(new Event('visibilitychange')); }"
    tab.evaluate(hide, True)
    slow.bench.hear(verdict(1, Outcome.VETOED))
    before = tab.text_content("#tile-speed")
    tab.wait_for_timeout(1500)
    assert tab.text_content("#scores-now") == "0 frames, log", before
    tab.evaluate(hide, False)
    until(lambda: tab.text_content("#scores-now") == "1 frames, log", "it listens again")


def test_an_alert_is_read_aloud_once(slow: Slow, tab: Any) -> None:
    tab.goto("/")
    until(lambda: "ServiceDown" in tab.text_content("[role=alert]"), "an alert begins")
    tab.evaluate(
        "window.changes = 0; new MutationObserver(() => window.changes++).observe("
        "document.querySelector('[role=alert]'), { childList: true, characterData: true })"
    )
    for _ in range(4):
        slow.bench.hear(*(verdict(n, Outcome.UNJUDGED) for n in range(30)))
        tab.wait_for_timeout(700)
    until(lambda: "UnjudgedShareHigh" in tab.text_content("#banner"), "a second one")
    assert tab.evaluate("window.changes") <= 2


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_nothing_reaches_beyond_a_narrow_window(
    slow: Slow, tab: Any, width: int, height: int
) -> None:
    slow.bench.hear(verdict(1, latency_ms=123.4), verdict(2, Outcome.VETOED, latency_ms=987.6))
    slow.take(10**9)
    tab.set_viewport_size({"width": width, "height": height})
    tab.goto("/")
    until(lambda: shown(tab) == f"5/{10**9}", "a frame")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("tab", [TOKEN], indirect=True)
def test_a_frames_link_leads_there_through_the_login(slow: Slow, tab: Any) -> None:
    slow.take(1)
    tab.goto("/frame/5/1")
    tab.fill("input", "not this one, nor any other")
    tab.click("button")
    until(lambda: "not the token" in tab.content(), "a wrong token is refused")
    tab.fill("input", TOKEN)
    tab.click("button")
    until(lambda: shown(tab) == "5/1", "the frame")
    assert tab.url.endswith("/frame/5/1")
    assert TOKEN not in str(tab.context.cookies())


def test_a_series_may_have_any_name(slow: Slow, tab: Any) -> None:
    (_, *parts) = slow.bench.sample(3)
    named = encode(verdict(1, Outcome.KEPT, frame=3, series=HOSTILE))
    slow.bench.watch._see((named, *parts), slow.bench.clock())
    tab.goto("/")
    until(lambda: shown(tab) == f"{HOSTILE}/3", "a series with markup in its name")
    assert HOSTILE in tab.text_content("#frame-words")
    assert tab.locator("#frames script, #frame-words img").count() == 0
    tab.click("#frames a")
    until(lambda: "/frame/" in tab.url, "its address")
    tab.reload()
    until(lambda: shown(tab) == f"{HOSTILE}/3", "the same frame")
