"""The same experiment on a detector of larger pixels: smaller frames for the price of small ones.

Summing pixels and counting in larger ones are the same thing for photons, and Poisson stays
Poisson; so a frame of a binned run is drawn as the sum of `factor` x `factor` pixels of the run's.
What it does not know: gaps and modules are rounded to whole pixels, charge that is shared over
less than a pixel is forgotten, and a frame of the binned run is none of the run's own.
"""

from dataclasses import replace

from hitfinder.simulation.run import Run, Window


def binned(run: Run, factor: int) -> Run:
    """`run`, seen whole, with pixels `factor` times as large.

    Raises ValueError unless factor is from 1 to the detector's shorter side.
    """
    if not 1 <= factor <= min(run.geometry.shape):
        raise ValueError(f"cannot bin {run.geometry.shape} pixels by {factor}")
    if factor == 1:
        return run
    area = factor * factor
    geometry, readout, layout, obstacles = run.geometry, run.readout, run.layout, run.obstacles
    rows, cols = (side // factor for side in geometry.shape)
    return replace(
        run,
        geometry=replace(
            geometry,
            shape=(rows, cols),
            pixel_mm=geometry.pixel_mm * factor,
            beam_x_px=geometry.beam_x_px / factor,
            beam_y_px=geometry.beam_y_px / factor,
        ),
        window=Window(top=0, left=0, rows=rows, cols=cols),
        sample=replace(run.sample, spot_px=run.sample.spot_px / factor),
        scattering=replace(run.scattering, photons=run.scattering.photons * area),
        layout=replace(
            layout,
            gap_px=(round(layout.gap_px[0] / factor), round(layout.gap_px[1] / factor)),
            chip_line=1 + (layout.chip_line - 1) / factor,
        ),
        obstacles=replace(
            obstacles,
            beamstop_px=obstacles.beamstop_px / factor,
            soft_px=max(obstacles.soft_px / factor, 0.2),
            arm_px=obstacles.arm_px / factor,
            edges=tuple(
                replace(
                    edge,
                    distance_px=edge.distance_px / factor,
                    soft_px=max(edge.soft_px / factor, 0.2),
                )
                for edge in obstacles.edges
            ),
        ),
        readout=replace(
            readout,
            noise_photons=readout.noise_photons * factor,
            offset=readout.offset * area,
            saturation=readout.saturation * area,
            dtype="float32",
            point_spread_px=0.0,
            common_mode_photons=readout.common_mode_photons * area,
            line_photons=readout.line_photons * area / factor**0.5,
            panel_photons=readout.panel_photons * area,
            chip_photons=readout.chip_photons * area,
            gain_spread=readout.gain_spread / factor,
        ),
        flaws=replace(run.flaws, hot_per_mpx=run.flaws.hot_per_mpx * area),
        artefacts=replace(run.artefacts, cosmics_per_mpx=run.artefacts.cosmics_per_mpx * area),
    )
