"""`make bench-gpu`: how near the models come to what a GPU can do, and to what is wanted.

    python -m benchmarks.gpu                       some 8 minutes on a GPU
    python -m benchmarks.gpu --only rates service  those alone
    python -m benchmarks.gpu --out DIR             into another folder: a trial

Without a GPU: one line that says why, and exit status 0. With one it writes tables, as `make bench`
does (`benchmarks/results/GPU.json`, `benchmarks/RESULTS.md`): limits of the GPU, by PyTorch in the
same run; the hit model and VGG16 in ONNX Runtime, as served, beside the same networks in PyTorch,
eager and compiled, in turns, each from page-locked host memory to scores in host memory; whether
the GPU's scores are the CPU's; a cold start; and the service at 120 Hz. It wants an environment of
its own: docs/how-to/gpu.md.
"""

import argparse
import importlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks import machine
from benchmarks.gpu_limits import PART, limits_section, measure_limits
from benchmarks.gpu_rates import hit_rates, vgg16_rates, whole_rates
from benchmarks.gpu_start import start_cold
from benchmarks.material import regions, shots
from benchmarks.record import (
    Bar,
    Column,
    Row,
    Section,
    Tell,
    cannot_run,
    save_record,
    stamped,
)
from benchmarks.rig import Setup, run
from benchmarks.run import add_place, publish, record_of, tell_bars
from hitfinder.commands.demo import demo_series
from hitfinder.commands.models import NEAR
from hitfinder.errors import HitfinderError
from hitfinder.inference.model_card import shipped_models
from hitfinder.inference.onnx_model import OnnxModel
from hitfinder.inference.sessions import CUDA, start

PARTS = ("limits", "rates", "agreement", "start", "service")
P99_MS = 5.0
"""What is wanted on an H100 or H200."""

RATE_HZ, RUN_S = 120.0, 20.0
ON_GPU = '[model]\ndevice = "cuda"\n'
SERVICES = {"hit": ON_GPU, "hit and diffuse": f'{ON_GPU}[diffuse]\ndevice = "cuda"\n'}


def why_not() -> str:
    """What is missing; empty where everything can be measured."""
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return "PyTorch is not installed"
    if not torch.cuda.is_available():
        return "PyTorch sees no GPU"
    session, why = start((shipped_models() / "hit" / "model.onnx").read_bytes(), "cuda")
    return "" if CUDA in session.get_providers() else f"ONNX Runtime: {why}"


def measure(parts: Sequence[str], tell: Tell) -> list[Section]:
    """All sections that are asked for; one that cannot be measured says why."""
    torch = importlib.import_module("torch")
    device = torch.cuda.get_device_name()
    tell("limits")
    limits = measure_limits(torch)
    made = {"limits": [limits_section(limits, device)]}
    acts: dict[str, list[tuple[str, Callable[[], Section]]]] = {
        "rates": [
            (f"{device}: hit model, crops", lambda: hit_rates(torch, limits, tell)),
            (f"{device}: VGG16, 224²", lambda: vgg16_rates(torch, limits, tell)),
            (f"{device}: VGG16, whole frames", lambda: whole_rates(limits, tell)),
        ],
        "agreement": [(f"{device}: the CPU's scores", agreement)],
        "start": [(f"{device}: cold start", lambda: cold_start(torch, tell))],
        "service": [(f"{device}: the service at 120 Hz", lambda: at_120_hz(tell))],
    }
    for part in (each for each in parts if each in acts):
        made[part] = []
        for title, act in acts[part]:
            tell(title)
            try:
                made[part].append(act())
            except (HitfinderError, RuntimeError, OSError) as error:
                made[part].append(cannot_run(PART, title, str(error).partition("\n")[0]))
    return [replace(each, part=f"{PART} {part}") for part in parts for each in made[part]]


