"""Simulated frames beside real ones: pictures, radial profiles, statistics of pixels and spots.

    python -m benchmarks.compare_simulation ../shared/realdata /tmp/comparison

writes `comparison.png` and `comparison.md`. Each real frame has a twin: a run with the same
detector and geometry as far as they are known, and of the twin's first shots the one whose spots
are nearest in number. Both go through the same few lines of measuring.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from hitfinder.dataset.series import open_series
from hitfinder.simulation.catalog import EXPERIMENTS, PAPER_RUNS
from hitfinder.simulation.run import (
    Artefacts,
    Edge,
    Flaws,
    Geometry,
    Layout,
    Run,
    Scattering,
    Window,
)
from hitfinder.simulation.simulator import Simulator

SHOTS = 12
BLOCK = 24
STANDS_OUT = 6.0
SPOT_REACH = 4
VALID_BELOW = 1e6
JUNGFRAU_OVERLOAD = 32_678
STATISTICS = (
    "mean",
    "variance / mean",
    "skewness",
    "spots",
    "spot sigma, px",
    "sigma spread",
    "peak / noise",
    "peak share",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """A real frame and a run like it. `offset` and `gain` bring the real numbers to photons, the
    simulated ones are brought there by their readout's.
    """

    title: str
    path: str
    frame: int
    run: Run
    module: int | None = None
    offset: float = 0.0
    gain: float = 1.0


def _twins() -> tuple[Twin, ...]:
    by_name = {run.name: run for run in (*PAPER_RUNS, *EXPERIMENTS)}
    pilatus, jungfrau, cspad = by_name["pilatus-grid"], by_name["jungfrau-xfel"], by_name["90"]
    thaumatin = replace(
        pilatus,
        geometry=Geometry(
            shape=(2527, 2463),
            pixel_mm=0.172,
            distance_mm=351.0,
            beam_x_px=1261.6,
            beam_y_px=1307.0,
        ),
        beam=replace(pilatus.beam, wavelength_angstrom=0.96859),
        sample=replace(
            pilatus.sample,
            cell_angstrom=(57.8, 57.8, 150.2),
            b_factor=30.0,
            brightness=1500.0,
            extra_crystals=0.0,
            spot_px=1.0,
            mosaicity_rad=3e-3,
            domains=3,
            split_rad=5e-3,
        ),
        scattering=Scattering(
            photons=3.3, air_share=0.6, air_decay=0.33, ring_angstrom=3.5, ring_width=0.05
        ),
        hit_share=1.0,
    )
    empty = replace(
        thaumatin,
        scattering=replace(thaumatin.scattering, photons=1.57, air_share=1.0),
        flaws=Flaws(dead_share=3e-5),
        artefacts=Artefacts(),
    )
    weak = replace(
        thaumatin,
        geometry=replace(thaumatin.geometry, distance_mm=291.5, beam_x_px=1229.3, beam_y_px=1200.5),
        sample=replace(
            thaumatin.sample, brightness=60.0, spot_px=0.6, mosaicity_rad=1.5e-3, domains=1
        ),
        scattering=replace(
            thaumatin.scattering,
            photons=0.08,
            air_share=0.4,
            air_decay=0.25,
            ring_angstrom=3.3,
            ring_width=0.06,
        ),
        obstacles=replace(
            thaumatin.obstacles,
            edges=(Edge(distance_px=500.0, angle_rad=3.1, transmission=0.3, soft_px=8.0),),
        ),
    )
    module = replace(
        jungfrau,
        geometry=replace(jungfrau.geometry, shape=(512, 1024), beam_x_px=-60.0, beam_y_px=256.0),
        beam=replace(jungfrau.beam, bandwidth=7e-4, divergence_rad=1e-4, spread=0.05),
        scattering=Scattering(photons=1.3, air_share=0.6, air_decay=0.3, ring_width=0.12),
        window=Window(top=0, left=0, rows=512, cols=1024),
        layout=Layout(chips=(2, 4), chip_line=2.0),
        readout=replace(jungfrau.readout, gain=1.0),
        sample=replace(
            jungfrau.sample,
            cell_angstrom=(79.0, 79.0, 38.0),
            mosaicity_rad=1.2e-3,
            brightness=180.0,
        ),
        hit_share=1.0,
    )
    asics = replace(
        cspad,
        geometry=replace(cspad.geometry, shape=(185, 388), beam_x_px=448.0, beam_y_px=250.0),
        window=Window(top=0, left=0, rows=185, cols=388),
        beam=replace(cspad.beam, spread=0.05),
        layout=Layout(chips=(1, 2)),
        readout=replace(cspad.readout, gain=10.0, noise_photons=0.17, noise_ramp=2.0),
        sample=replace(
            cspad.sample,
            cell_angstrom=(92.7, 92.7, 130.5),
            cell_deg=(90.0, 90.0, 120.0),
            spot_px=0.35,
            mosaicity_rad=1e-3,
        ),
        hit_share=1.0,
    )
    return (
        Twin(title="Pilatus 6M", path="thaumatin_grid_pilatus6m", frame=2, run=thaumatin),
        Twin(title="Pilatus 6M, miss", path="thaumatin_grid_pilatus6m", frame=6, run=empty),
        Twin(title="Pilatus 6M, faint", path="rotation_weak", frame=0, run=weak),
        Twin(title="JUNGFRAU", path="jungfrau_module_bragg::f4,512x1024", frame=0, run=module),
        Twin(
            title="CSPAD",
            path="xfel_thermolysin_cspad",
            frame=0,
            run=asics,
            module=1,
            gain=10.0,
            offset=8.0,
        ),
    )


Pixels = NDArray[np.float64]


def real_pixels(folder: Path, twin: Twin) -> Pixels:
    """(rows, cols) photons, NaN where nothing was measured."""
    (series,) = open_series([folder / twin.path])
    values = series.frames[twin.frame].load().whole()
    if twin.module is not None:
        values = values[twin.module]
    pixels = (values.astype(np.float64) - twin.offset) / twin.gain
    if series.detector.mask is not None:
        pixels[series.detector.mask] = np.nan
        pixels[values < 0] = np.nan
    pixels[(values >= VALID_BELOW) | (values == JUNGFRAU_OVERLOAD)] = np.nan
    return pixels


def simulated_pixels(simulator: Simulator, number: int) -> Pixels:
    """(rows, cols) photons, NaN where nothing was measured."""
    readout = simulator.run.readout
    pixels = simulator.shot(number).pixels.astype(np.float64)
    pixels = (pixels - readout.offset) / readout.gain
    pixels[simulator.panels.mask] = np.nan
    return pixels


def blocks(pixels: Pixels) -> NDArray[np.float64]:
    """(n, BLOCK²): the blocks that hold no gaps."""
    rows, cols = (size // BLOCK for size in pixels.shape)
    cut = pixels[: rows * BLOCK, : cols * BLOCK].reshape(rows, BLOCK, cols, BLOCK)
    flat = cut.swapaxes(1, 2).reshape(-1, BLOCK * BLOCK)
    full: NDArray[np.float64] = flat[np.isfinite(flat).mean(axis=1) > 0.95]
    return full


def measure(pixels: Pixels) -> dict[str, float]:
    """What is compared. Variance and skewness are medians over blocks, so that neither gradients
    nor spots take part. A spot is a local maximum STANDS_OUT of its block's noise high, whose
    neighbours stand out too.
    """
    parts = blocks(pixels)
    mean = np.nanmean(parts, axis=1)
    away = parts - mean[:, None]
    variance = np.nanmean(away**2, axis=1)
    skewness = np.nanmean(away**3, axis=1) / np.maximum(variance, 1e-12) ** 1.5
    lit = mean > 0.2 * np.median(mean)
    spots = _spots(pixels)
    widths = [_width(spot) for spot in spots]
    return {
        "mean": float(np.nanmean(pixels)),
        "variance / mean": float(np.median(variance[lit] / mean[lit])),
        "skewness": float(np.median(skewness[lit])),
        "spots": len(spots),
        "spot sigma, px": float(np.median(widths)) if spots else np.nan,
        "sigma spread": float(np.std(widths)) if spots else np.nan,
        "peak / noise": float(np.median([_peak_to_noise(spot) for spot in spots]))
        if spots
        else np.nan,
        "peak share": float(np.median([np.nanmax(_lit(s)) / _lit(s).sum() for s in spots]))
        if spots
        else np.nan,
    }


def _spots(pixels: Pixels) -> list[Pixels]:
    """Cut-outs (17, 17) about the spots."""
    filled = np.where(np.isfinite(pixels), pixels, 0.0)
    reach = 2 * SPOT_REACH
    rows, cols = pixels.shape
    level = np.zeros_like(filled)
    for top in range(0, rows, BLOCK):
        for left in range(0, cols, BLOCK):
            near = pixels[max(top - 8, 0) : top + BLOCK + 8, max(left - 8, 0) : left + BLOCK + 8]
            near = near[np.isfinite(near)]
            if len(near) < 100:
                level[top : top + BLOCK, left : left + BLOCK] = np.inf
                continue
            low = near[near <= np.quantile(near, 0.98)]
            noise = max(float(low.std()), float(np.sqrt(max(low.mean(), 0.0))), 1e-3)
            level[top : top + BLOCK, left : left + BLOCK] = low.mean() + STANDS_OUT * noise + 2.0
    found = []
    for row, col in zip(*np.nonzero(filled > level), strict=True):
        spot = pixels[row - reach : row + reach + 1, col - reach : col + reach + 1]
        if spot.shape != (2 * reach + 1,) * 2 or np.isnan(spot[3:-3, 3:-3]).any():
            continue
        core = spot[reach - 2 : reach + 3, reach - 2 : reach + 3]
        around = np.sort(spot[reach - 1 : reach + 2, reach - 1 : reach + 2].ravel())[:-1]
        if filled[row, col] >= core.max() and around.mean() > np.nanmedian(spot) + 0.1 * core.max():
            found.append(spot)
    return found


def _lit(spot: Pixels) -> Pixels:
    """A spot's middle, less its surroundings."""
    rim = np.concatenate([spot[:3].ravel(), spot[-3:].ravel(), spot[:, :3].ravel()])
    middle = slice(SPOT_REACH, -SPOT_REACH)
    lit: Pixels = spot[middle, middle] - np.nanmean(rim)
    return lit


