"""From a configuration to a service: judging, sockets, ledger, pages."""

import time
from pathlib import Path

from hitfinder.assemble.judging import NS_PER_MS, Judging, build_judging, warm
from hitfinder.assemble.models import about
from hitfinder.config import InputSettings, ServeConfig
from hitfinder.ledger.store import Ledger
from hitfinder.serving.http import HttpServer
from hitfinder.serving.ingest import Ingest
from hitfinder.serving.metrics import Metrics
from hitfinder.serving.pipeline import Pipeline
from hitfinder.serving.publish import JudgedBy, Publish
from hitfinder.serving.samples import Samples
from hitfinder.serving.service import Parts, Service
from hitfinder.serving.streams import Streams
from hitfinder.transport.outlet import Outlet
from hitfinder.transport.settings import SenderSettings
from hitfinder.transport.sockets import Context, Receiver, Sender, new_context
from hitfinder.transport.spill import Spill
from hitfinder.verdict import Outcome
from hitfinder.wire import PROTOCOLS
from hitfinder.wire.protocol import Decoder

# Each protocol's own settings, by the names that its decoder takes.
_DECODER_SETTINGS: dict[str, tuple[str, ...]] = {
    "dectris-v1": (),
    "dectris-v2": ("channel",),
    "array-1.0": ("shape_order",),
}


def build_service(config: ServeConfig, folder: Path) -> Service:
    """A service that is not started yet. Raises ConfigError, ArtifactError, DeviceError."""
    clock = time.monotonic_ns
    judging = build_judging(config, folder, clock, learns=True)
    line, metrics, reports = judging.line, judging.metrics, judging.reports
    judged_by = _judged_by(judging)
    _tell_models(judging)
    context = new_context()
    source = Receiver(config.input, context)
    outlets = _outlets(config, folder, context)
    verdicts = _verdict_sender(config, context)
    samples = _samples(config, context)
    started_unix_ns = time.time_ns() - clock()
    ledger = Ledger(
        folder / config.ledger.path,
        model=judged_by.model,
        diffuse_model=judged_by.diffuse_model,
        wall_ns=lambda now_ns: started_unix_ns + now_ns,
    )
    ingest = Ingest(
        source=source,
        decoder=decoder_of(config.input),
        line=line,
        backlog=judging.backlog,
        metrics=metrics,
        clock=clock,
        reports=reports,
    )
    publish = Publish(
        line=line,
        verdicts=verdicts,
        streams=Streams(outlets, metrics=metrics, clock=clock, reports=reports),
        vetoed_share=0.0 if config.vetoed is None else config.vetoed.share,
        ledger=ledger,
        judged_by=judged_by,
        deadline_ns=int(config.pressure.deadline_ms * NS_PER_MS),
        metrics=metrics,
        clock=clock,
        reports=reports,
        samples=samples,
    )
    return Service(
        Parts(
            pipeline=Pipeline(
                ingest=ingest,
                judge=judging.judge,
                publish=publish,
                line=line,
                clock=clock,
                diffuse=None if judging.second is None else judging.second.stage,
                workers=config.batch.workers,
            ),
            warm=lambda: warm(judging, config),
            publish=publish,
            reports=reports,
            ledger=ledger,
            metrics=metrics,
            hot_pixels=judging.hot_pixels,
            source=source,
            outputs=[*outlets.values(), *(one for one in (verdicts, samples) if one is not None)],
            drain_timeout_s=config.pressure.drain_timeout_ms / 1000,
            clock=clock,
            http=lambda service: _http(config, metrics, service),
            close_sockets=context.destroy,
        )
    )


def decoder_of(settings: InputSettings) -> Decoder:
    """What understands this input."""
    own = {name: getattr(settings, name) for name in _DECODER_SETTINGS[settings.protocol]}
    return PROTOCOLS[settings.protocol].decoder(**own)


def _outlets(config: ServeConfig, folder: Path, context: Context) -> dict[str, Outlet]:
    outlets: dict[str, Outlet] = {}
    for name, settings in config.streams.items():
        if settings is None:
            continue
        spill = None
        if settings.spill_folder is not None and config.on_stall(name) == "spill":
            spill = Spill(folder / settings.spill_folder, settings.spill_max_bytes)
        outlets[name] = Outlet(Sender(settings, context), config.on_stall(name), spill)
    return outlets


def _verdict_sender(config: ServeConfig, context: Context) -> Sender | None:
    settings = config.verdicts
    if settings.endpoint is None:
        return None
    sender = SenderSettings(
        endpoint=settings.endpoint, socket="pub", high_water_mark=settings.high_water_mark
    )
    return Sender(sender, context)


def _samples(config: ServeConfig, context: Context) -> Samples | None:
    settings = config.samples
    if settings is None:
        return None
    sender = SenderSettings(
        endpoint=settings.endpoint, socket="pub", high_water_mark=settings.high_water_mark
    )
    per_s = {Outcome.KEPT: settings.kept_per_s, Outcome.VETOED: settings.vetoed_per_s}
    return Samples(Sender(sender, context), per_s)


def _http(config: ServeConfig, metrics: Metrics, service: Service) -> HttpServer | None:
    if config.http.port is None:
        return None
    return HttpServer(
        host=config.http.host,
        port=config.http.port,
        registry=metrics.registry,
        unhealthy=service.unhealthy,
        unready=service.unready,
    )


def _judged_by(judging: Judging) -> JudgedBy:
    second = judging.second
    return JudgedBy(
        model=judging.model.card.name,
        threshold=judging.threshold,
        diffuse_model=None if second is None else second.model.card.name,
        diffuse_threshold=None if second is None else second.threshold,
    )


def _tell_models(judging: Judging) -> None:
    metrics, reports = judging.metrics, judging.reports
    metrics.model.info(about(judging.model))
    metrics.device.labels(judging.model.device).set(1)
    metrics.device_fallback.set(judging.model.fell_back)
    if judging.model.fell_back:
        reports.add("no GPU", f"judging on the CPU: {judging.model.why}")
    if judging.second is not None:
        model = judging.second.model
        metrics.diffuse_model.info(about(model) | {"device": model.device})
        if model.fell_back:
            reports.add("no GPU", f"the second step runs on the CPU: {model.why}")
