"""The page that Prometheus and supervisors ask.

/metrics   Prometheus text format
/healthz   200 while frames can pass and every thread works, else 503 and why
/readyz    200 when frames will be judged without a first-time delay, else 503 and why
"""

import logging
import socket
import socketserver
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from hitfinder.errors import EndpointError

Problems = Callable[[], list[str]]
"""What is wrong, a line each; empty when all is well."""

_INDEX = "hitfinder: /metrics /healthz /readyz\n"


class HttpServer:
    """Serves in threads of its own; `open` binds."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        registry: CollectorRegistry,
        unhealthy: Problems,
        unready: Problems,
    ) -> None:
        self._address = (host, port)
        self._pages: dict[str, Callable[[], tuple[HTTPStatus, str, bytes]]] = {
            "/": lambda: (HTTPStatus.OK, "text/plain", _INDEX.encode()),
            "/metrics": lambda: (HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(registry)),
            "/healthz": lambda: _state(unhealthy()),
            "/readyz": lambda: _state(unready()),
        }

    def open(self) -> None:
        """Bind and serve. Raises EndpointError."""
        try:
            self._server = _Server(self._address, _handler(self._pages))
        except (OSError, TypeError, UnicodeError) as error:
            host, port = self._address
            raise EndpointError(
                f"cannot serve metrics on {host}, port {port}: {error}; choose another "
                f"[http] host or port, or port = 0 for any"
            ) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="http", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port in use."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(socketserver.ThreadingTCPServer):
    """Not the library's own HTTP server, which asks for the host's name when it binds: without a
    name server that takes seconds.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle of an answer is not news."""
        logging.getLogger("hitfinder.http").debug("no answer to %s", client_address, exc_info=True)


def _state(problems: list[str]) -> tuple[HTTPStatus, str, bytes]:
    status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
    return status, "text/plain", ("\n".join(problems or ["ok"]) + "\n").encode()


def _handler(
    pages: dict[str, Callable[[], tuple[HTTPStatus, str, bytes]]],
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            if page is None:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            status, content_type, body = page()
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  inherited name
            """Scrapes are not news."""

    return Handler
