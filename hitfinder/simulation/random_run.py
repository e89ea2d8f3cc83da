"""Runs drawn from wide ranges, for training: any beam, detector, crystal, background, artefact.

Everything is drawn on its own, with one exception: cell, distance and window go together, so that
neighbouring reflections lie some pixels apart and crystals can give hits in the window. Brightness
is then set from a few crystals' own spots (`brightness_for`), so that the median crystal shows a
number of strong spots that is drawn as well.
"""

from dataclasses import replace

import numpy as np

from hitfinder.simulation.brightness import brightness_for
from hitfinder.simulation.draws import Purpose, between, chance, one_of, stream
from hitfinder.simulation.random_detector import random_flaws, random_layout, random_readout
from hitfinder.simulation.run import (
    Artefacts,
    Beam,
    Edge,
    Geometry,
    Obstacles,
    Readout,
    Run,
    Sample,
    Scattering,
    Window,
)

_MOST_TRIES = 60

_STEEPEST = 1.0
"""Scattering angle at the window's middle, radians; beyond, detectors are rarely placed."""


def random_run(seed: int, rows: int | None = 350, cols: int | None = 350) -> Run:
    """A run of its own for each seed, with a window of (rows, cols) or, for None, the whole of a
    detector. Equal arguments give equal runs.

    Raises ValueError when no sensible run is found, which the ranges should never allow.
    """
    for attempt in range(_MOST_TRIES):
        rng = stream(seed, Purpose.CONDITIONS, attempt)
        run = _draw(seed, rng, rows, cols)
        if run is None:
            continue
        wanted = int(between(rng, 5.0, 70.0))
        brightness = brightness_for(run, wanted)
        if brightness is not None:
            return replace(run, sample=replace(run.sample, brightness=brightness))
    raise ValueError(f"seed {seed}: no run in {_MOST_TRIES} can give hits in its window")


def _draw(seed: int, rng: np.random.Generator, rows: int | None, cols: int | None) -> Run | None:
    """A run of brightness 1; None where the window would look too far aside."""
    pixel_mm = one_of(rng, (0.05, 0.055, 0.075, 0.075, 0.1, 0.11, 0.15, 0.172, 0.172))
    whole = one_of(rng, ((1024, 1024), (1062, 1028), (1750, 1750), (2070, 2167), (2527, 2463)))
    if rows is None or cols is None:
        window = Window(top=0, left=0, rows=whole[0], cols=whole[1])
    else:
        whole = max(whole[0], rows), max(whole[1], cols)
        window = _window(rng, whole, rows, cols)
    beam = random_beam(rng)
    cell, angles = random_cell(rng)
    longest = max(cell)
    # Pixels between neighbouring reflections of the longest axis.
    spacing_px = between(rng, 4.5, 11.0 if longest > 60 else 25.0)
    distance_mm = spacing_px * pixel_mm * longest / beam.wavelength_angstrom
    aside = 60.0 if chance(rng, 0.75) else 500.0
    geometry = Geometry(
        shape=whole,
        pixel_mm=pixel_mm,
        distance_mm=distance_mm,
        beam_x_px=whole[1] / 2 + aside * rng.standard_normal(),
        beam_y_px=whole[0] / 2 + aside * rng.standard_normal(),
    )
    x = window.left + window.cols / 2 - geometry.beam_x_px
    y = window.top + window.rows / 2 - geometry.beam_y_px
    angle = float(np.arctan(np.hypot(x, y) * pixel_mm / distance_mm))
    s = 2 * np.sin(angle / 2) / beam.wavelength_angstrom
    if angle > _STEEPEST or s > 0.9:
        return None
    readout = random_readout(rng)
    return Run(
        name=f"random-{seed}",
        seed=seed,
        beam=beam,
        geometry=geometry,
        window=window,
        sample=random_sample(rng, cell, angles, spacing_px),
        scattering=random_scattering(rng, readout),
        readout=readout,
        layout=random_layout(rng),
        obstacles=random_obstacles(rng, window),
        flaws=random_flaws(rng, readout),
        artefacts=random_artefacts(rng),
        hit_share=rng.uniform(0.3, 0.7),
    )


def _window(rng: np.random.Generator, whole: tuple[int, int], rows: int, cols: int) -> Window:
    """In the middle, as Li et al. cropped, or anywhere."""
    top, left = (whole[0] - rows) // 2, (whole[1] - cols) // 2
    if chance(rng, 0.5):
        top, left = int(rng.integers(0, 2 * top + 1)), int(rng.integers(0, 2 * left + 1))
    return Window(top=top, left=left, rows=rows, cols=cols)


def random_beam(rng: np.random.Generator) -> Beam:
    """An X-ray laser, or a synchrotron with or without a turning crystal."""
    xfel = chance(rng, 0.5)
    return Beam(
        wavelength_angstrom=rng.uniform(0.8, 1.9),
        bandwidth=between(rng, 5e-4, 2e-2) if chance(rng, 0.15) else between(rng, 1e-4, 2e-3),
        divergence_rad=between(rng, 3e-5, 1e-3),
        oscillation_rad=0.0 if xfel or chance(rng, 0.5) else between(rng, 1e-3, 1.5e-2),
        polarisation=rng.uniform(0.9, 1.0),
        spread=between(rng, 0.05, 0.6) if xfel else between(rng, 0.005, 0.1),
        dark_share=between(rng, 0.01, 0.15) if chance(rng, 0.25) else 0.0,
    )


