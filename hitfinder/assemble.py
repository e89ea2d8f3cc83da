"""The only place where objects are wired together: a configuration in, a service out.

Relative paths of a configuration are relative to `folder`, the one its file lies in.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hitfinder import __version__
from hitfinder.config import DetectorSettings, InputSettings, ServeConfig
from hitfinder.errors import ArtifactError, ConfigError, DataFileError
from hitfinder.frame import Detector
from hitfinder.images.gather import gather_map
from hitfinder.images.geometry import read_geometry
from hitfinder.images.region import RegionReader, RegionSettings, plan_region
from hitfinder.inference.model_card import find_artifact
from hitfinder.inference.onnx_model import OnnxModel
from hitfinder.ledger.store import Ledger
from hitfinder.monitor.gallery import Gallery
from hitfinder.monitor.powder import Powder
from hitfinder.monitor.snapshot import Source
from hitfinder.monitor.viewer import Viewer
from hitfinder.monitor.watch import Watch
from hitfinder.serving.backlog import Backlog
from hitfinder.serving.hot_pixels import HotPixelMask
from hitfinder.serving.http import HttpServer
from hitfinder.serving.ingest import Ingest
from hitfinder.serving.judge import Judge, Plan
from hitfinder.serving.line import Line
from hitfinder.serving.metrics import Metrics
from hitfinder.serving.pipeline import Pipeline
from hitfinder.serving.publish import JudgedBy, Publish
from hitfinder.serving.reports import Reports
from hitfinder.serving.samples import Samples
from hitfinder.serving.service import Parts, Service
from hitfinder.serving.streams import Streams
from hitfinder.transport.outlet import Outlet
from hitfinder.transport.settings import ReceiverSettings, SenderSettings
from hitfinder.transport.sockets import Context, Receiver, Sender, new_context
from hitfinder.transport.spill import Spill
from hitfinder.verdict import Outcome
from hitfinder.wire import PROTOCOLS
from hitfinder.wire.protocol import Decoder

if TYPE_CHECKING:
    from hitfinder.monitor.web import Server

NS_PER_MS = 1_000_000

# Each protocol's own settings, by the names that its decoder takes.
_DECODER_SETTINGS: dict[str, tuple[str, ...]] = {
    "dectris-v1": (),
    "dectris-v2": ("channel",),
    "array-1.0": ("shape_order",),
}

Clock = Callable[[], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """Everything between a frame and its verdict, the same live and for files."""

    model: OnnxModel
    threshold: float
    line: Line
    backlog: Backlog
    metrics: Metrics
    reports: Reports
    judge: Judge
    plan: Plan
    hot_pixels: HotPixelMask | None


def build_judging(
    config: ServeConfig, folder: Path, clock: Clock, *, learns: bool = False
) -> Judging:
    """Raises ConfigError, ArtifactError, DeviceError.

    Hot pixels are learned live only (`learns`): the verdict on a frame of a file must not depend
    on the files before it.
    """
    settings = config.model
    artifact = find_artifact(settings.artifact, folder)
    model = OnnxModel.load(artifact, device=settings.device, threads=settings.threads)
    if model.card.task != "hit":
        raise ArtifactError(
            f"{artifact} is a model for {model.card.task!r}; [model] needs one for 'hit'"
        )
    threshold = model.card.threshold if settings.threshold is None else settings.threshold
    line = Line(config.pressure.max_in_flight_bytes)
    deadline_ns = int(config.pressure.deadline_ms * NS_PER_MS)
    # The other half is for the batch in hand, and for what the estimate does not foresee.
    backlog = Backlog(config.pressure.max_judge_queue_bytes, deadline_ns // 2)
    metrics = Metrics()
    metrics.watch_line(line.counts)
    reports = Reports(clock)
    plan = _plan(config.region, config.detector, folder)
    hot_pixels = None
    if learns and config.hot_pixels.mode is not None:
        file = config.hot_pixels.file
        hot_pixels = HotPixelMask(
            masks=config.hot_pixels.mode == "mask",
            file=None if file is None else folder / file,
            metrics=metrics,
            clock=clock,
            reports=reports,
        )
    judge = Judge(
        line=line,
        backlog=backlog,
        model=model,
        threshold=threshold,
        plan=plan,
        batch_size=config.batch.size,
        wait_ns=int(config.batch.wait_ms * NS_PER_MS),
        deadline_ns=deadline_ns,
        metrics=metrics,
        clock=clock,
        reports=reports,
        hot_pixels=hot_pixels,
    )
    return Judging(
        model=model,
        threshold=threshold,
        line=line,
        backlog=backlog,
        metrics=metrics,
        reports=reports,
        judge=judge,
        plan=plan,
        hot_pixels=hot_pixels,
    )


def build_service(config: ServeConfig, folder: Path) -> Service:
    """A service that is not started yet. Raises ConfigError, ArtifactError, DeviceError."""
    clock = time.monotonic_ns
    judging = build_judging(config, folder, clock, learns=True)
    line, metrics, reports, model = judging.line, judging.metrics, judging.reports, judging.model
    _tell_model(metrics, reports, model)
    context = new_context()
    source = Receiver(config.input, context)
    outlets = _outlets(config, folder, context)
    verdicts = _verdict_sender(config, context)
    samples = _samples(config, context)
    started_unix_ns = time.time_ns() - clock()
    ledger = Ledger(
        folder / config.ledger.path,
        model=model.card.name,
        wall_ns=lambda now_ns: started_unix_ns + now_ns,
    )
    ingest = Ingest(
        source=source,
        decoder=_decoder(config.input),
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
        judged_by=JudgedBy(model=model.card.name, threshold=judging.threshold),
        deadline_ns=int(config.pressure.deadline_ms * NS_PER_MS),
        metrics=metrics,
        clock=clock,
        reports=reports,
        samples=samples,
    )
    return Service(
        Parts(
            pipeline=Pipeline(
                ingest=ingest, judge=judging.judge, publish=publish, line=line, clock=clock
            ),
            judge=judging.judge,
            publish=publish,
            reports=reports,
            ledger=ledger,
            metrics=metrics,
            hot_pixels=judging.hot_pixels,
            source=source,
            outputs=[*outlets.values(), *(one for one in (verdicts, samples) if one is not None)],
            region_shape=_region_shape(config, judging.plan),
            drain_timeout_s=config.pressure.drain_timeout_ms / 1000,
            clock=clock,
            http=lambda service: _http(config, metrics, service),
            close_sockets=context.destroy,
        )
    )


def build_monitor(config: ServeConfig, folder: Path, port: int | None) -> "tuple[Watch, Server]":
    """The live page of a service with this configuration, not started yet; `port` in place of the
    configuration's. Raises ConfigError, ArtifactError.
    """
    # Only here: a service needs no web stack.
    from hitfinder.monitor.access import read_token
    from hitfinder.monitor.web import Server

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
    gallery, powder, context = Gallery(settings.buffer_bytes), Powder(), new_context()
    started_unix_ns = time.time_ns() - time.monotonic_ns()
    watch = Watch(
        verdicts=Receiver(_subscriber(verdicts, high_water_mark=10_000), context),
        samples=None if samples is None else Receiver(_subscriber(samples, 2), context),
        viewer=Viewer(
            decoder=_decoder(config.input),
            plan=_plan(config.region, config.detector, folder),
            override=_overrider(config.detector, folder),
            model=model,
            gallery=gallery,
            powder=powder,
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
        wall_ns=lambda now_ns: started_unix_ns + now_ns,
    )
    page_port = settings.port if port is None else port
    return watch, Server(watch, host=settings.host, port=page_port, token=token)


def _seen_from(endpoint: str, service_host: str) -> str:
    """Where to connect to what the service binds."""
    for anywhere in ("*", "0.0.0.0", "[::]"):  # noqa: S104  read, not bound
        endpoint = endpoint.replace(f"tcp://{anywhere}:", f"tcp://{service_host}:")
    return endpoint


def _subscriber(endpoint: str, high_water_mark: int) -> ReceiverSettings:
    return ReceiverSettings(
        endpoint=endpoint, socket="sub", high_water_mark=high_water_mark, max_message_bytes=2**33
    )


def _plan(region: RegionSettings, overrides: DetectorSettings, folder: Path) -> Plan:
    geometry = None
    if overrides.geometry_file is not None:
        geometry = read_geometry(folder / overrides.geometry_file)
    override = _overrider(overrides, folder)

    def plan(payload_shape: tuple[int, ...], detector: Detector) -> RegionReader:
        gather = None if geometry is None else gather_map(geometry, payload_shape)
        return plan_region(region, payload_shape, override(detector), gather)

    return plan


def _overrider(settings: DetectorSettings, folder: Path) -> Callable[[Detector], Detector]:
    """Put what the settings say in place of what the stream says."""
    given = settings.model_dump(exclude={"mask_file", "geometry_file"}, exclude_none=True)
    mask = None
    if settings.mask_file is not None:
        # Only here does the live service read a data file.
        from hitfinder.dataset.mask_file import load_mask

        try:
            mask = load_mask(folder / settings.mask_file)
        except DataFileError as error:
            raise ConfigError(f"detector.mask_file: {error}") from error

    def override(detector: Detector) -> Detector:
        changed = replace(detector, **given)
        if mask is None:
            return changed
        if detector.mask is not None and detector.mask.shape != mask.shape:
            raise ConfigError(
                f"detector.mask_file has shape {mask.shape}, the stream's own mask "
                f"{detector.mask.shape}; they must agree"
            )
        both = mask if detector.mask is None else np.logical_or(mask, detector.mask)
        return replace(changed, mask=both)

    return override


def _region_shape(config: ServeConfig, plan: Plan) -> tuple[int, int] | None:
    """What the model will be given, if that is known before the first series."""
    region = config.region
    if region.kind != "whole":
        return region.rows, region.cols
    if config.detector.shape is None:
        return None
    return plan(config.detector.shape, Detector()).shape


def _decoder(settings: InputSettings) -> Decoder:
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


def _tell_model(metrics: Metrics, reports: Reports, model: OnnxModel) -> None:
    card = model.card
    metrics.model.info(
        {"name": card.name, "version": card.version, "sha256": card.onnx_sha256, "task": card.task}
    )
    metrics.device.labels(model.device).set(1)
    metrics.device_fallback.set(model.fell_back)
    if model.fell_back:
        reports.add("no GPU", f"judging on the CPU: {model.why}")