def agreement() -> Section:
    """Scores of the shipped models on GPU and CPU, of frames with modules that are not measured:
    what stands for those is so large that a convolution by another method would smear it.
    """
    found = shots(16)
    rows, worst = [], 0.0
    for name, kind in (("hit", "center"), ("hit", "whole"), ("diffuse", "whole")):
        images = regions(found.reader(kind), found.pixels)
        images[::3, : images.shape[1] // 3, : images.shape[2] // 2] = np.nan
        models = [OnnxModel.load(shipped_models() / name, device) for device in ("cuda", "cpu")]
        scores = [[model.score(image[None])[0] for image in images] for model in models]
        away = float(np.abs(np.array(scores[0]) - np.array(scores[1])).max())
        worst = max(worst, away if np.isfinite(away) else np.inf)
        rows.append(Row(name=f"{name}, {kind}", cells=(float(len(images)), f"{away:.1e}")))
    return Section(
        part=PART,
        title="Scores on the GPU against the CPU's",
        says="The largest difference; a third of the frames lack a sixth of their pixels.",
        first="model, region",
        columns=(Column(name="frames"), Column(name="largest difference")),
        rows=tuple(rows),
        bars=(Bar(what="largest difference of a score", value=worst, most=NEAR["fp32"]),),
    )


def cold_start(torch: Any, tell: Tell) -> Section:
    """Processes that load and warm the hit model."""
    rows = []
    for name, captures in (("hit", False), ("hit, CUDA graphs", True)):
        tell(f"cold start, {name}")
        found = start_cold(captures, lambda: int(torch.cuda.mem_get_info()[0]))
        cells = (
            *(found.import_s, found.load_s, found.warm_s),
            *(found.first_ms, found.usual_ms, found.held_bytes / 2**20),
        )
        rows.append(Row(name=name, cells=cells))
    names = {"imports": "s", "session": "s", "warming": "s"}
    names |= {"first batch of 32": "ms", "median of 32": "ms", "GPU memory held": "MiB"}
    return Section(
        part=PART,
        title="A cold start on the GPU",
        says="One process each; files in the system's cache. Memory includes CUDA's own.",
        first="model",
        columns=tuple(Column(name=name, unit=unit) for name, unit in names.items()),
        rows=tuple(rows),
    )


def at_120_hz(tell: Tell) -> Section:
    """The demo's series through a service on the GPU, without and with the second step."""
    data = demo_series(Console(file=sys.stderr))
    rows, bars = [], []
    for name, more in SERVICES.items():
        tell(f"the service at {RATE_HZ:g} Hz for {RUN_S:g} s, {name}")
        (found,) = run(Setup(data=data, more=more, forwards=True), [(RATE_HZ, RUN_S)])
        percentiles = tuple(found.percentile(of) for of in (50, 95, 99))
        bars += [
            Bar(what=f"p99, {name}, ms", value=percentiles[-1], most=P99_MS),
            Bar(what=f"not judged, {name}", value=float(found.sent - found.judged), most=0),
        ]
        rows.append(Row(name=name, cells=(*percentiles, float(found.sent), float(found.judged))))
    columns = [Column(name=name, unit="ms") for name in ("p50", "p95", "p99")]
    return Section(
        part=PART,
        title=f"The service on the GPU at {RATE_HZ:g} Hz",
        says="1750 x 1750, bslz4, stream v2 over TCP: arrival to verdict, without and with hits' "
        "second score.",
        first="models",
        columns=(*columns, Column(name="sent"), Column(name="judged")),
        rows=tuple(rows),
        bars=tuple(bars),
    )


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    made.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    add_place(made)
    made.set_defaults(machine=None)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0, measured or not: a bar that is missed is told, and no failure."""
    options = parser().parse_args(arguments)
    try:
        why = why_not()
    except HitfinderError as error:
        why = str(error)
    if why:
        print(f"no GPU is measured: {why}; docs/how-to/gpu.md says what it takes")
        return 0
    console = Console()
    load, begun = machine.load(), time.monotonic()
    with console.status("") as status:
        sections = measure(options.only, lambda text: status.update(text))
    taken = machine.taken(load=load, seconds=time.monotonic() - begun)
    torch = importlib.import_module("torch")
    device = torch.cuda.get_device_name()
    path = options.out / f"{options.machine or device.lower().replace(' ', '-')}.json"
    record = record_of(path)
    record = replace(
        record,
        about=f"{device}; {record.about}",
        versions={
            **record.versions,
            "torch": str(torch.__version__),
            "CUDA": str(torch.version.cuda),
        },
    ).with_part(stamped(sections, taken), parts_of(PARTS))
    save_record(record, path)
    publish(options.out)
    tell_bars(console, record, *parts_of(options.only))
    console.print(f"written: {path}")
    return 0


def parts_of(names: Sequence[str]) -> tuple[str, ...]:
    """As they are called in a record."""
    return tuple(f"{PART} {name}" for name in names)


if __name__ == "__main__":
    sys.exit(main())
