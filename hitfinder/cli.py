"""The `hitfinder` command. Each command imports its room when it is called, so that help is quick.

A HitfinderError is one clear line on standard error and exit status 1; wrong usage is status 2.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from hitfinder import __version__
from hitfinder.cli_offline import Files, offline_app
from hitfinder.errors import HitfinderError

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
app.add_typer(offline_app)
app.add_typer(models_app, name="models")
app.add_typer(ledger_app, name="ledger")
app.add_typer(hot_pixels_app, name="hot-pixels")
app.add_typer(config_app, name="config")

ConfigFile = Annotated[Path, typer.Argument(help="The TOML file.", metavar="CONFIG")]
LedgerFile = Annotated[Path, typer.Argument(help="The ledger's file.", metavar="LEDGER")]


@app.command(epilog="Example: hitfinder serve hitfinder.toml")
def serve(
    config: ConfigFile,
    summary_json: Annotated[
        Path | None, typer.Option(help="Write the final totals to this file, too.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="Threads that judge; left out, batch.workers.")
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
    count: Annotated[int | None, typer.Option(min=1, help="Send no more frames than this.")] = None,
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
            f"hitfinder: {sys.argv[1]} needs {error.name}: in the checkout, "
            f"pip install '.[{extra}]'",
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
