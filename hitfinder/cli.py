"""The `hitfinder` command. Each command imports its room when it is called, so that help is quick.

A HitfinderError is one clear line on standard error and exit status 1; wrong usage is status 2.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from hitfinder import __version__
from hitfinder.errors import ConfigError, HitfinderError

TRAIN_EXTRA = frozenset({"torch", "onnx", "scipy", "matplotlib"})
"""What only making and measuring models needs, and a service can do without."""

MONITOR_EXTRA = frozenset({"starlette", "uvicorn"})
"""What only the live page needs."""

app = typer.Typer(
    name="hitfinder",
    help="Online hit finder for serial crystallography: judges every frame, loses none.",
    epilog="Example: hitfinder serve hitfinder.toml",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
models_app = typer.Typer(help="The models that judge.", no_args_is_help=True)
ledger_app = typer.Typer(help="The record of every frame's outcome.", no_args_is_help=True)
hot_pixels_app = typer.Typer(
    help="What was learned of the detector's pixels.", no_args_is_help=True
)
config_app = typer.Typer(help="The service's configuration file.", no_args_is_help=True)
app.add_typer(models_app, name="models")
app.add_typer(ledger_app, name="ledger")
app.add_typer(hot_pixels_app, name="hot-pixels")
app.add_typer(config_app, name="config")

ConfigFile = Annotated[Path, typer.Argument(help="The TOML file.", metavar="CONFIG")]
Files = Annotated[
    list[Path],
    typer.Argument(help="CBF, TIFF, EDF, HDF5, NeXus, CXI, .npy, .npz files, or folders."),
]
Region = Annotated[str, typer.Option(help="center (350 x 350) or whole.")]
Threshold = Annotated[
    float | None, typer.Option(help="Least value of a peak's pixels, in the detector's unit.")
]
MinSnr = Annotated[float, typer.Option(help="Least signal to noise of a peak's pixels.")]
MinPixels = Annotated[int, typer.Option(help="Least pixels of a peak.")]
MaxPixels = Annotated[int, typer.Option(help="Most pixels of a peak.")]
LedgerFile = Annotated[Path, typer.Argument(help="The ledger's file.", metavar="LEDGER")]


@app.command(epilog="Example: hitfinder serve hitfinder.toml")
def serve(
    config: ConfigFile,
    summary_json: Annotated[
        Path | None, typer.Option(help="Write the final totals to this file, too.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="Threads that judge; [batch] workers if not.")
    ] = None,
) -> None:
    """Judge a detector's stream until SIGTERM or Ctrl-C, then drain and print a summary."""
    from hitfinder.commands.serve import run

    raise typer.Exit(run(config, summary_json, workers))


@app.command(epilog="Example: hitfinder replay run12.h5 --bind tcp://*:31001 --rate 120")
def replay(
    files: Files,
    protocol: Annotated[
        str, typer.Option(help="dectris-v1, dectris-v2 or array-1.0.")
    ] = "dectris-v2",
    bind: Annotated[str | None, typer.Option(help="Wait for receivers at this address.")] = None,
    connect: Annotated[str | None, typer.Option(help="Go to a receiver at this address.")] = None,
    rate: Annotated[
        float | None, typer.Option(help="Frames a second; left out, as fast as they are taken.")
    ] = None,
    loop: Annotated[bool, typer.Option(help="Begin again after the last frame.")] = False,
    count: Annotated[int | None, typer.Option(min=1, help="Send this many frames.")] = None,
    encoding: Annotated[str | None, typer.Option(help="raw, lz4 or bslz4.")] = None,
    publish: Annotated[bool, typer.Option(help="PUB instead of PUSH.")] = False,
    series: Annotated[int, typer.Option(min=0, help="Series id of the first series.")] = 1,
    summary_json: Annotated[Path | None, typer.Option(help="Write what was sent here.")] = None,
) -> None:
    """Send frames of files as a detector would."""
    from hitfinder.commands.replay import run

    raise typer.Exit(
        run(
            files,
            protocol=protocol,
            bind=bind,
            connect=connect,
            rate_hz=rate,
            loop=loop,
            count=count,
            encoding=encoding,
            publish=publish,
            first_series=series,
            summary_json=summary_json,
        )
    )


