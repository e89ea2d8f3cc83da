"""The page's answers, and who gets them."""

import asyncio
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp

from hitfinder.errors import ConfigError, EndpointError
from hitfinder.monitor.access import COOKIE, HEADERS, SHORTEST, STATIC, read_token
from hitfinder.monitor.raster import Raster
from hitfinder.monitor.settings import MonitorSettings
from hitfinder.monitor.web import Server, page
from hitfinder.settings import checked

RASTER = Raster(rows=1, cols=2, binning=3, dtype="uint16", gzip=zlib.compress(b"abcd", wbits=31))
TOKEN = "a token of enough characters"
LOCAL = {"host": "127.0.0.1:8060"}


class Known:
    """One frame."""

    def snapshot(self) -> bytes:
        return b'{"at":1}'

    def frame(self, series: str, number: int) -> bytes | None:
        return b'{"frame":4}' if (series, number) == ("a/b c", 4) else None

    def image(self, series: str, number: int) -> Raster | None:
        return RASTER if self.frame(series, number) else None

    def spots(self, series: str, number: int) -> Raster | None:
        return None

    def powder(self, kind: str) -> Raster | None:
        return RASTER if kind == "sum" else None


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def ask(
    app: ASGIApp,
    path: str,
    *,
    query: str = "",
    headers: Mapping[str, str] = LOCAL,
    body: bytes | None = None,
) -> Answer:
    """One request, without a socket."""
    sent: list[Any] = []

    requests = [{"type": "http.request", "body": body or b""}]

    async def receive() -> dict[str, Any]:
        if not requests:
            await asyncio.Event().wait()  # nobody hangs up
        return requests.pop()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET" if body is None else "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "server": ("127.0.0.1", 8060),
    }

    async def answered() -> None:
        await app(scope, receive, send)

    asyncio.run(answered())
    start = sent[0]
    return Answer(
        status=start["status"],
        headers={name.decode(): value.decode() for name, value in start["headers"]},
        body=b"".join(message.get("body", b"") for message in sent[1:]),
    )


@pytest.fixture
def opened() -> ASGIApp:
    return page(Known(), None, lambda: False)


@pytest.fixture
def guarded() -> ASGIApp:
    return page(Known(), TOKEN, lambda: False)


def test_a_frame_has_an_address(opened: ASGIApp) -> None:
    index = ask(opened, "/")
    assert index.status == 200
    assert b"<main>" in index.body
    assert ask(opened, "/frame/a/b c/4").body == index.body
    assert ask(opened, "/frame/a/x").status == 404


def test_words_and_pixels_of_a_frame(opened: ASGIApp) -> None:
    query = "series=a%2Fb+c&number=4"
    assert json.loads(ask(opened, "/api/frame", query=query).body) == {"frame": 4}
    image = ask(opened, "/api/frame/image", query=query)
    assert zlib.decompress(image.body, 31) == b"abcd"
    assert image.headers["content-encoding"] == "gzip"
    told = [image.headers[f"x-{name}"] for name in ("rows", "cols", "binning", "dtype")]
    assert told == ["1", "2", "3", "uint16"]
    assert ask(opened, "/api/frame/spots", query=query).status == 404
    assert ask(opened, "/api/powder", query="kind=sum").body == image.body
    assert json.loads(ask(opened, "/api/status").body) == {"at": 1}


@pytest.mark.parametrize(
    "query",
    [
        "",
        "series=a",
        "series=z&number=4",
        "series=a&number=-4",
        "series=a&number=²",
        f"number={'9' * 5000}",
    ],
)
def test_a_frame_that_is_not_there_is_404(opened: ASGIApp, query: str) -> None:
    assert ask(opened, "/api/frame", query=query).status == 404
    assert ask(opened, "/api/frame/image", query=query).status == 404


@pytest.mark.parametrize("query", ["", "kind=max", "kind=../x"])
def test_a_powder_pattern_that_is_not_there_is_404(opened: ASGIApp, query: str) -> None:
    assert ask(opened, "/api/powder", query=query).status == 404


def test_events_end_when_the_server_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hitfinder.monitor.web.EVERY_S", 0.0)
    left = [False, False, True]
    answer = ask(page(Known(), None, lambda: left.pop(0)), "/api/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.body == b'data: {"at":1}\n\n' * 2


def test_every_answer_forbids_the_outside(opened: ASGIApp, guarded: ASGIApp) -> None:
    for app, path in (
        (opened, "/"),
        (opened, "/static/main.js"),
        (opened, "/nothing"),
        (guarded, "/"),
    ):
        headers = ask(app, path).headers
        for name, value in HEADERS.items():
            assert headers[name] == value
    policy = HEADERS["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


def test_nothing_that_ships_names_another_place() -> None:
    for file in STATIC.iterdir():
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//[a-z]+\.[a-z]+/", text), file.name
        assert " style=" not in text, file.name
        assert not re.search(r"\son\w+=\"", text), file.name


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example:8060", "evil.example", "127.0.0.1.evil.example", "evil.example:99999"),
        *("", "x/static/?", "127.0.0.1/static/?", "a@127.0.0.1", "localhost#.evil.example"),
    ],
)
def test_without_a_token_only_this_machine_is_answered(opened: ASGIApp, host: str) -> None:
    assert ask(opened, "/api/status", headers={"host": host}).status == 421