def random_cell(
    rng: np.random.Generator,
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Axes and angles: cubic to triclinic."""
    length = between(rng, 15.0, 280.0)
    axes = length * rng.uniform(0.45, 1.0, 3)
    axes[int(rng.integers(3))] = length
    axes = np.maximum(axes, 12.0)
    kind = rng.random()
    if kind < 0.2:
        axes[:] = length
    angles = (90.0, 90.0, 90.0)
    if 0.2 < kind < 0.35:
        axes[1] = axes[0]
        angles = (90.0, 90.0, 120.0)
    elif 0.35 < kind < 0.55:
        angles = (90.0, float(rng.uniform(92, 118)), 90.0)
    elif kind > 0.92:
        angles = (rng.uniform(75, 105), rng.uniform(75, 105), rng.uniform(75, 105))
    cell = (float(axes[0]), float(axes[1]), float(axes[2]))
    return cell, angles


def random_sample(
    rng: np.random.Generator,
    cell: tuple[float, float, float],
    angles: tuple[float, float, float],
    spacing_px: float,
) -> Sample:
    """A kind of crystal of brightness as it comes, to be set."""
    return Sample(
        cell_angstrom=cell,
        cell_deg=angles,
        b_factor=between(rng, 8.0, 90.0),
        volume_spread=rng.uniform(0.5, 1.4),
        size_um=between(rng, 0.08, 3.0),
        mosaicity_rad=between(rng, 1e-4, 6e-3),
        spot_px=min(between(rng, 0.35, 2.6), spacing_px / 4.5),
        extra_crystals=between(rng, 0.02, 1.5) if chance(rng, 0.5) else 0.0,
        domains=int(rng.integers(2, 4)) if chance(rng, 0.25) else 1,
        split_rad=between(rng, 1e-3, 1.5e-2),
    )


def random_scattering(rng: np.random.Generator, readout: Readout) -> Scattering:
    """Air and liquid of any shape, within the readout's range."""
    photons = between(rng, 0.003 if readout.counting else 0.01, 300.0)
    if readout.dtype != "float32":  # within a third of the range
        photons = min(photons, (readout.saturation - readout.offset) / readout.gain / 3)
    return Scattering(
        photons=photons,
        air_share=rng.uniform(0.05, 0.95),
        air_decay=between(rng, 0.01, 0.5),
        air_power=rng.uniform(0.7, 2.0),
        ring_angstrom=one_of(rng, (3.2, 3.2, 3.2, 4.5, 3.8)) * rng.uniform(0.95, 1.05),
        ring_width=between(rng, 0.02, 0.1),
        lopsided=rng.uniform(0.0, 0.4) if chance(rng, 0.4) else 0.0,
        jet_spread=between(rng, 0.02, 0.7),
        jet_lost_share=rng.uniform(0.0, 0.15),
    )


def random_obstacles(rng: np.random.Generator, window: Window) -> Obstacles:
    """Beamstops, arms, and straight edges across the window."""
    edges: tuple[Edge, ...] = ()
    if chance(rng, 0.25):
        edges = tuple(
            Edge(
                distance_px=rng.uniform(-0.1, 0.6) * min(window.rows, window.cols),
                angle_rad=rng.uniform(0, 2 * np.pi),
                transmission=between(rng, 0.05, 0.9),
                soft_px=between(rng, 0.3, 8.0),
            )
            for _ in range(int(rng.integers(1, 3)))
        )
    stopped = chance(rng, 0.7)
    return Obstacles(
        beamstop_px=between(rng, 5.0, 150.0 if chance(rng, 0.15) else 50.0) if stopped else 0.0,
        soft_px=between(rng, 0.3, 6.0),
        arm_px=between(rng, 3.0, 15.0) if stopped and chance(rng, 0.6) else 0.0,
        arm_rad=rng.uniform(0, 2 * np.pi),
        transmission=rng.uniform(0.0, 0.2),
        edges=edges,
    )


def random_artefacts(rng: np.random.Generator) -> Artefacts:
    """Nearly half of all runs have none but hot pixels and panels."""
    if chance(rng, 0.4):
        return Artefacts(cosmics_per_mpx=between(rng, 0.05, 1.0))

    def rate(share: float) -> float:
        return float(between(rng, 0.05, 0.7)) if chance(rng, share) else 0.0

    return Artefacts(
        spotty_ice=rate(0.6),
        ice_spots=between(rng, 5.0, 90.0),
        smooth_ice=rate(0.3),
        salt=rate(0.4),
        jet=rate(0.35),
        fibre=rate(0.2),
        powder=rate(0.25),
        powder_angstrom=tuple(float(d) for d in 1.2 * 30 ** rng.random(int(rng.integers(2, 9)))),
        cosmics_per_mpx=between(rng, 0.1, 20.0) if chance(rng, 0.6) else 0.0,
    )