@app.command(epilog="Example: hitfinder demo --json summary.json")
def demo(
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="Length of the series.")] = 20.0,
    rate: Annotated[float, typer.Option(min=1, max=10_000, help="Frames a second.")] = 120.0,
    json: Annotated[Path | None, typer.Option(help="Write the summary here, too.")] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on until Ctrl-C, with the live page beside it.")
    ] = False,
) -> None:
    """Stream a simulated series through the service on this machine and check every number."""
    if watch:
        from hitfinder.commands.demo_watch import run as run_watched

        raise typer.Exit(run_watched(rate_hz=rate))
    from hitfinder.commands.demo import run

    raise typer.Exit(run(seconds=seconds, rate_hz=rate, json_path=json))


@app.command(epilog="Example: hitfinder watch tcp://127.0.0.1:5558")
def watch(
    endpoint: Annotated[
        str, typer.Argument(help="The service's verdict endpoint.")
    ] = "tcp://127.0.0.1:5558",
) -> None:
    """Show a verdict stream as a live table, until Ctrl-C."""
    from hitfinder.commands.watch import run

    raise typer.Exit(run(endpoint))


@app.command(epilog="Example: hitfinder monitor hitfinder.toml")
def monitor(
    config: ConfigFile,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="In place of the configuration's.")
    ] = None,
) -> None:
    """Serve the live page of a running service: frames, spots, hit rate, alerts, in a browser."""
    from hitfinder.commands.monitor import run

    raise typer.Exit(run(config, port))


@app.command(epilog="Example: hitfinder classify thaumatin/*.cbf --region whole")
def classify(
    files: Files,
    config: Annotated[
        Path | None, typer.Option(help="Take region, detector and model from this file.")
    ] = None,
    region: Annotated[
        str | None, typer.Option(help="center or whole, in place of the configuration's.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Artifact folder or shipped name, likewise.")
    ] = None,
    diffuse: Annotated[
        str | None, typer.Option(help="Model of a second step for hits, likewise.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the verdicts here, too.")] = None,
) -> None:
    """Judge the frames of files exactly as the live service would."""
    from hitfinder.commands.classify import run

    raise typer.Exit(
        run(files, config=config, region=region, model=model, diffuse=diffuse, csv_path=csv)
    )


@app.command(epilog="Example: hitfinder peaks run12.h5 --csv peaks.csv")
def peaks(
    files: Files,
    region: Region = "whole",
    threshold: Threshold = None,
    min_snr: MinSnr = 5.0,
    min_pixels: MinPixels = 2,
    max_pixels: MaxPixels = 200,
    csv: Annotated[Path | None, typer.Option(help="Write the peaks here, one a row.")] = None,
) -> None:
    """Find Bragg peaks in files, in the way of peakfinder8."""
    from hitfinder.commands.peaks import run

    raise typer.Exit(
        run(
            files,
            region=region,
            threshold=threshold,
            min_snr=min_snr,
            min_pixels=min_pixels,
            max_pixels=max_pixels,
            csv_path=csv,
        )
    )


@app.command(epilog="Example: hitfinder label run12.h5 --out labels.csv")
def label(
    files: Files,
    out: Annotated[Path, typer.Option(help="Write the labels to this CSV file.")],
    hit_above: Annotated[int, typer.Option(min=0, help="A hit has more peaks than this.")] = 10,
    miss_below: Annotated[int, typer.Option(min=1, help="A miss has fewer peaks than this.")] = 2,
    region: Region = "center",
    threshold: Threshold = None,
    min_snr: MinSnr = 5.0,
    min_pixels: MinPixels = 2,
    max_pixels: MaxPixels = 200,
) -> None:
    """Label the frames of files by their number of peaks."""
    from hitfinder.commands.label import run

    raise typer.Exit(
        run(
            files,
            out=out,
            region=region,
            threshold=threshold,
            min_snr=min_snr,
            min_pixels=min_pixels,
            max_pixels=max_pixels,
            hit_above=hit_above,
            miss_below=miss_below,
        )
    )


