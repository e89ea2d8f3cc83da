"""Runs drawn from wide ranges to learn diffuse scattering from: hits with and without it on any
detector, seen whole.

As in `random_run`, whose pieces these are, everything is drawn on its own; but the detector looks
to angles where diffuse scattering is, and the cell is of a size whose spots lie apart there.
Half of the hits are diffuse. How strongly runs from barely visible to stronger than any that Su
shows; all else that makes a frame uneven, jets, edges, ice, panels, is drawn for both alike.
"""

from dataclasses import dataclass, replace

import numpy as np

from hitfinder.simulation.binned import binned
from hitfinder.simulation.brightness import brightness_for
from hitfinder.simulation.draws import Purpose, between, chance, one_of, stream
from hitfinder.simulation.random_detector import random_flaws, random_layout, random_readout
from hitfinder.simulation.random_run import (
    random_artefacts,
    random_beam,
    random_cell,
    random_obstacles,
    random_sample,
    random_scattering,
)
from hitfinder.simulation.run import Diffuse, Geometry, Layout, Run, Unevenness, Window

_MOST_TRIES = 60
_CLOSEST_PX = 6.0
"""Pixels between neighbouring reflections of the longest axis, at least."""

_WITHIN_CELL = 0.5
"""Motions are alike over so much of a cell's axis at most: beyond, diffuse light gathers about the
spots until nobody can tell it from them."""

