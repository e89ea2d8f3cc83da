"""The service's configuration: every room's settings in one TOML file.

Relative paths in it are relative to the file's own folder. Mistakes are told together, a line each,
with the key's name and, for an unknown key, the nearest known one; clashes between settings show
when each of them is right.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from hitfinder.cascade import PolicySettings
from hitfinder.errors import ConfigError
from hitfinder.images.region import RegionSettings
from hitfinder.monitor.settings import MonitorSettings
from hitfinder.serving.settings import (
    BatchSettings,
    HotPixelSettings,
    HttpSettings,
    PressureSettings,
)
from hitfinder.settings import Settings, checked
from hitfinder.transport.settings import (
    ANYWHERE,
    Endpoint,
    OnStall,
    ReceiverSettings,
    SenderSettings,
    tcp_address,
)

ANY_PORT = ("*", "0")
"""Ports that stand for a free one."""


class InputSettings(ReceiverSettings):
    """The detector's stream."""

    protocol: Literal["dectris-v1", "dectris-v2", "array-1.0"]
    """What the sender speaks: DECTRIS stream v1 (port 9999) or v2 (port 31001; Jungfraujoch
    too), or array-1.0 (areaDetector's ZMQ plugin, PSI)."""
    channel: str | None = None
    """dectris-v2: which channel to judge, e.g. "threshold_1". None takes the first."""
    shape_order: Literal["auto", "numpy", "x-first"] = "auto"
    """array-1.0: the order of "shape". "auto" knows areaDetector and PSI apart."""


class DetectorSettings(Settings):
    """What the stream does not say of the detector, or says wrongly. None leaves it as it is."""

    shape: tuple[Annotated[int, Field(ge=1, le=2**16)], ...] | None = Field(
        default=None, min_length=2, max_length=3
    )
    """Rows and columns of a frame, or modules, rows and columns. Needed before the first series
    only to warm the model for region "whole"."""
    mask_file: str | None = None
    """Pixels not to use, nonzero: .npy, HDF5 (file.h5::/path), CBF, TIFF or EDF. Added to the
    stream's own mask."""
    geometry_file: Path | None = None
    """CrystFEL .geom file that lays out a detector of several modules."""
    saturation: float | None = None
    """Pixels from this value on are not a measurement."""
    underload: float | None = None
    """Pixels below this value are not a measurement."""
    beam_x_px: float | None = None
    """Beam centre, pixels along the columns (fast axis)."""
    beam_y_px: float | None = None
    """Beam centre, pixels along the rows (slow axis)."""
    pixel_x_mm: float | None = Field(default=None, gt=0.0, le=100.0)
    """Pixel size along the columns."""
    pixel_y_mm: float | None = Field(default=None, gt=0.0, le=100.0)
    """Pixel size along the rows."""
    distance_mm: float | None = Field(default=None, gt=0.0, le=1e6)
    """Crystal to detector."""
    wavelength_angstrom: float | None = Field(default=None, gt=0.0, le=1000.0)
    """Of the beam."""

    @model_validator(mode="after")
    def _something_is_measured(self) -> "DetectorSettings":
        if self.saturation is not None and self.saturation <= (self.underload or 0.0):
            raise ValueError(
                f"saturation {self.saturation:g} leaves no value to measure above underload "
                f"{self.underload or 0.0:g}"
            )
        return self