@app.command(epilog="Example: hitfinder simulate runs --what paper --frames 500")
def simulate(
    target: Annotated[Path, typer.Argument(help="Folder for the files, one a run.")],
    what: Annotated[
        str,
        typer.Option(
            help="random, paper, experiments, demo, diffuse, random-diffuse, or the name of a run."
        ),
    ] = "random",
    frames: Annotated[int, typer.Option(help="Frames of each run.")] = 100,
    first: Annotated[
        int, typer.Option(help="The run's shot to begin with: other frames of the same run.")
    ] = 0,
    runs: Annotated[int, typer.Option(help="How many random runs.")] = 10,
    seed: Annotated[int, typer.Option(help="Another seed, other frames.")] = 0,
    whole: Annotated[
        bool,
        typer.Option(
            help="Whole detectors, not the centred 350 x 350 pixels; diffuse runs always are."
        ),
    ] = False,
    processes: Annotated[int, typer.Option(help="Runs made at once.")] = 1,
) -> None:
    """Make diffraction frames with known truth, as HDF5."""
    from hitfinder.commands.simulate import run

    raise typer.Exit(
        run(
            target,
            what=what,
            frames=frames,
            first=first,
            runs=runs,
            seed=seed,
            whole=whole,
            processes=processes,
        )
    )


@app.command(epilog="Example: hitfinder train hit --out models/hit")
def train(
    task: Annotated[str, typer.Argument(help="What the model is to tell: hit or diffuse.")],
    out: Annotated[Path, typer.Option(help="Folder for the artifact; must be new.")],
    network: Annotated[
        str, typer.Option(help="For hit: hit, or li2018 to reproduce the paper.")
    ] = "hit",
    method: Annotated[
        str | None, typer.Option(help="For diffuse: compact, or vgg16. Left out: compact.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="For vgg16: taught, random, or torchvision's vgg16-397923af.pth. Left out: taught."
        ),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="For vgg16: fp32, fp16 or int8. Left out: fp32.")
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="A labelled file or folder; again for more. Left out: simulated."),
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="CSV with labels for the data.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Begin with this artifact's weights.")
    ] = None,
    region: Region = "center",
    runs: Annotated[
        int | None,
        typer.Option(
            help="Simulated runs to train on; left out, 1000, for diffuse 252, for vgg16 200."
        ),
    ] = None,
    shots: Annotated[int | None, typer.Option(help="Frames of each; left out, enough.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same model.")] = 1,
    epochs: Annotated[
        int | None, typer.Option(help="Times through the data; left out, enough.")
    ] = None,
    sensitivity: Annotated[
        float, typer.Option(help="For hit: share of strong hits that the threshold must keep.")
    ] = 0.92,
    specificity: Annotated[
        float | None,
        typer.Option(
            help="For diffuse: share of other hits that must lie below the threshold. Left out: "
            "0.99."
        ),
    ] = None,
    confidence: Annotated[float, typer.Option(help="With this confidence.")] = 0.95,
    processes: Annotated[
        int | None, typer.Option(help="Simulated runs made at once; left out, one a core.")
    ] = None,
) -> None:
    """Train a model, choose its threshold, measure it, and write card and graph."""
    others: dict[str, dict[str, object]] = {
        "hit": {
            "--method": method,
            "--weights": weights,
            "--precision": precision,
            "--specificity": specificity,
        },
        "diffuse": {
            "--network": None if network == "hit" else network,
            "--from": start,
            "--region": None if region == "center" else region,
        },
    }
    if task not in others:
        raise ConfigError(f"train {task}: known are {', '.join(others)}")
    for option, value in others[task].items():
        if value is not None:
            raise ConfigError(f"{option} {value}: not for train {task}; leave it out")
    if task == "diffuse":
        from hitfinder.commands import train_diffuse

        asked = train_diffuse.Options(
            method=method or "compact",
            data=data or (),
            labels=labels,
            weights=weights,
            precision=precision or "fp32",
            runs=runs,
            shots=shots,
            seed=seed,
            epochs=epochs,
            specificity=train_diffuse.SPECIFICITY if specificity is None else specificity,
            confidence=confidence,
            processes=processes,
        )
        raise typer.Exit(train_diffuse.run(out, asked))
    from hitfinder.commands.train import Options, run

    options = Options(
        network=network,
        data=data or (),
        labels=labels,
        start=start,
        region=region,
        runs=runs,
        shots=shots,
        seed=seed,
        epochs=epochs,
        sensitivity=sensitivity,
        confidence=confidence,
        processes=processes,
    )
    raise typer.Exit(run(out, options))


