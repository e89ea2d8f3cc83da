"""Diffuse scattering in simulated frames beside that in measured ones.

    python -m benchmarks.compare_diffuse ../shared/realdata /tmp/comparison

writes `diffuse.png` (what is left of frames without their round background), `profiles.png` and
`diffuse.md`. Staphylococcal nuclease (diffuse) and thaumatin (not) have headers that say where the
detector stood. Each has a twin: a run of the same geometry and a like cell, whose mean number of
photons and strength are set from the frames, while correlation length and motion of the nuclease
are those published for it (Wall, Ealick & Gruner, PNAS 94 (1997) 6180: 10 and 0.36 angstrom).

Structure is told from noise without knowing a detector's gain: the pixels are dealt out like a
chessboard's to two images, and what both show at a place is structure.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from hitfinder.dataset.series import open_series
from hitfinder.frame import Detector, array_payload
from hitfinder.images.region import plan_region
from hitfinder.simulation.diffuse_runs import OTHERS
from hitfinder.simulation.run import (
    Beam,
    Diffuse,
    Geometry,
    Layout,
    Obstacles,
    Readout,
    Run,
    Sample,
    Scattering,
    Unevenness,
    Window,
)
from hitfinder.simulation.series import diffuse_hits
from hitfinder.simulation.simulator import Simulator
from hitfinder.training.diffuse_methods.prepared import HIGHEST_S, Blocks, Preparer
from hitfinder.training.samples import WHOLE

BANDS = ((0.15, 0.25), (0.25, 0.35), (0.35, 0.45), (0.45, 0.55))
FRAMES = 8
NOTHING_BELOW = 60.0
"""The nuclease's CCD has a pedestal; less is outside its field of view."""

BEYOND = 1e6

NUCLEASE = Run(
    name="nuclease-twin",
    seed=701,
    geometry=Geometry(
        shape=(1024, 1024), pixel_mm=0.08, distance_mm=57.43, beam_x_px=533.0, beam_y_px=500.0
    ),
    window=Window(top=0, left=0, rows=1024, cols=1024),
    beam=Beam(wavelength_angstrom=0.908, bandwidth=3e-4, spread=0.05),
    sample=Sample(
        cell_angstrom=(48.5, 48.5, 63.4),
        b_factor=18.0,
        brightness=60_000.0,
        volume_spread=0.1,
        size_um=1.0,
        mosaicity_rad=2e-3,
        spot_px=0.9,
        symmetry="4/mmm",
    ),
    scattering=Scattering(
        photons=600.0, air_share=0.45, air_decay=0.5, ring_width=0.075, ring_angstrom=3.7
    ),
    readout=Readout(
        counting=False,
        dtype="uint16",
        saturation=65_000.0,
        flags=(0.0, 0.0),
        gain=1.6,
        offset=40.0,
        noise_photons=3.0,
        point_spread_px=0.9,
    ),
    layout=Layout(),
    obstacles=Obstacles(beamstop_px=16.0, soft_px=4.0),
    diffuse=Diffuse(share=1.0, strength=0.06, spread=0.1, gamma_angstrom=10.0, sigma_angstrom=0.36),
    unevenness=Unevenness(amplitude=0.02),
    hit_share=1.0,
)