class ModelSettings(Settings):
    """The model that judges."""

    artifact: str = "hit"
    """Folder with model.onnx and card.json, or the name of a model that hitfinder ships."""
    threshold: float | None = Field(default=None, ge=0.0, le=1.0)
    """Score from which a frame is a hit. None takes the one on the model's card."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """"auto" takes a GPU that works, else the CPU and says so; "cuda" refuses to start
    without."""
    threads: int = Field(default=1, ge=1, le=256)
    """CPU threads for one batch."""
    cuda_graphs: bool = False
    """On a GPU: record what a batch of each size does there once, and replay it in one call. Meant
    for models of many small steps; not measured on a GPU yet, and off until it is."""


class DiffuseSettings(Settings):
    """The cascade's second step: a model that tells diffuse scattering, for hits only."""

    artifact: str = "diffuse"
    """Folder with model.onnx and card.json, or the name of a model that hitfinder ships."""
    threshold: float | None = Field(default=None, ge=0.0, le=1.0)
    """Score from which a hit shows diffuse scattering. None takes the one on the model's card."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """As for [model]."""
    threads: int = Field(default=1, ge=1, le=256)
    """CPU threads for one frame."""
    workers: int = Field(default=1, ge=1, le=64)
    """Hits that are judged side by side. More than one pays where there are three cores or more:
    one that comes close behind another need not wait for it."""
    deadline_ms: float = Field(default=100.0, ge=1.0, le=600_000.0)
    """How long a hit's verdict, and what came after it, may wait for the second score, from the
    first on. Then the hit is kept and its verdict says that it was not judged."""
    max_queue_bytes: int = Field(default=2**26, ge=2**16, le=2**40)
    """Bound on the hits that wait for the second model; beyond it they go on without."""


class DiffuseRegionSettings(RegionSettings):
    """Where the second model looks."""

    kind: Literal["center", "whole", "box"] = "whole"
    """As for [region]."""


class VerdictSettings(Settings):
    """The verdict stream: PUB, JSON, one message a frame and a heartbeat each second."""

    endpoint: Endpoint | None = "tcp://127.0.0.1:5558"
    """Address to bind; "off" publishes no verdicts."""
    high_water_mark: int = Field(default=10_000, ge=1, le=10_000_000)
    """Verdicts held for a slow subscriber before it misses some."""


class VetoedSettings(SenderSettings):
    """A second endpoint, for frames that were judged a miss."""

    share: float = Field(default=1.0, gt=0.0, le=1.0)
    """Share of the vetoed frames sent there, chosen at random but alike in every replay."""


class SamplesSettings(Settings):
    """A sample of the frames for whoever wants to see some, as `hitfinder monitor` does: PUB, the
    sender's own messages behind their verdicts. Never waits for anyone.
    """

    endpoint: Endpoint
    """Address to bind, e.g. "tcp://127.0.0.1:5561"."""
    kept_per_s: float = Field(default=2.0, ge=0.0, le=100.0)
    """Kept frames sent a second, at most and on average."""
    vetoed_per_s: float = Field(default=1.0, ge=0.0, le=100.0)
    """Vetoed frames sent a second, likewise."""
    high_water_mark: int = Field(default=4, ge=1, le=1000)
    """Frames held for a slow subscriber before it misses some: a bound on memory."""


class LedgerSettings(Settings):
    """The record of every frame's outcome."""

    path: Path = Path("ledger.sqlite")
    """The SQLite file; made when it is not there, added to when it is."""


class LogSettings(Settings):
    """What is logged, to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Lines below this level are left out."""
    format: Literal["auto", "json", "text"] = "auto"
    """"json" is one JSON object a line, "text" a line for a person; "auto" is text on a terminal,
    else JSON."""


