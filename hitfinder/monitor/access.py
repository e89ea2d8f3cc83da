"""Who may look: everybody on this machine, or whoever knows the token.

On this machine only requests that name it are answered, so that a strange web page cannot have a
browser read frames under a name of its own (DNS rebinding). With a token, a browser shows it once,
on /login, and gets a cookie; a program sends `Authorization: Bearer TOKEN`. Tokens are compared in
constant time. What this file does not know: what is shown.
"""

import asyncio
import hashlib
import hmac
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, quote

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hitfinder.errors import ConfigError

SHORTEST = 16
"""Characters of a token: with a wait after each wrong one, nobody guesses these."""

WRONG_S = 0.5
LONGEST_FORM = 4096
COOKIE = "hitfinder-token"
FRAME = "/frame/"
"""Where else than to the page itself a login may lead."""

LOCAL: Final = re.compile(r"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?", re.IGNORECASE)
"""What a request for this machine names; any other, or none, is answered by nobody."""

STATIC = Path(__file__).parent / "static"

HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
"""On every answer: the page fetches from where it came from, and from nowhere else."""


def read_token(path: Path) -> str:
    """The secret in a file. Raises ConfigError."""
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"monitor.token_file: cannot read {path}: {error}") from error
    if len(token) < SHORTEST:
        raise ConfigError(
            f"monitor.token_file: {path} holds {len(token)} characters, a token needs {SHORTEST}; "
            f"make one with: openssl rand -hex 16"
        )
    return token


class Guard:
    """Stands before an application; `token` None lets in whoever names this machine."""

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = token
        # The cookie must not give the token away to whoever reads the browser's profile.
        self._cookie = hashlib.sha256(f"hitfinder {token}".encode()).hexdigest()
        self._logger = logging.getLogger("hitfinder.monitor")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the application answer."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        answer = await self._instead(request)
        await (self._app if answer is None else answer)(scope, receive, headed)

    async def _instead(self, request: Request) -> Response | None:
        """What is answered in place of the application; None lets the request through."""
        # Not request.url: a library's idea of a strange Host must not decide who may look.
        path = str(request.scope["path"])
        if self._token is None:
            known = LOCAL.fullmatch(request.headers.get("host", ""))
            return None if known else PlainTextResponse("unknown host\n", 421)
        if path == "/login":
            return await self._login(request)
        if self._knows(request) or path.startswith("/static/"):
            return None
        if path.startswith("/api/"):
            return PlainTextResponse("a token is needed: Authorization: Bearer TOKEN\n", 401)
        is_frame = path.startswith(FRAME)
        return RedirectResponse(f"/login?to={quote(path, safe='')}" if is_frame else "/login", 303)

    def _knows(self, request: Request) -> bool:
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(shown.strip()):
            return True
        return _same(request.cookies.get(COOKIE, ""), self._cookie)

    async def _login(self, request: Request) -> Response:
        if request.method != "POST":
            return FileResponse(STATIC / "login.html", headers={"cache-control": "no-store"})
        form = b""
        async for chunk in request.stream():
            form += chunk
            if len(form) > LONGEST_FORM:
                return PlainTextResponse("too long\n", 413)
        shown = parse_qs(form.decode("ascii", "replace")).get("token", [""])[0]
        if not self._is_token(shown):
            self._logger.warning("a wrong token was shown on /login")
            await asyncio.sleep(WRONG_S)
            return FileResponse(STATIC / "wrong.html", 403, headers={"cache-control": "no-store"})
        to = request.query_params.get("to", "")
        answer = RedirectResponse(quote(to) if to.startswith(FRAME) else "/", 303)
        # Not "strict": who follows a frame's link in a mail would be asked again. No request
        # changes anything, so a link can do no harm.
        answer.set_cookie(COOKIE, self._cookie, httponly=True, samesite="lax")
        return answer

    def _is_token(self, shown: str) -> bool:
        return _same(shown, self._token or "")


def _same(one: str, other: str) -> bool:
    """In constant time; bytes, since text must be ASCII there."""
    return hmac.compare_digest(one.encode(), other.encode())