_FEWEST_PHOTONS = 0.02
"""A pixel, on average: fainter frames hold too few for diffuse scattering to be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """A detector that exists: shape, pixels, modules; how often it stands beside the beam."""

    shape: tuple[int, int]
    pixel_mm: float
    layout: Layout | None
    aside: float = 0.05


_KINDS = (
    _Kind(shape=(1024, 1024), pixel_mm=0.0795, layout=Layout()),
    _Kind(shape=(1920, 1920), pixel_mm=0.0885, layout=Layout()),
    _Kind(shape=(1536, 1536), pixel_mm=0.158, layout=Layout(modules=(3, 3))),
    _Kind(shape=(512, 1024), pixel_mm=0.075, layout=Layout(chips=(2, 4)), aside=0.7),
    _Kind(shape=(1062, 1028), pixel_mm=0.075, layout=Layout(modules=(2, 1), gap_px=(38, 0))),
    _Kind(
        shape=(1734, 1731),
        pixel_mm=0.10992,
        layout=Layout(modules=(8, 4), gap_px=(20, 16), chips=(1, 2)),
    ),
    _Kind(shape=(2164, 2068), pixel_mm=0.075, layout=Layout(modules=(4, 2), gap_px=(36, 8))),
    _Kind(shape=(2527, 2463), pixel_mm=0.172, layout=Layout(modules=(12, 5), gap_px=(17, 7))),
    _Kind(shape=(1212, 1120), pixel_mm=0.2, layout=None),
    _Kind(shape=(1750, 1750), pixel_mm=0.075, layout=None),
    _Kind(shape=(1000, 1400), pixel_mm=0.1, layout=None, aside=0.3),
)


def random_diffuse_run(seed: int, side_px: int | None = None) -> Run:
    """A run of its own for each seed. With `side_px` its pixels are binned until no side of the
    frame is longer. Equal arguments give equal runs.

    Raises ValueError when no sensible run is found, which the ranges should never allow.
    """
    for attempt in range(_MOST_TRIES):
        rng = stream(seed, Purpose.CONDITIONS, attempt)
        run = _draw(seed, rng)
        wanted = int(between(rng, 15.0, 200.0))
        if side_px is not None:
            run = binned(run, -(-max(run.geometry.shape) // side_px))
        brightness = brightness_for(run, wanted)
        if brightness is not None:
            return replace(run, sample=replace(run.sample, brightness=brightness))
    raise ValueError(f"seed {seed}: no run in {_MOST_TRIES} can give hits in its window")


def _draw(seed: int, rng: np.random.Generator) -> Run:
    """A run of brightness 1."""
    kind = one_of(rng, _KINDS)
    rows, cols = kind.shape
    window = Window(top=0, left=0, rows=rows, cols=cols)
    beam = replace(random_beam(rng), dark_share=0.0)
    geometry = _geometry(rng, kind, beam.wavelength_angstrom)
    cell, angles = random_cell(rng)
    per_angstrom = geometry.distance_mm / geometry.pixel_mm * beam.wavelength_angstrom
    shrunk = min(1.0, per_angstrom / _CLOSEST_PX / max(cell))
    cell = cell[0] * shrunk, cell[1] * shrunk, cell[2] * shrunk
    readout = random_readout(rng)
    scattering = random_scattering(rng, readout)
    sample = random_sample(rng, cell, angles, per_angstrom / max(cell))
    return Run(
        name=f"diffuse-{seed}",
        seed=seed,
        beam=beam,
        geometry=geometry,
        window=window,
        sample=replace(
            sample,
            volume_spread=rng.uniform(0.2, 0.8),
            extra_crystals=min(sample.extra_crystals, 0.5),
            domains=1,  # thousands of spots more, for nothing that matters here
            symmetry=one_of(rng, _symmetries(angles)),
        ),
        scattering=replace(scattering, photons=max(scattering.photons, _FEWEST_PHOTONS)),
        readout=readout,
        layout=kind.layout or random_layout(rng),
        obstacles=random_obstacles(rng, window),
        flaws=random_flaws(rng, readout),
        artefacts=random_artefacts(rng),
        diffuse=_diffuse(rng, _WITHIN_CELL * float(np.mean(cell))),
        unevenness=_unevenness(rng),
        hit_share=1.0,
    )


def _geometry(rng: np.random.Generator, kind: _Kind, wavelength_angstrom: float) -> Geometry:
    """A distance at which the middle of the longer side sees angles between 4 and 1.2 angstrom."""
    rows, cols = kind.shape
    half_mm = max(rows, cols) / 2 * kind.pixel_mm
    s_edge = rng.uniform(0.25, 0.85)
    angle = 2 * np.arcsin(min(wavelength_angstrom * s_edge / 2, 0.55))
    beam_x, beam_y = cols / 2, rows / 2
    if chance(rng, kind.aside):
        beam_x, beam_y = rng.uniform(-0.2, 1.2) * cols, rng.uniform(-0.2, 1.2) * rows
    near = 0.02 * min(rows, cols)
    return Geometry(
        shape=kind.shape,
        pixel_mm=kind.pixel_mm,
        distance_mm=half_mm / float(np.tan(angle)),
        beam_x_px=beam_x + near * rng.standard_normal(),
        beam_y_px=beam_y + near * rng.standard_normal(),
    )


def _symmetries(angles: tuple[float, float, float]) -> tuple[str, ...]:
    """The ones that a cell with these angles may have."""
    if angles == (90.0, 90.0, 90.0):
        return "-1", "mmm", "4/mmm"
    return ("-1", "2/m") if angles[0] == angles[2] == 90.0 else ("-1",)


def _diffuse(rng: np.random.Generator, longest_angstrom: float) -> Diffuse:
    streaks = rng.uniform(0.1, 0.8) if chance(rng, 0.35) else 0.0
    return Diffuse(
        strength=between(rng, 0.012, 0.15),
        spread=rng.uniform(0.1, 0.5),
        gamma_angstrom=min(between(rng, 5.0, 30.0), longest_angstrom),
        sigma_angstrom=between(rng, 0.2, 0.9),
        contrast=rng.uniform(0.2, 0.6),
        streaks=streaks,
        streak_axis=int(rng.integers(3)),
        streak_width=between(rng, 0.06, 0.35),
    )


def _unevenness(rng: np.random.Generator) -> Unevenness | None:
    if chance(rng, 0.15):
        return None
    return Unevenness(
        amplitude=between(rng, 0.004, 0.25),
        spread=rng.uniform(0.2, 0.8),
        shadow_share=rng.uniform(0.0, 0.5) if chance(rng, 0.3) else 0.0,
    )
