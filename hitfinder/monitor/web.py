"""The page over HTTP: files that ship with the package, and what `Watch` knows.

    /                            the page
    /frame/SERIES/NUMBER         the page with one frame in it
    /api/events                  its numbers, twice a second, as server-sent events
    /api/status                  its numbers, once
    /api/frame?series=&number=   a frame's words; /api/frame/image, /api/frame/spots its pixels
    /api/powder?kind=sum|max     the virtual powder pattern; how to read it stands in its headers

What this file does not know: who may look (`access`), and what the numbers mean.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from hitfinder.errors import EndpointError
from hitfinder.monitor.access import STATIC, Guard
from hitfinder.monitor.raster import Raster

EVERY_S = 0.5
NOT_STORED = {"cache-control": "no-store"}
CLOSE_S = 3


class Watched(Protocol):
    """What the page shows. Called from several threads."""

    def snapshot(self) -> bytes:
        """The numbers, as JSON."""
        ...

    def frame(self, series: str, number: int) -> bytes | None:
        """A frame's words, as JSON."""
        ...

    def image(self, series: str, number: int) -> Raster | None:
        """A frame's pixels."""
        ...

    def spots(self, series: str, number: int) -> Raster | None:
        """A frame's spot map."""
        ...

    def powder(self, kind: str) -> Raster | None:
        """The virtual powder pattern of a kind, "sum" or "max"."""
        ...


def page(watched: Watched, token: str | None, is_closing: Callable[[], bool]) -> ASGIApp:
    """The whole application. `is_closing` ends the streams of events."""

    def index(_request: Request) -> Response:
        return FileResponse(STATIC / "index.html", headers=NOT_STORED)

    def status(_request: Request) -> Response:
        return _json(watched.snapshot())

    async def events(_request: Request) -> Response:
        async def stream() -> AsyncIterator[bytes]:
            while not is_closing():
                # Made when it can be sent: a slow reader gets fewer, not older ones.
                told = await asyncio.to_thread(watched.snapshot)
                yield b"data: " + told + b"\n\n"
                await asyncio.sleep(EVERY_S)

        return StreamingResponse(stream(), media_type="text/event-stream", headers=NOT_STORED)

    def words(request: Request) -> Response:
        asked = _asked(request)
        told = None if asked is None else watched.frame(*asked)
        return _gone() if told is None else _json(told)

    def pixels(of: Callable[[str, int], Raster | None]) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            asked = _asked(request)
            found = None if asked is None else of(*asked)
            return _gone() if found is None else _raster(found)

        return answer

    def powder(request: Request) -> Response:
        kind = request.query_params.get("kind", "")
        found = watched.powder(kind) if kind in ("sum", "max") else None
        return _gone() if found is None else _raster(found)

    routes = [
        Route("/", index),
        Route("/frame/{series:path}/{number:int}", index),
        Route("/api/events", events),
        Route("/api/status", status),
        Route("/api/frame", words),
        Route("/api/frame/image", pixels(watched.image)),
        Route("/api/frame/spots", pixels(watched.spots)),
        Route("/api/powder", powder),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    return Guard(Starlette(routes=routes), token)


def _asked(request: Request) -> tuple[str, int] | None:
    """Series and number of the frame that is asked for."""
    number = request.query_params.get("number", "")
    if not number.isascii() or not number.isdigit() or len(number) > 20:
        return None
    return request.query_params.get("series", ""), int(number)


def _json(content: bytes) -> Response:
    return Response(content, media_type="application/json", headers=NOT_STORED)


def _gone() -> Response:
    return PlainTextResponse("not in the buffer\n", 404, headers=NOT_STORED)


def _raster(raster: Raster) -> Response:
    """Pixels as they are held: every browser unpacks gzip."""
    headers = {
        **NOT_STORED,
        "content-encoding": "gzip",
        "x-rows": str(raster.rows),
        "x-cols": str(raster.cols),
        "x-binning": str(raster.binning),
        "x-dtype": raster.dtype,
    }
    return Response(raster.gzip, media_type="application/octet-stream", headers=headers)


class Server:
    """`open` binds, `run` serves until SIGTERM or Ctrl-C, or until `stop`."""

    def __init__(self, watched: Watched, *, host: str, port: int, token: str | None) -> None:
        self._address = (host, port)
        config = uvicorn.Config(
            page(watched, token, lambda: self._server.should_exit),
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="off",
            loop="asyncio",
            http="h11",
            ws="none",
            timeout_graceful_shutdown=CLOSE_S,
        )
        self._server = uvicorn.Server(config)

    def open(self) -> None:
        """Bind. Raises EndpointError."""
        host, port = self._address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, port), family=family)
        except (OSError, OverflowError, UnicodeError) as error:
            raise EndpointError(
                f"cannot serve the page on {host}:{port}: {error}; choose another [monitor] port, "
                "or port = 0 for any"
            ) from error

    @property
    def url(self) -> str:
        """Where the page is."""
        host, port = self._socket.getsockname()[:2]
        named = f"[{host}]" if ":" in host else host
        return f"http://{named}:{port}/"

    def run(self) -> None:
        """Serve."""
        self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """End `run`, from another thread."""
        self._server.should_exit = True
