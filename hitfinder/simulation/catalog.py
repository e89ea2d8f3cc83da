"""Runs with names: ten like Li's (`paper_runs`), five unlike them (`experiments`), four to tell
diffuse from other hits (`diffuse_runs`), the demo's.
"""

from dataclasses import replace

from hitfinder.simulation.diffuse_runs import DIFFUSE_RUNS
from hitfinder.simulation.experiments import EXPERIMENTS
from hitfinder.simulation.paper_runs import PAPER_RUNS
from hitfinder.simulation.run import (
    Artefacts,
    Beam,
    Flaws,
    Geometry,
    Layout,
    Obstacles,
    Readout,
    Run,
    Sample,
    Scattering,
    Window,
)

__all__ = ["CENTRAL_PX", "DEMO", "DIFFUSE_RUNS", "EXPERIMENTS", "NAMED", "PAPER_RUNS", "central"]

CENTRAL_PX = 350
"""Side of the middle of a frame, where Li et al. looked for hits."""


def central(run: Run, side_px: int = CENTRAL_PX) -> Run:
    """The same run, seen through the middle of its detector."""
    rows, cols = run.geometry.shape
    window = Window(
        top=(rows - side_px) // 2, left=(cols - side_px) // 2, rows=side_px, cols=side_px
    )
    return replace(run, window=window)


DEMO = Run(
    name="demo",
    seed=20,
    geometry=Geometry(
        shape=(1750, 1750), pixel_mm=0.075, distance_mm=120.0, beam_x_px=893.2, beam_y_px=921.7
    ),
    window=Window(top=0, left=0, rows=1750, cols=1750),
    beam=Beam(wavelength_angstrom=1.0, bandwidth=1e-3),
    sample=Sample(
        cell_angstrom=(96.0, 118.0, 142.0),
        size_um=0.6,
        mosaicity_rad=1.2e-3,
        brightness=300.0,
        volume_spread=0.4,
        spot_px=0.8,
        extra_crystals=0.0,
    ),
    scattering=Scattering(photons=1.2, air_share=0.55, air_decay=0.3, jet_lost_share=0.05),
    readout=Readout(counting=True, dtype="uint16", saturation=65535.0, flags=(65535.0, 65535.0)),
    layout=Layout(modules=(4, 2), gap_px=(34, 12)),
    obstacles=Obstacles(beamstop_px=26.0, arm_px=7.0, arm_rad=3.14159, transmission=0.03),
    flaws=Flaws(dead_share=1e-4, hot_per_mpx=8.0, hot_photons=50.0),
    artefacts=Artefacts(cosmics_per_mpx=0.015),
    hit_share=0.2,
)

NAMED = {run.name: run for run in (*PAPER_RUNS, *EXPERIMENTS, *DIFFUSE_RUNS)}
