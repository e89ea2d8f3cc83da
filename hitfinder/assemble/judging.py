"""Everything between a frame and its verdict, the same live and for files."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hitfinder.assemble.models import load_diffuse, load_hit
from hitfinder.assemble.plans import Planner, overrider, planner, region_shape
from hitfinder.config import ServeConfig
from hitfinder.errors import ConfigError
from hitfinder.frame import Detector
from hitfinder.images.binning import binned
from hitfinder.images.reader import Reader, RegionReader
from hitfinder.inference.onnx_model import ModelRunError, OnnxModel
from hitfinder.serving.backlog import Backlog
from hitfinder.serving.diffuse import DiffuseStage
from hitfinder.serving.hot_pixels import HotPixelMask
from hitfinder.serving.judge import Judge
from hitfinder.serving.line import Line
from hitfinder.serving.metrics import Metrics
from hitfinder.serving.reports import Reports
from hitfinder.serving.scorer import Plan
from hitfinder.wire import PROTOCOLS

NS_PER_MS = 1_000_000

Clock = Callable[[], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondStep:
    """The cascade's second step."""

    model: OnnxModel
    threshold: float
    stage: DiffuseStage
    plan: Plan[RegionReader]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """What `build_judging` makes; `second` is None where there is no second step."""

    model: OnnxModel
    threshold: float
    line: Line
    backlog: Backlog
    metrics: Metrics
    reports: Reports
    judge: Judge
    plan: Plan[RegionReader]
    hot_pixels: HotPixelMask | None
    second: SecondStep | None


def build_judging(
    config: ServeConfig, folder: Path, clock: Clock, *, learns: bool = False
) -> Judging:
    """Raises ConfigError, ArtifactError, DeviceError.

    Hot pixels are learned live only (`learns`): the verdict on a frame of a file must not depend
    on the files before it.
    """
    settings = config.model
    metrics = Metrics()
    reports = Reports(clock)
    model, lasting = load_hit(settings, folder, metrics, reports)
    threshold = model.card.threshold if settings.threshold is None else settings.threshold
    line = Line(config.pressure.max_in_flight_bytes)
    deadline_ns = int(config.pressure.deadline_ms * NS_PER_MS)
    # The other half is for the batch in hand, and for what the estimate does not foresee.
    workers = config.batch.workers
    backlog = Backlog(config.pressure.max_judge_queue_bytes, deadline_ns // 2, workers)
    metrics.watch_line(line.counts)
    metrics.threshold.set(threshold)
    metrics.deadline_seconds.set(config.pressure.deadline_ms / 1000)
    metrics.judge_queue_bytes.set_function(lambda: backlog.bytes)
    metrics.queue_fill.labels("line").set_function(lambda: line.fill)
    metrics.queue_fill.labels("judge").set_function(lambda: backlog.fill)
    plan_for = planner(config.detector, folder, overrider(config.detector, folder))
    plan = plan_for(config.region)
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
    second = _second_step(config, folder, plan_for, line, backlog, metrics, clock, reports)
    judge = Judge(
        line=line,
        backlog=backlog,
        model=lasting,
        threshold=threshold,
        plan=plan,
        batch_size=config.batch.size,
        wait_ns=int(config.batch.wait_ms * NS_PER_MS),
        deadline_ns=deadline_ns,
        metrics=metrics,
        clock=clock,
        reports=reports,
        hot_pixels=hot_pixels,
        diffuse=None if second is None else second.stage,
        workers=workers,
        detector=PROTOCOLS[config.input.protocol].detector,
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
        second=second,
    )


def warm(judging: Judging, config: ServeConfig) -> None:
    """Run each model on what it will be given, where that is known. Raises HitfinderError."""
    shape = region_shape(config.region, config.detector, judging.plan)
    if shape is not None:
        with _too_small("region", judging.model, shape):
            judging.judge.warm(*shape)
    if judging.second is None:
        return
    shape = region_shape(config.diffuse_region, config.detector, judging.second.plan)
    if shape is not None:
        model = judging.second.model
        with _too_small("diffuse_region", model, shape):
            judging.second.stage.warm(*(side // model.card.binning for side in shape))


@contextmanager
def _too_small(section: str, model: OnnxModel, shape: tuple[int, int]) -> Iterator[None]:
    """Names the region where its model does not run on it: a network's windows need some pixels."""
    try:
        yield
    except ModelRunError as error:
        raise ConfigError(
            f"{section}: model {model.card.name} does not run on {shape[0]} x {shape[1]} pixels; "
            f"make the region larger ({error})"
        ) from error


def _second_step(
    config: ServeConfig,
    folder: Path,
    plan_for: Planner,
    line: Line,
    first: Backlog,
    metrics: Metrics,
    clock: Clock,
    reports: Reports,
) -> SecondStep | None:
    settings = config.diffuse
    if settings is None:
        return None
    model, lasting = load_diffuse(settings, folder, metrics, reports)
    threshold = model.card.threshold if settings.threshold is None else settings.threshold
    deadline_ns = int(settings.deadline_ms * NS_PER_MS)
    plan = plan_for(config.diffuse_region)

    def plan_bins(payload_shape: tuple[int, ...], detector: Detector) -> Reader:
        return binned(plan(payload_shape, detector), model.card.binning)

    stage = DiffuseStage(
        line=line,
        first=first,
        backlog=Backlog(settings.max_queue_bytes, deadline_ns // 2, settings.workers),
        model=lasting,
        threshold=threshold,
        policy=config.policy,
        plan=plan_bins,
        deadline_ns=deadline_ns,
        metrics=metrics,
        clock=clock,
        reports=reports,
        workers=settings.workers,
    )
    return SecondStep(model=model, threshold=threshold, stage=stage, plan=plan)