def _width(spot: Pixels) -> float:
    """Sigma of a Gaussian with the same share of light in the middle 3 x 3 pixels as in 9 x 9."""
    light = _lit(spot)
    share = np.clip(light[3:6, 3:6].sum() / max(light.sum(), 1e-9), 0.05, 0.995)
    sigma = np.linspace(0.2, 4.0, 400)
    steps = np.arange(-4, 5)
    profile = np.exp(-(steps**2) / (2 * (sigma[:, None] ** 2 + 1 / 12)))
    model = (profile[:, 3:6].sum(axis=1) / profile.sum(axis=1)) ** 2
    return float(sigma[np.argmin(abs(model - share))])


def _peak_to_noise(spot: Pixels) -> float:
    rim = np.concatenate([spot[:3].ravel(), spot[-3:].ravel(), spot[:, :3].ravel()])
    return float(np.nanmax(_lit(spot)) / max(np.nanstd(rim), 1e-3))


def radial(pixels: Pixels, run: Run) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Radius in pixels, median photons."""
    rows, cols = np.indices(pixels.shape)
    radius = np.hypot(
        rows + 0.5 - run.geometry.beam_y_px + run.window.top,
        cols + 0.5 - run.geometry.beam_x_px + run.window.left,
    )
    ring = (radius / 8).astype(int)
    good = np.isfinite(pixels) & (pixels < np.nanquantile(pixels, 0.999))
    count = np.bincount(ring[good])
    total = np.bincount(ring[good], pixels[good])
    enough = count > 50
    middle: Pixels = (np.flatnonzero(enough).astype(np.float64) + 0.5) * 8.0
    mean: Pixels = np.asarray(total[enough] / count[enough], np.float64)
    return middle, mean


def _middle(pixels: Pixels, run: Run) -> Pixels:
    """What is drawn: 350 x 350 pixels, some way from the beam."""
    rows, cols = pixels.shape
    top = int(np.clip(run.geometry.beam_y_px - 480, 0, max(rows - 350, 0)))
    left = int(np.clip(run.geometry.beam_x_px - 480, 0, max(cols - 350, 0)))
    return pixels[top : top + 350, left : left + 350]


def main() -> None:
    """Write the picture and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("realdata", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    arguments.target.mkdir(parents=True, exist_ok=True)
    twins = _twins()
    lines = ["| frame | | " + " | ".join(STATISTICS) + " |", "|---" * (len(STATISTICS) + 2) + "|"]
    figure, axes = plt.subplots(len(twins), 3, figsize=(15, 5 * len(twins)))
    for twin, (left, right, profile) in zip(twins, axes, strict=True):
        real = real_pixels(arguments.realdata, twin)
        known = measure(real)
        share = 0.0 if known["spots"] < 2 else 1.0
        simulator = Simulator(replace(twin.run, hit_share=share))
        made = [simulated_pixels(simulator, number) for number in range(SHOTS if share else 1)]
        pairs = [(pixels, measure(pixels)) for pixels in made]
        pixels, like = min(pairs, key=lambda pair: abs(pair[1]["spots"] - known["spots"]))
        for name, values in (("real", known), ("simulated", like)):
            cells = " | ".join(f"{values[key]:.3g}" for key in STATISTICS)
            lines.append(f"| {twin.title} | {name} | {cells} |")
        view = _middle(real, twin.run)
        low, high = np.nanpercentile(view, [1, 99.7])
        for axis, image, name in ((left, real, "real"), (right, pixels, "simulated")):
            axis.imshow(
                _middle(image, twin.run), vmin=low, vmax=max(high, low + 2), cmap="gray_r",
                interpolation="nearest",
            )  # fmt: skip
            axis.set_title(f"{twin.title}, {name}")
            axis.set_axis_off()
            profile.plot(*radial(image, twin.run), label=name)
        profile.set_xlabel("pixels from the beam")
        profile.set_ylabel("photons a pixel")
        profile.legend()
    figure.tight_layout()
    figure.savefig(arguments.target / "comparison.png", dpi=60)
    table = "\n".join(lines) + "\n"
    (arguments.target / "comparison.md").write_text(table)
    print(table)


if __name__ == "__main__":
    main()