@app.command(epilog="Example: hitfinder evaluate runs --model hit --out report")
def evaluate(
    files: Files,
    model: Annotated[
        list[str], typer.Option(help="Artifact folder or shipped name; diffuse ones several times.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the report and its pictures.")],
    labels: Annotated[Path | None, typer.Option(help="CSV with labels for the data.")] = None,
    region: Region = "center",
    threshold: Annotated[float | None, typer.Option(help="In place of the card's.")] = None,
    learn: Annotated[
        list[Path] | None,
        typer.Option(
            help="For diffuse models: labelled files that methods without a model learn from; "
            "these then stand beside them."
        ),
    ] = None,
) -> None:
    """Measure a model on labelled files, run by run: tables, intervals, pictures."""
    from hitfinder.inference.model_card import find_artifact, load_card

    if load_card(find_artifact(model[0], Path.cwd())).task == "diffuse":
        from hitfinder.commands import evaluate_diffuse

        raise typer.Exit(
            evaluate_diffuse.run(
                files, models=model, out=out, labels=labels, learn=learn or (), threshold=threshold
            )
        )
    from hitfinder.commands.evaluate import run

    if len(model) > 1 or learn:
        raise ConfigError("several --model, and --learn, are for diffuse models")
    raise typer.Exit(
        run(files, model=model[0], out=out, labels=labels, region=region, threshold=threshold)
    )


@hot_pixels_app.command(
    "show", epilog="Example: hitfinder hot-pixels show hot_pixels.npz --png hot_pixels.png"
)
def hot_pixels_show(
    file: Annotated[Path, typer.Argument(help="The file that the service keeps.", metavar="FILE")],
    png: Annotated[Path | None, typer.Option(help="Draw them into this file.")] = None,
) -> None:
    """How many hot pixels there are, and where."""
    from hitfinder.commands.hot_pixels import show

    raise typer.Exit(show(file, png))


@models_app.command("list", epilog="Example: hitfinder models list")
def models_list() -> None:
    """The models that hitfinder ships."""
    from hitfinder.commands.models import list_models

    raise typer.Exit(list_models())


@models_app.command("show", epilog="Example: hitfinder models show hit")
def models_show(model: Annotated[str, typer.Argument(help="Folder or shipped name.")]) -> None:
    """A model's card."""
    from hitfinder.commands.models import show_model

    raise typer.Exit(show_model(model))


@models_app.command("verify", epilog="Example: hitfinder models verify models/hit")
def models_verify(model: Annotated[str, typer.Argument(help="Folder or shipped name.")]) -> None:
    """Check a model against its card, run it once, and compare a GPU's scores with the CPU's."""
    from hitfinder.commands.models import verify_model

    raise typer.Exit(verify_model(model))


@ledger_app.command("show", epilog="Example: hitfinder ledger show ledger.sqlite")
def ledger_show(ledger: LedgerFile) -> None:
    """Sessions, series with their totals, and what happened."""
    from hitfinder.commands.ledger import show

    raise typer.Exit(show(ledger))


@ledger_app.command("export", epilog="Example: hitfinder ledger export ledger.sqlite frames.csv")
def ledger_export(
    ledger: LedgerFile,
    target: Annotated[Path, typer.Argument(help="A .csv or .parquet file.")],
) -> None:
    """One row a frame, as CSV or Parquet."""
    from hitfinder.commands.ledger import export

    raise typer.Exit(export(ledger, target))


@config_app.command("check", epilog="Example: hitfinder config check hitfinder.toml")
def config_check(config: ConfigFile) -> None:
    """Check a configuration and everything it names, without touching a socket."""
    from hitfinder.commands.config import check

    raise typer.Exit(check(config))


@config_app.command("schema", epilog="Example: hitfinder config schema > hitfinder.schema.json")
def config_schema() -> None:
    """The configuration's JSON schema, for editors."""
    from hitfinder.commands.config import schema

    raise typer.Exit(schema())


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point."""
    try:
        app()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extras = {"train": TRAIN_EXTRA, "monitor": MONITOR_EXTRA}
        extra = next((name for name, packages in extras.items() if package in packages), None)
        if extra is None:
            raise
        typer.echo(
            f"hitfinder: {sys.argv[1]} needs {error.name}: pip install 'hitfinder[{extra}]'",
            err=True,
        )
        sys.exit(1)
    except HitfinderError as error:
        for line in str(error).splitlines():
            typer.echo(f"hitfinder: {line}", err=True)
        sys.exit(1)
    except OSError as error:
        # An output file that cannot be written, most of all.
        typer.echo(f"hitfinder: {error.filename or 'output'}: {error.strerror}", err=True)
        sys.exit(1)