THAUMATIN = replace(
    NUCLEASE,
    name="thaumatin-twin",
    seed=702,
    geometry=Geometry(
        shape=(2527, 2463), pixel_mm=0.172, distance_mm=351.0, beam_x_px=1261.6, beam_y_px=1307.0
    ),
    window=Window(top=0, left=0, rows=2527, cols=2463),
    beam=Beam(wavelength_angstrom=0.96859, bandwidth=1.5e-4, spread=0.05),
    sample=Sample(
        cell_angstrom=(58.0, 58.0, 151.0),
        b_factor=30.0,
        brightness=400.0,
        volume_spread=0.4,
        size_um=1.0,
        mosaicity_rad=2e-3,
        spot_px=0.7,
        symmetry="4/mmm",
    ),
    scattering=Scattering(photons=4.0, air_share=0.6, air_decay=0.25),
    readout=Readout(counting=True, dtype="int32", saturation=1.05e6, flags=(-1.0, -2.0)),
    layout=Layout(modules=(12, 5), gap_px=(17, 7)),
    obstacles=Obstacles(beamstop_px=28.0, arm_px=9.0, arm_rad=3.14),
    diffuse=replace(NUCLEASE.diffuse or Diffuse(), share=0.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one frame shows: structure (bands,) as a share of the background, how wide it is along
    the azimuth in 1/angstrom, the round background (s, mean), and the picture of what is left.
    """

    structure: NDArray[np.float64]
    width: float
    s: NDArray[np.float64]
    background: NDArray[np.float32]
    picture: NDArray[np.float32]


def main() -> None:
    """See the module's head."""
    parser = argparse.ArgumentParser(description="simulated beside measured diffuse scattering")
    parser.add_argument("realdata", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    groups = {
        "nuclease, measured": real(arguments.realdata / "lunus_snase_diffuse", NUCLEASE),
        "nuclease, twin": simulated(NUCLEASE),
        "thaumatin, measured": real(arguments.realdata / "thaumatin_grid_pilatus6m", THAUMATIN),
        "thaumatin, twin": simulated(THAUMATIN),
        "diffuse-ortho, diffuse": simulated(diffused(OTHERS[0], 1.0)),
        "diffuse-ortho, other": simulated(diffused(OTHERS[0], 0.0)),
    }
    heads = [f"s {low}-{high}" for low, high in BANDS]
    lines = [f"| frames | {' | '.join(heads)} | width, 1/angstrom |", "|---" * 6 + "|"]
    for name, looks in groups.items():
        middle = 100 * np.median([look.structure for look in looks], axis=0)
        width = np.median([look.width for look in looks])
        cells = " | ".join("none" if np.isnan(one) else f"{one:.1f} %" for one in middle)
        lines.append(f"| {name} ({len(looks)}) | {cells} | {width:.3f} |")
    (arguments.out / "diffuse.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    pictures(arguments.out / "diffuse.png", groups)
    profiles(arguments.out / "profiles.png", groups)


def diffused(run: Run, share: float) -> Run:
    """`run` with another share of diffuse hits."""
    return replace(run, diffuse=replace(run.diffuse or Diffuse(), share=share))


def real(folder: Path, twin: Run) -> list[Look]:
    """Measured frames, with the twin's geometry."""
    detector = replace(Simulator(twin).detector, mask=None)
    looks = []
    for path in sorted(folder.iterdir())[:FRAMES]:
        (series,) = open_series([path])
        image = series.frames[0].load().whole().astype(np.float32)
        nothing = (image < (NOTHING_BELOW if twin is NUCLEASE else 0)) | (image > BEYOND)
        looks.append(look(np.where(nothing, np.float32(np.nan), image), detector))
    return looks


def simulated(run: Run) -> list[Look]:
    """A run's first hits."""
    simulator = Simulator(run)
    reader = plan_region(WHOLE, simulator.maps.shape, simulator.detector, None)
    image = np.empty(reader.shape, np.float32)
    looks = []
    for frame in diffuse_hits(simulator, FRAMES):
        reader.read(array_payload(frame.pixels), image)
        looks.append(look(image - np.float32(run.readout.offset), simulator.detector))
    return looks


def look(image: NDArray[np.float32], detector: Detector) -> Look:
    """Measure one frame (H, W)."""
    blocks = Blocks(detector)
    rows, cols = np.indices(image.shape, np.int32)
    halves = []
    for colour in (0, 1):
        half = np.where((rows + cols) % 2 == colour, image, np.float32(np.nan))
        halves.append(blocks.left(blocks.means(half, least_share=0.25)))
    background = halves[0][1]
    share = [left / back for left, back in halves]
    structure = []
    for low, high in BANDS:
        at = (blocks.s >= low) & (blocks.s < high) & np.isfinite(share[0] * share[1])
        together = float(np.mean(share[0][at] * share[1][at])) if at.sum() > 300 else np.nan
        structure.append(np.sqrt(max(together, 0.0)) if np.isfinite(together) else np.nan)
    order = np.argsort(blocks.s, axis=None)
    picture = Preparer(detector).one(image).grid[0]
    return Look(
        structure=np.array(structure),
        width=half_width(picture),
        s=blocks.s.reshape(-1)[order],
        background=background.reshape(-1)[order],
        picture=picture,
    )


def half_width(picture: NDArray[np.float32]) -> float:
    """How far structure reaches, in 1/angstrom: where a picture's correlation with itself has
    fallen to half of what it is two points aside, where noise is no longer in it.
    """
    correlation = np.fft.fftshift(np.fft.irfft2(abs(np.fft.rfft2(picture, (512, 512))) ** 2))
    row, col = np.indices(correlation.shape)
    away = np.rint(np.hypot(row - 256, col - 256)).astype(np.intp)
    along = np.bincount(away.ravel(), correlation.ravel()) / np.bincount(away.ravel())
    fallen = int(np.argmax(along[2:60] < along[2] / 2)) + 2
    return fallen * 2 * HIGHEST_S / len(picture)


def pictures(path: Path, groups: dict[str, list[Look]]) -> None:
    """Two frames of each group, in units of the picture's own spread."""
    figure, places = plt.subplots(2, len(groups), figsize=(4.4 * len(groups), 9.2))
    for column, (name, looks) in zip(places.T, groups.items(), strict=True):
        for axes, one in zip(column, (looks[0], looks[-1]), strict=True):
            axes.imshow(one.picture, cmap="gray", vmin=-2, vmax=3)
            axes.set_axis_off()
            axes.set_title(name)
    figure.tight_layout()
    figure.savefig(path, dpi=60)


def profiles(path: Path, groups: dict[str, list[Look]]) -> None:
    """The round backgrounds over s, each divided by its mean."""
    figure, places = plt.subplots(1, 3, figsize=(15, 4.5))
    for axes, pair in zip(places, (("nuclease",), ("thaumatin",), ("ortho",)), strict=True):
        for name, looks in groups.items():
            if pair[0] in name:
                one = looks[0]
                axes.plot(one.s, one.background / np.nanmean(one.background), label=name)
        axes.set(xlabel="s, 1/angstrom", ylabel="background / its mean")
        axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main()