@pytest.mark.parametrize(
    "host", ["localhost:1", "127.0.0.1", "[::1]:8060", "LOCALHOST", "127.0.0.9:1"]
)
def test_this_machine_has_several_names(opened: ASGIApp, host: str) -> None:
    assert ask(opened, "/api/status", headers={"host": host}).status == 200


@pytest.mark.parametrize("path", ["/api/status", "/api/frame", "/api/events", "/api/powder"])
def test_with_a_token_nothing_is_shown_to_strangers(guarded: ASGIApp, path: str) -> None:
    for shown in ("", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer é"):
        answer = ask(guarded, path, headers={"host": "page", "authorization": shown})
        assert answer.status == 401
    for cookie in ("", COOKIE, f"{COOKIE}=", f"{COOKIE}={TOKEN}"):
        assert ask(guarded, path, headers={"host": "page", "cookie": cookie}).status == 401


def test_a_program_shows_the_token(guarded: ASGIApp) -> None:
    answer = ask(guarded, "/api/status", headers={"authorization": f"Bearer {TOKEN}"})
    assert (answer.status, answer.body) == (200, b'{"at":1}')


def test_a_browser_logs_in(guarded: ASGIApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hitfinder.monitor.access.WRONG_S", 0.0)
    sent_away = ask(guarded, "/")
    assert (sent_away.status, sent_away.headers["location"]) == (303, "/login")
    assert b'name="token"' in ask(guarded, "/login").body
    assert ask(guarded, "/static/style.css").status == 200
    for wrong in (b"", b"token=", b"token=wrong", b"other=1", b"\xff\xfe"):
        refused = ask(guarded, "/login", body=wrong)
        assert refused.status == 403
        assert "set-cookie" not in refused.headers
    assert ask(guarded, "/login", body=b"token=" + b"x" * 5000).status == 413
    entered = ask(guarded, "/login", body=b"token=" + TOKEN.replace(" ", "+").encode())
    assert (entered.status, entered.headers["location"]) == (303, "/")
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie  # a link in a mail leads to the frame
    assert TOKEN not in cookie
    answer = ask(guarded, "/", headers={"cookie": cookie.partition(";")[0]})
    assert answer.status == 200


def test_a_strange_host_opens_nothing(guarded: ASGIApp) -> None:
    for host in ("x/static/?", "x/static/#", "x/login?"):
        assert ask(guarded, "/api/status", headers={"host": host}).status == 401


def test_a_login_leads_to_the_frame_that_was_asked_for(guarded: ASGIApp) -> None:
    sent_away = ask(guarded, "/frame/a?b/4")
    assert sent_away.headers["location"] == "/login?to=%2Fframe%2Fa%3Fb%2F4"
    body = b"token=" + TOKEN.replace(" ", "+").encode()
    for to, led in (
        ("%2Fframe%2Fa%3Fb%2F4", "/frame/a%3Fb/4"),
        ("//evil.example", "/"),
        ("https://evil.example", "/"),
        ("/frame/%0D%0Ax: y", "/frame/%0D%0Ax%3A%20y"),
    ):
        entered = ask(guarded, "/login", query=f"to={to}", body=body)
        assert (entered.status, entered.headers["location"]) == (303, led)


def test_a_page_for_others_needs_a_token() -> None:
    for host in ("127.0.0.1", "localhost", "::1", "127.0.0.9"):
        assert checked(MonitorSettings, {"host": host}, "x").is_local
    for host in ("0.0.0.0", "::", "192.168.1.5", "beamline", ""):
        with pytest.raises(ConfigError, match="token_file"):
            checked(MonitorSettings, {"host": host}, "x")
        given = checked(MonitorSettings, {"host": host, "token_file": "t"}, "x")
        assert not given.is_local


def test_a_token_is_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    with pytest.raises(ConfigError, match="cannot read"):
        read_token(file)
    file.write_text("x" * (SHORTEST - 1) + "\n")
    with pytest.raises(ConfigError, match="openssl"):
        read_token(file)
    file.write_text(f"  {TOKEN}\n")
    assert read_token(file) == TOKEN


def test_a_taken_port_is_told() -> None:
    first = Server(Known(), host="127.0.0.1", port=0, token=None)
    first.open()
    port = int(first.url.rstrip("/").rpartition(":")[2])
    with pytest.raises(EndpointError, match="another"):
        Server(Known(), host="127.0.0.1", port=port, token=None).open()
    first._socket.close()
