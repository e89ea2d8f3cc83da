"""`hitfinder peaks`: files to lists of peaks. `search_files` serves `hitfinder label` too."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from hitfinder.commands.progress import progress_bar
from hitfinder.commands.regions import check_region
from hitfinder.commands.tables import print_table
from hitfinder.commands.targets import check_target
from hitfinder.dataset.frames import FrameRef, Series
from hitfinder.dataset.series import open_series
from hitfinder.evaluation.scores import read_region
from hitfinder.evaluation.search import Search, plan_search
from hitfinder.images.region import RegionSettings
from hitfinder.peaks.finder import Peaks
from hitfinder.peaks.settings import PeakSettings
from hitfinder.settings import checked

COLUMNS = ("file", "frame", "x_px", "y_px", "intensity", "snr", "pixels")


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """One frame and its peaks, in pixels of the whole image; `problem` says why there are none."""

    frame: FrameRef
    peaks: Peaks | None
    problem: str | None = None


def run(
    files: list[Path],
    *,
    region: str,
    threshold: float | None,
    min_snr: float,
    min_pixels: int,
    max_pixels: int,
    csv_path: Path | None,
) -> int:
    """Exit status 0 when every frame could be read."""
    check_target(csv_path, ".csv")
    settings = peak_settings(threshold, min_snr, min_pixels, max_pixels)
    results = search_files(files, region, settings)
    table = Table(box=None)
    for name in ("file", "frame", "peaks", "truth"):
        table.add_column(name, overflow="fold")
    for result in results:
        count = "unreadable" if result.peaks is None else str(len(result.peaks))
        frame = result.frame
        table.add_row(str(frame.path), str(frame.index), count, frame.truth or "")
    print_table(table)
    if csv_path is not None:
        with csv_path.open("w", newline="", encoding="utf-8") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(COLUMNS)
            for result in results:
                out.writerows(_rows(result))
    tell_problems(results)
    found = [len(result.peaks) for result in results if result.peaks is not None]
    typer.echo(
        f"{len(results)} frames, {sum(found)} peaks, {len(results) - len(found)} frames unreadable"
    )
    return 0 if len(found) == len(results) else 1


def peak_settings(
    threshold: float | None, min_snr: float, min_pixels: int, max_pixels: int
) -> PeakSettings:
    """Settings from options. Raises ConfigError."""
    table = {
        "threshold": threshold,
        "min_snr": min_snr,
        "min_pixels": min_pixels,
        "max_pixels": max_pixels,
    }
    return checked(PeakSettings, table, "options")


def search_files(files: Sequence[Path], region: str, settings: PeakSettings) -> list[Searched]:
    """Every frame's peaks, with progress on stderr; a frame that cannot be read is told in its
    place. Raises ConfigError and DataFileError for what concerns whole files.
    """
    check_region(region)
    wanted = checked(RegionSettings, {"kind": region}, "options")
    series = open_series(files)
    results: list[Searched] = []
    with progress_bar() as progress:
        task = progress.add_task("searching", total=sum(len(one.frames) for one in series))
        for one in series:
            for result in _search(one, wanted, settings):
                results.append(result)
                progress.advance(task)
    return results


def tell_problems(results: Sequence[Searched]) -> None:
    """A line on stderr for each frame that could not be read."""
    for result in results:
        if result.problem is not None:
            typer.echo(f"hitfinder: {result.problem}", err=True)


def _search(series: Series, region: RegionSettings, settings: PeakSettings) -> Iterator[Searched]:
    plan = plan_search(series, region, settings)
    image = np.empty(plan.reader.shape, np.float32)
    for frame in series.frames:
        # A frame of which nothing was measured has no peaks, but is no miss either.
        problem = read_region(frame, plan.reader, image)
        if problem is None:
            yield Searched(frame=frame, peaks=_in_image(plan, image))
        else:
            yield Searched(frame=frame, peaks=None, problem=problem)


def _in_image(plan: Search, image: NDArray[np.float32]) -> Peaks:
    peaks = plan.finder.find(image)
    return replace(peaks, row_px=peaks.row_px + plan.top, col_px=peaks.col_px + plan.left)


def _rows(result: Searched) -> Iterator[tuple[str, ...]]:
    peaks = result.peaks
    if peaks is None:
        return
    for place in range(len(peaks)):
        yield (
            str(result.frame.path),
            str(result.frame.index),
            f"{peaks.col_px[place]:.2f}",
            f"{peaks.row_px[place]:.2f}",
            f"{peaks.intensity[place]:.6g}",
            f"{peaks.snr[place]:.2f}",
            str(peaks.n_pixels[place]),
        )
