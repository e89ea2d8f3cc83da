"""From the service's configuration to its live page, a process of its own.

Nothing else here imports this file: a service needs no web stack.
"""

import time
from pathlib import Path

from hitfinder import __version__
from hitfinder.assemble.plans import overrider, planner
from hitfinder.assemble.service import decoder_of
from hitfinder.config import ServeConfig
from hitfinder.errors import ConfigError
from hitfinder.inference.model_card import find_artifact
from hitfinder.inference.onnx_model import OnnxModel
from hitfinder.monitor.access import read_token
from hitfinder.monitor.gallery import Gallery
from hitfinder.monitor.powder import Powder
from hitfinder.monitor.snapshot import Source
from hitfinder.monitor.viewer import Viewer
from hitfinder.monitor.wall_clock import WallClock
from hitfinder.monitor.watch import Watch
from hitfinder.monitor.web import Server
from hitfinder.transport.settings import ANYWHERE, ReceiverSettings, tcp_address
from hitfinder.transport.sockets import Receiver, new_context
from hitfinder.wire import PROTOCOLS


def build_monitor(config: ServeConfig, folder: Path, port: int | None) -> tuple[Watch, Server]:
    """The live page of a service with this configuration, not started yet; `port` in place of the
    configuration's. Raises ConfigError, ArtifactError.
    """
    settings = config.monitor
    if config.verdicts.endpoint is None:
        raise ConfigError('verdicts.endpoint is "off", and without verdicts there is no live page')
    token = None if settings.token_file is None else read_token(folder / settings.token_file)
    verdicts = _seen_from(config.verdicts.endpoint, settings.service_host)
    samples = None
    if config.samples is not None:
        samples = _seen_from(config.samples.endpoint, settings.service_host)
    # Never the GPU, which is the service's.
    model = OnnxModel.load(find_artifact(config.model.artifact, folder), device="cpu")
    override = overrider(config.detector, folder)
    gallery, powder, context = Gallery(settings.buffer_bytes), Powder(), new_context()
    watch = Watch(
        verdicts=Receiver(_subscriber(verdicts, high_water_mark=10_000), context),
        samples=None if samples is None else Receiver(_subscriber(samples, 2), context),
        viewer=Viewer(
            decoder=decoder_of(config.input),
            plan=planner(config.detector, folder, override)(config.region),
            override=override,
            model=model,
            gallery=gallery,
            powder=powder,
            detector=PROTOCOLS[config.input.protocol].detector,
        ),
        gallery=gallery,
        powder=powder,
        source=Source(
            verdicts=verdicts,
            samples=samples,
            model=model.card.name,
            model_version=model.card.version,
            model_sha256=model.card.onnx_sha256,
            task=model.card.task,
            deadline_ms=config.pressure.deadline_ms,
            version=__version__,
        ),
        clock=time.monotonic_ns,
        wall_ns=WallClock(time.monotonic_ns, time.time_ns),
        close_sockets=context.destroy,
    )
    page_port = settings.port if port is None else port
    return watch, Server(watch, host=settings.host, port=page_port, token=token)


def _seen_from(endpoint: str, service_host: str) -> str:
    """Where to connect to what the service binds."""
    address = tcp_address(endpoint)
    if address is None or address[0] not in ANYWHERE:
        return endpoint
    return f"tcp://{service_host}:{address[1]}"


def _subscriber(endpoint: str, high_water_mark: int) -> ReceiverSettings:
    return ReceiverSettings(
        endpoint=endpoint, socket="sub", high_water_mark=high_water_mark, max_message_bytes=2**33
    )
