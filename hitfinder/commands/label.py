"""`hitfinder label`: labels from the number of peaks, by the rule of Li et al. 2018."""

from collections import Counter
from pathlib import Path

import typer

from hitfinder.commands.peaks import peak_settings, search_files, tell_problems
from hitfinder.commands.targets import check_target
from hitfinder.dataset.frames import TRUTH_CODES, Label, Truth
from hitfinder.dataset.labels import LabelRow, write_labels
from hitfinder.errors import ConfigError

HIT_ABOVE = 10
"""More peaks than this are a hit (Li et al., J. Synchrotron Rad. 25 (2018) 655)."""

MISS_BELOW = 2
"""Fewer peaks than this are a miss; between, nobody knows."""


def run(
    files: list[Path],
    *,
    out: Path,
    region: str,
    threshold: float | None,
    min_snr: float,
    min_pixels: int,
    max_pixels: int,
    hit_above: int = HIT_ABOVE,
    miss_below: int = MISS_BELOW,
) -> int:
    """Exit status 0 when every frame could be read; one that cannot gets no label."""
    if not 0 < miss_below <= hit_above + 1:
        raise ConfigError(
            f"--miss-below {miss_below} and --hit-above {hit_above}: a miss needs at least one "
            "peak to be fewer than, and must not reach into the hits"
        )
    if out.is_file():
        raise ConfigError(
            f"--out {out}: is there already, perhaps with labels corrected by hand; name a new "
            "file, or remove it"
        )
    check_target(out, ".csv")
    settings = peak_settings(threshold, min_snr, min_pixels, max_pixels)
    results = search_files(files, region, settings)
    rows = [
        LabelRow(
            file=str(result.frame.path),
            frame=result.frame.index,
            label=Label(truth=truth_of(len(result.peaks), hit_above, miss_below)),
        )
        for result in results
        if result.peaks is not None
    ]
    write_labels(out, rows)
    tell_problems(results)
    counts = Counter(row.label.truth for row in rows)
    told = ", ".join(f"{counts[truth]} {truth}" for truth in TRUTH_CODES)
    typer.echo(f"{out}: {told}; {len(results) - len(rows)} frames unreadable")
    return 0 if len(rows) == len(results) else 1


def truth_of(n_peaks: int, hit_above: int = HIT_ABOVE, miss_below: int = MISS_BELOW) -> Truth:
    """What a frame with so many peaks is."""
    if n_peaks > hit_above:
        return "hit"
    return "miss" if n_peaks < miss_below else "ambiguous"
