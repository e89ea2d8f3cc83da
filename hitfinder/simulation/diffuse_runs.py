"""Runs with diffuse and non-diffuse hits: one like Su's, to train on and for the first table; three
unlike it and unlike one another in crystal and conditions, on another detector, for the second.

Su's report says what was measured (DNA repair at LCLS's CXI, experiment cxilp9515), the detector's
32 tiles in frames of 1734 x 1731, and that diffuse features are 1/10 to 1/5 of the circular
background in its best images. It names neither cell, space group, wavelength nor distance: these
are chosen here, of a size that proteins of that kind have. `unevenness` is set so that anisotropy
alone finds what it found there (docs/experiments.md).
"""

from hitfinder.simulation.run import (
    Artefacts,
    Beam,
    Diffuse,
    Flaws,
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

REPAIR = Run(
    name="diffuse-repair",
    seed=601,
    geometry=Geometry(
        shape=(1734, 1731), pixel_mm=0.10992, distance_mm=135.0, beam_x_px=869.3, beam_y_px=861.8
    ),
    window=Window(top=0, left=0, rows=1734, cols=1731),
    beam=Beam(wavelength_angstrom=1.31, bandwidth=1.2e-3, divergence_rad=1e-4, spread=0.2),
    sample=Sample(
        cell_angstrom=(71.0, 71.0, 168.0),
        b_factor=32.0,
        brightness=150.0,
        volume_spread=0.35,
        size_um=0.2,
        mosaicity_rad=2e-3,
        spot_px=0.5,
        symmetry="4/mmm",
    ),
    scattering=Scattering(
        photons=2.4, air_share=0.35, air_decay=0.12, ring_width=0.06, jet_spread=0.25
    ),
    readout=Readout(
        counting=False,
        dtype="int16",
        saturation=14_000.0,
        flags=(0.0, 0.0),
        gain=22.0,
        noise_photons=0.16,
        noise_ramp=0.5,
        point_spread_px=0.35,
        common_mode_photons=0.03,
        panel_photons=0.03,
        chip_photons=0.03,
        gain_spread=0.02,
    ),
    layout=Layout(modules=(8, 4), gap_px=(20, 16), chips=(1, 2)),
    obstacles=Obstacles(beamstop_px=16.0, transmission=0.02),
    flaws=Flaws(dead_share=4e-4, hot_per_mpx=40.0, hot_photons=12.0),
    artefacts=Artefacts(spotty_ice=0.02, salt=0.02, jet=0.002, cosmics_per_mpx=0.3),
    diffuse=Diffuse(
        share=0.5, strength=0.085, spread=0.25, gamma_angstrom=12.0, sigma_angstrom=0.45
    ),
    unevenness=Unevenness(amplitude=0.025, spread=0.4, shadow_share=0.002),
    hit_share=1.0,
)
"""Every shot meets a crystal: in Su's work hits were found first."""


def _other(
    name: str,
    seed: int,
    *,
    sample: Sample,
    diffuse: Diffuse,
    scattering: Scattering,
    wavelength_angstrom: float,
    distance_mm: float,
) -> Run:
    """On a monolithic detector that blurs and adds an offset."""
    return Run(
        name=name,
        seed=seed,
        geometry=Geometry(
            shape=(1920, 1920),
            pixel_mm=0.0885,
            distance_mm=distance_mm,
            beam_x_px=953.4,
            beam_y_px=977.1,
        ),
        window=Window(top=0, left=0, rows=1920, cols=1920),
        beam=Beam(
            wavelength_angstrom=wavelength_angstrom,
            bandwidth=6e-4,
            divergence_rad=2e-4,
            spread=0.15,
        ),
        sample=sample,
        scattering=scattering,
        readout=Readout(
            counting=False,
            dtype="uint16",
            saturation=60_000.0,
            flags=(0.0, 0.0),
            gain=4.1,
            offset=35.0,
            noise_photons=0.9,
            point_spread_px=0.7,
            gain_spread=0.01,
        ),
        layout=Layout(),
        obstacles=Obstacles(beamstop_px=24.0, soft_px=1.5, arm_px=8.0, arm_rad=1.2),
        flaws=Flaws(dead_share=1e-5, hot_per_mpx=10.0, hot_photons=40.0),
        artefacts=Artefacts(spotty_ice=0.05, smooth_ice=0.05, salt=0.04, cosmics_per_mpx=2.0),
        diffuse=diffuse,
        unevenness=Unevenness(amplitude=0.03, spread=0.7, shadow_share=0.05),
        hit_share=1.0,
    )


OTHERS = (
    _other(
        "diffuse-ortho",
        602,
        wavelength_angstrom=0.98,
        distance_mm=125.0,
        sample=Sample(
            cell_angstrom=(46.0, 63.0, 98.0),
            b_factor=22.0,
            brightness=400.0,
            volume_spread=0.5,
            size_um=0.4,
            mosaicity_rad=2e-3,
            spot_px=0.8,
            symmetry="mmm",
        ),
        diffuse=Diffuse(strength=0.05, spread=0.3, gamma_angstrom=8.0, sigma_angstrom=0.35),
        scattering=Scattering(photons=7.0, air_share=0.5, air_decay=0.2, jet_spread=0.2),
    ),
    _other(
        "diffuse-streaks",
        603,
        wavelength_angstrom=1.12,
        distance_mm=150.0,
        sample=Sample(
            cell_angstrom=(38.0, 84.0, 63.0),
            cell_deg=(90.0, 103.0, 90.0),
            b_factor=38.0,
            brightness=900.0,
            volume_spread=0.6,
            size_um=0.3,
            mosaicity_rad=3e-3,
            spot_px=0.9,
            symmetry="2/m",
        ),
        diffuse=Diffuse(
            strength=0.06,
            spread=0.3,
            gamma_angstrom=17.0,
            sigma_angstrom=0.6,
            contrast=0.5,
            streaks=0.5,
            streak_axis=0,
            streak_width=0.18,
        ),
        scattering=Scattering(
            photons=15.0, air_share=0.3, air_decay=0.1, ring_width=0.07, jet_spread=0.3
        ),
    ),
    _other(
        "diffuse-triclinic",
        604,
        wavelength_angstrom=0.92,
        distance_mm=170.0,
        sample=Sample(
            cell_angstrom=(41.0, 53.0, 67.0),
            cell_deg=(96.0, 101.0, 84.0),
            b_factor=18.0,
            brightness=250.0,
            volume_spread=0.5,
            size_um=0.5,
            mosaicity_rad=1e-3,
            spot_px=0.7,
            symmetry="-1",
        ),
        diffuse=Diffuse(strength=0.045, spread=0.3, gamma_angstrom=22.0, sigma_angstrom=0.3),
        scattering=Scattering(photons=3.5, air_share=0.65, air_decay=0.3, air_power=1.0),
    ),
)
"""Other crystals and conditions on another detector; nothing is trained on them."""

DIFFUSE_RUNS = (REPAIR, *OTHERS)
