"""The commands for files: judge, find peaks, label, simulate, train, evaluate. `cli` adds them to
the rest, and says what their errors become.
"""

from pathlib import Path
from typing import Annotated

import typer

from hitfinder.errors import ConfigError

offline_app = typer.Typer()

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


@offline_app.command(epilog="Example: hitfinder classify thaumatin/*.cbf --region whole")
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


@offline_app.command(epilog="Example: hitfinder peaks run12.h5 --csv peaks.csv")
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


@offline_app.command(epilog="Example: hitfinder label run12.h5 --out labels.csv")
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


@offline_app.command(epilog="Example: hitfinder simulate runs --what paper --frames 500")
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


@offline_app.command(epilog="Example: hitfinder train hit --out models/hit")
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
        float | None,
        typer.Option(
            help="For hit: share of strong hits that the threshold must keep. Left out: 0.92."
        ),
    ] = None,
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
            "--sensitivity": sensitivity,
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
    from hitfinder.commands.train import SENSITIVITY, Options, run

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
        sensitivity=SENSITIVITY if sensitivity is None else sensitivity,
        confidence=confidence,
        processes=processes,
    )
    raise typer.Exit(run(out, options))


@offline_app.command(epilog="Example: hitfinder evaluate runs --model hit --out report")
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
