"""The page on each kind of address, and what an address that cannot be had is told."""

import socket
import urllib.request
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry

from hitfinder.errors import EndpointError
from hitfinder.serving.http import HttpServer


def server(host: str, port: int = 0) -> HttpServer:
    return HttpServer(
        host=host, port=port, registry=CollectorRegistry(), unhealthy=list, unready=list
    )


@pytest.mark.parametrize(("host", "named"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_the_page_is_served_on_either_kind_of_address(host: str, named: str) -> None:
    if host == "::1":
        try:
            socket.create_server((host, 0), family=socket.AF_INET6).close()
        except OSError as error:
            pytest.skip(f"this machine has no IPv6: {error}")
    page = server(host)
    page.open()
    try:
        with urllib.request.urlopen(f"http://{named}:{page.port}/healthz", timeout=10) as answer:
            assert (answer.status, answer.read()) == (200, b"ok\n")
    finally:
        page.close()


def test_no_name_server_is_asked_for_the_hosts_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(name: str = "") -> str:
        raise AssertionError(f"asked for the name of {name}")

    for each in ("getfqdn", "gethostbyaddr"):
        monkeypatch.setattr(socket, each, asked)
    page = server("0.0.0.0")
    page.open()
    page.close()


@pytest.mark.parametrize("taken", [lambda port: ("127.0.0.1", port), lambda _: ("no such host", 1)])
def test_an_address_that_cannot_be_had_is_told_with_the_remedy(
    taken: Callable[[int], tuple[str, int]],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        host, port = taken(other.getsockname()[1])
        with pytest.raises(
            EndpointError, match=rf"on {host}, port {port}: .*\[http\] host or port"
        ):
            server(host, port).open()