class ServeConfig(Settings):
    """Everything that `hitfinder serve` needs."""

    input: InputSettings
    """The detector's stream."""
    detector: DetectorSettings = DetectorSettings()
    """What the stream does not say of the detector, or says wrongly."""
    region: RegionSettings = RegionSettings()
    """Where the model looks."""
    hot_pixels: HotPixelSettings = HotPixelSettings()
    """Pixels that stand out in most frames, learned from the stream."""
    model: ModelSettings = ModelSettings()
    """The model that judges."""
    batch: BatchSettings = BatchSettings()
    """How frames are gathered before the model sees them."""
    pressure: PressureSettings = PressureSettings()
    """What the service may hold, and for how long."""
    diffuse: DiffuseSettings | None = None
    """The cascade's second step: a model that tells diffuse scattering, for hits only. Without
    this section there is none."""
    diffuse_region: DiffuseRegionSettings = DiffuseRegionSettings()
    """Where the second model looks."""
    policy: PolicySettings = PolicySettings()
    """Which hits are kept, by what the second step says. One that it did not judge always is."""
    verdicts: VerdictSettings = VerdictSettings()
    """The verdict stream."""
    kept: SenderSettings | None = None
    """Where kept and unjudged frames go on, verbatim, with series start and end. Left out, they
    are judged and recorded, and go nowhere."""
    vetoed: VetoedSettings | None = None
    """A second endpoint, for frames that were judged a miss. Left out, they go nowhere."""
    samples: SamplesSettings | None = None
    """A few frames a second for the live page. Left out, none are sent, and the page shows
    numbers only."""
    monitor: MonitorSettings = MonitorSettings()
    """The live page, `hitfinder monitor`; the service itself takes no notice of this section."""
    diffuse_frames: SenderSettings | None = None
    """An endpoint of their own for hits with diffuse scattering, besides where else they go:
    verbatim, with series start and end. Left out, there is none."""
    ledger: LedgerSettings = LedgerSettings()
    """The record of every frame's outcome."""
    http: HttpSettings = HttpSettings()
    """The page for Prometheus and supervisors."""
    log: LogSettings = LogSettings()
    """What is logged."""

    @model_validator(mode="after")
    def _parts_agree(self) -> "ServeConfig":
        if self.input.max_message_bytes > self.pressure.max_in_flight_bytes:
            raise ValueError("input.max_message_bytes must not exceed pressure.max_in_flight_bytes")
        _check_apart(self._endpoints, "endpoint")
        return self

    @model_validator(mode="after")
    def _ports_are_apart(self) -> "ServeConfig":
        for (one, host, port), (other, where, its) in combinations(self._listening(), 2):
            same = host == where or not ANYWHERE.isdisjoint((host, where))
            if same and port == its and port not in ANY_PORT:
                raise ValueError(f"{one} and {other} both listen on port {port}")
        return self

    @property
    def _endpoints(self) -> dict[str, str]:
        """Those of the outputs that are wanted, by name."""
        outputs = {**self.streams, "verdicts": self.verdicts, "samples": self.samples}
        return {
            name: settings.endpoint
            for name, settings in outputs.items()
            if settings is not None and settings.endpoint is not None
        }

    def _listening(self) -> Iterator[tuple[str, str, str]]:
        """Name, host and port of everything that waits for others to connect."""
        endpoints = {"input": self.input.endpoint, **self._endpoints}
        for name, settings in {"input": self.input, **self.streams}.items():
            if settings is not None and settings.mode == "connect":
                del endpoints[name]
        for name, endpoint in endpoints.items():
            address = tcp_address(endpoint)
            if address is not None:
                yield name, *address
        if self.http.port is not None:
            yield "http", self.http.host, str(self.http.port)

    @model_validator(mode="after")
    def _spills_are_apart(self) -> "ServeConfig":
        folders = {
            name: os.path.normpath(settings.spill_folder)
            for name, settings in self.streams.items()
            if settings is not None and settings.spill_folder is not None
            if settings.on_stall == "spill"
        }
        remedy = ": they would write over each other's messages; give each its own"
        _check_apart(folders, "spill_folder", remedy)
        return self

    @model_validator(mode="after")
    def _second_step_is_there(self) -> "ServeConfig":
        needs_it = {"diffuse_region", "policy", "diffuse_frames"} & self.model_fields_set
        if self.diffuse is None and needs_it:
            raise ValueError(f"{', '.join(sorted(needs_it))} without diffuse: no second step")
        return self

    @property
    def streams(self) -> dict[str, SenderSettings | None]:
        """The outputs that frames go on to, by name; None for one that is not wanted."""
        return {"kept": self.kept, "vetoed": self.vetoed, "diffuse": self.diffuse_frames}

    def on_stall(self, stream: str) -> OnStall:
        """The stall rule of an output: as set, or as its stream asks for."""
        settings = self.streams[stream]
        if settings is not None and settings.on_stall is not None:
            return settings.on_stall
        can_tell = settings is not None and settings.socket == "push"
        lossless = stream == "kept" and self.input.socket == "pull" and can_tell
        return "backpressure" if lossless else "drop"


def _check_apart(of: Mapping[str, str], what: str, remedy: str = "") -> None:
    """Raises ValueError where two outputs have the same."""
    taken: dict[str, str] = {}
    for name, value in of.items():
        if value in taken:
            raise ValueError(f"{taken[value]} and {name} have one {what}, {value}{remedy}")
        taken[value] = name


def load_config(path: Path) -> ServeConfig:
    """Read a TOML file. Raises ConfigError with a line for each mistake."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    return checked(ServeConfig, table, str(path))
