"""`hitfinder watch`: a verdict stream as a live table."""

import time

from rich.console import Console
from rich.live import Live

from hitfinder.commands.verdict_table import View, render
from hitfinder.errors import BadMessageError
from hitfinder.settings import checked
from hitfinder.transport.settings import ReceiverSettings
from hitfinder.transport.sockets import Receiver, new_context
from hitfinder.wire.verdicts import decode

REDRAWS_PER_S = 4


def run(endpoint: str) -> int:
    """Until Ctrl-C."""
    socket = {"endpoint": endpoint, "socket": "sub", "high_water_mark": 10_000}
    settings = checked(ReceiverSettings, socket, "watch")
    receiver = Receiver(settings, new_context())
    receiver.open()
    view = View()
    console = Console()
    try:
        with Live(console=console, auto_refresh=False) as live:
            while True:
                listen(receiver, view, 1.0 / REDRAWS_PER_S)
                live.update(render(view, endpoint, time.monotonic_ns()), refresh=True)
    except KeyboardInterrupt:
        return 0
    finally:
        receiver.close()


def listen(receiver: Receiver, view: View, seconds: float) -> None:
    """Take in what the stream says for so long."""
    end_ns = time.monotonic_ns() + int(seconds * 1e9)
    while (left_ns := end_ns - time.monotonic_ns()) > 0:
        try:
            parts = receiver.receive(max(1, left_ns // 1_000_000))
            if parts is not None:
                view.add(decode(parts[0]), time.monotonic_ns())
        except BadMessageError as error:
            view.complain(str(error))
