"""Five experiments: other detectors, geometries, units, gains and cells than Li's, and than one
another's. All are seen with artefacts, in hits and in misses.
"""

from hitfinder.simulation.run import (
    Artefacts,
    Beam,
    Edge,
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

_PILATUS = Run(
    name="pilatus-grid",
    seed=501,
    geometry=Geometry(
        shape=(2527, 2463), pixel_mm=0.172, distance_mm=420.0, beam_x_px=1224.6, beam_y_px=1282.9
    ),
    window=Window(top=0, left=0, rows=2527, cols=2463),
    beam=Beam(
        wavelength_angstrom=0.97,
        bandwidth=1.5e-4,
        divergence_rad=3e-5,
        oscillation_rad=3.5e-3,
        spread=0.01,
    ),
    sample=Sample(
        cell_angstrom=(122.0, 168.0, 205.0),
        b_factor=45.0,
        brightness=38.0,
        volume_spread=1.1,
        size_um=0.8,
        mosaicity_rad=2.5e-3,
        spot_px=0.65,
        extra_crystals=0.3,
    ),
    scattering=Scattering(photons=0.9, air_share=0.6, air_decay=0.25, jet_spread=0.15),
    readout=Readout(counting=True, dtype="int32", saturation=1.05e6, flags=(-1.0, -2.0)),
    layout=Layout(modules=(12, 5), gap_px=(17, 7)),
    obstacles=Obstacles(beamstop_px=28.0, arm_px=9.0, arm_rad=0.02, transmission=0.01),
    flaws=Flaws(dead_share=3e-5, hot_per_mpx=12.0, hot_photons=25.0),
    artefacts=Artefacts(spotty_ice=0.2, smooth_ice=0.1, salt=0.15, fibre=0.05, cosmics_per_mpx=0.5),
    hit_share=0.45,
)

_JUNGFRAU = Run(
    name="jungfrau-xfel",
    seed=502,
    geometry=Geometry(
        shape=(2164, 2068), pixel_mm=0.075, distance_mm=64.0, beam_x_px=1041.0, beam_y_px=1071.0
    ),
    window=Window(top=0, left=0, rows=2164, cols=2068),
    beam=Beam(wavelength_angstrom=1.02, bandwidth=2e-3, divergence_rad=3e-4, spread=0.35),
    sample=Sample(
        cell_angstrom=(39.0, 58.0, 52.0),
        b_factor=20.0,
        brightness=105.0,
        volume_spread=1.1,
        size_um=0.15,
        mosaicity_rad=4.5e-3,
        spot_px=0.6,
    ),
    scattering=Scattering(photons=1.6, air_share=0.2, air_decay=0.2, jet_spread=0.35),
    readout=Readout(
        counting=False,
        dtype="float32",
        saturation=120_000.0,
        flags=(0.0, 0.0),
        gain=12.16,  # keV a photon
        noise_photons=0.06,
        point_spread_px=0.3,
        common_mode_photons=0.01,
        panel_photons=0.03,
        chip_photons=0.03,
        gain_spread=0.01,
    ),
    layout=Layout(modules=(4, 2), gap_px=(36, 8), chips=(2, 4), chip_line=2.0),
    obstacles=Obstacles(beamstop_px=9.0, transmission=0.05),
    flaws=Flaws(dead_share=2e-3, hot_per_mpx=80.0, hot_photons=6.0),
    artefacts=Artefacts(spotty_ice=0.15, salt=0.15, jet=0.3, cosmics_per_mpx=2.0),
    hit_share=0.4,
)

_EIGER = Run(
    name="eiger-virus",
    seed=503,
    geometry=Geometry(
        shape=(2167, 2070), pixel_mm=0.075, distance_mm=260.0, beam_x_px=1052.0, beam_y_px=1106.0
    ),
    window=Window(top=0, left=0, rows=2167, cols=2070),
    beam=Beam(
        wavelength_angstrom=0.98,
        bandwidth=2e-4,
        divergence_rad=5e-5,
        oscillation_rad=1.7e-3,
        spread=0.02,
    ),
    sample=Sample(
        cell_angstrom=(276.0, 280.0, 271.0),
        b_factor=60.0,
        brightness=27.0,
        volume_spread=0.9,
        size_um=0.5,
        mosaicity_rad=1.5e-3,
        spot_px=0.7,
        extra_crystals=0.1,
    ),
    scattering=Scattering(photons=0.025, air_share=0.7, air_decay=0.2),
    readout=Readout(
        counting=True, dtype="uint32", saturation=4e5, flags=(4294967295.0, 4294967295.0)
    ),
    layout=Layout(modules=(4, 2), gap_px=(37, 10), chips=(2, 4), chip_line=1.0),
    obstacles=Obstacles(
        beamstop_px=22.0,
        arm_px=6.0,
        arm_rad=1.6,
        transmission=0.02,
        edges=(Edge(distance_px=120.0, angle_rad=0.6, transmission=0.35, soft_px=3.0),),
    ),
    flaws=Flaws(dead_share=2e-4, hot_per_mpx=20.0, hot_photons=3.0),
    artefacts=Artefacts(salt=0.2, fibre=0.1, cosmics_per_mpx=5.0),
    hit_share=0.5,
)

_CCD = Run(
    name="ccd-ice",
    seed=504,
    geometry=Geometry(
        shape=(1536, 1536), pixel_mm=0.158, distance_mm=100.0, beam_x_px=760.0, beam_y_px=776.0
    ),
    window=Window(top=0, left=0, rows=1536, cols=1536),
    beam=Beam(wavelength_angstrom=1.0, bandwidth=3e-4, divergence_rad=4e-4, spread=0.06),
    sample=Sample(
        cell_angstrom=(68.0, 68.0, 103.0),
        b_factor=25.0,
        brightness=210.0,
        volume_spread=1.1,
        size_um=0.6,
        mosaicity_rad=3e-3,
        spot_px=0.75,
        extra_crystals=0.2,
    ),
    scattering=Scattering(photons=85.0, air_share=0.45, air_decay=0.25, jet_spread=0.2),
    readout=Readout(
        counting=False,
        dtype="uint16",
        saturation=64_000.0,
        flags=(0.0, 0.0),
        gain=3.5,
        offset=30.0,
        noise_photons=1.5,
        point_spread_px=0.8,
        panel_photons=1.0,
        gain_spread=0.005,
    ),
    layout=Layout(modules=(3, 3)),
    obstacles=Obstacles(beamstop_px=20.0, transmission=0.05),
    flaws=Flaws(hot_per_mpx=15.0, hot_photons=150.0),
    artefacts=Artefacts(
        spotty_ice=0.35, ice_spots=50.0, smooth_ice=0.3, salt=0.15, jet=0.1, cosmics_per_mpx=4.0
    ),
    hit_share=0.45,
)

_PEPTIDE = Run(
    name="agipd-peptide",
    seed=505,
    geometry=Geometry(
        shape=(1212, 1120), pixel_mm=0.2, distance_mm=62.0, beam_x_px=551.0, beam_y_px=612.0
    ),
    window=Window(top=0, left=0, rows=1212, cols=1120),
    beam=Beam(wavelength_angstrom=1.33, bandwidth=2e-3, divergence_rad=5e-4, spread=0.5),
    sample=Sample(
        cell_angstrom=(19.0, 15.5, 18.2),
        cell_deg=(90.0, 104.0, 90.0),
        b_factor=9.0,
        brightness=135.0,
        volume_spread=0.9,
        size_um=0.1,
        mosaicity_rad=1e-2,
        spot_px=0.45,
        extra_crystals=1.2,
    ),
    scattering=Scattering(photons=0.35, air_share=0.4, air_decay=0.3, jet_spread=0.5),
    readout=Readout(
        counting=False,
        dtype="int16",
        saturation=15_000.0,
        flags=(0.0, 0.0),
        gain=7.0,
        offset=60.0,
        noise_photons=0.3,
        common_mode_photons=0.15,
        lines="cols",
        line_photons=0.06,
        panel_photons=1.2,
        chip_photons=0.5,
        gain_spread=0.03,
    ),
    layout=Layout(modules=(8, 2), gap_px=(14, 30), chips=(2, 8), chip_line=1.0),
    obstacles=Obstacles(beamstop_px=8.0, transmission=0.1),
    flaws=Flaws(dead_share=3e-3, hot_per_mpx=150.0, hot_photons=8.0),
    artefacts=Artefacts(spotty_ice=0.25, smooth_ice=0.1, salt=0.15, jet=0.3, cosmics_per_mpx=3.0),
    hit_share=0.5,
)

EXPERIMENTS = (_PILATUS, _JUNGFRAU, _EIGER, _CCD, _PEPTIDE)
