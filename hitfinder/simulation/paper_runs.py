"""Ten runs like those of Li et al. (2018), 90 to 96 and 98 to 100 (97 was empty).

One sample at one instrument: an integrating detector of the CSPAD's kind in one assembled image. 90
to 92, to train on, are alike; 93 to 96 drift; 98 has four times the beam, another gain and more
background; 99 so many crystals that most shots are hits; 100 another sample in a thicker jet. The
shares of hits among hits and misses in the middle 350 x 350 pixels are those of their Table II;
`hit_share` is larger, as some crystals cannot be seen.
"""

from dataclasses import replace

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

_CSPAD = Readout(
    counting=False,
    dtype="int16",
    saturation=14_000.0,
    flags=(0.0, 0.0),
    gain=22.0,
    noise_photons=0.16,
    noise_ramp=1.0,
    point_spread_px=0.35,
    common_mode_photons=0.08,
    panel_photons=0.05,
    chip_photons=0.05,
    gain_spread=0.02,
)

_90 = Run(
    name="90",
    seed=90,
    geometry=Geometry(
        shape=(1750, 1750), pixel_mm=0.10992, distance_mm=78.0, beam_x_px=868.0, beam_y_px=881.0
    ),
    window=Window(top=0, left=0, rows=1750, cols=1750),
    beam=Beam(
        wavelength_angstrom=1.30, bandwidth=1.2e-3, divergence_rad=1e-4, spread=0.3, dark_share=0.01
    ),
    sample=Sample(
        cell_angstrom=(50.7, 98.4, 52.9),
        cell_deg=(90.0, 112.5, 90.0),
        b_factor=28.0,
        brightness=62.0,
        volume_spread=1.1,
        size_um=0.15,
        mosaicity_rad=3e-3,
        spot_px=0.45,
    ),
    scattering=Scattering(
        photons=0.9, air_share=0.5, air_decay=0.12, jet_spread=0.25, jet_lost_share=0.04
    ),
    readout=_CSPAD,
    layout=Layout(modules=(8, 4), gap_px=(18, 14), chips=(1, 2), chip_line=1.0),
    obstacles=Obstacles(beamstop_px=14.0, transmission=0.02),
    flaws=Flaws(dead_share=4e-4, hot_per_mpx=60.0, hot_photons=12.0),
    artefacts=Artefacts(spotty_ice=0.04, salt=0.05, jet=0.08, cosmics_per_mpx=0.4),
    hit_share=0.37,
)


def _like_90(
    name: str,
    *,
    hit_share: float,
    flux: float = 1.0,
    solvent: float = 1.0,
    sample: Sample = _90.sample,
    readout: Readout = _90.readout,
    artefacts: Artefacts = _90.artefacts,
    beam_px: tuple[float, float] = (868.0, 881.0),
) -> Run:
    """Run 90 with more or less beam (`flux`), and more or less liquid for the same beam."""
    scattering = replace(_90.scattering, photons=_90.scattering.photons * flux * solvent)
    return replace(
        _90,
        name=name,
        seed=int(name),
        geometry=replace(_90.geometry, beam_x_px=beam_px[0], beam_y_px=beam_px[1]),
        scattering=scattering,
        sample=replace(sample, brightness=sample.brightness * flux),
        readout=readout,
        artefacts=artefacts,
        hit_share=hit_share,
    )


PAPER_RUNS = (
    _90,
    _like_90("91", hit_share=0.357, flux=1.05),
    _like_90("92", hit_share=0.093, flux=0.95, solvent=1.05),
    _like_90("93", hit_share=0.325, flux=1.1, solvent=1.2),
    _like_90("94", hit_share=0.444, flux=0.7, beam_px=(866.0, 880.0)),
    _like_90("95", hit_share=0.173, solvent=1.5, beam_px=(866.0, 880.0)),
    _like_90("96", hit_share=0.417, flux=1.3, solvent=0.8, beam_px=(869.5, 879.0)),
    _like_90(
        "98",
        hit_share=0.099,
        flux=4.0,
        solvent=2.0,
        readout=replace(_CSPAD, gain=5.0, offset=12.0, noise_photons=0.5),
    ),
    _like_90(
        "99",
        hit_share=0.859,
        flux=0.5,
        solvent=1.3,
        sample=replace(_90.sample, extra_crystals=3.0),
        beam_px=(871.0, 884.0),
    ),
    _like_90(
        "100",
        hit_share=0.516,
        flux=0.9,
        solvent=3.0,
        sample=replace(_90.sample, cell_angstrom=(92.7, 92.7, 130.5), cell_deg=(90.0, 90.0, 120.0)),
        readout=replace(_CSPAD, gain=33.0),
        artefacts=replace(
            _90.artefacts, spotty_ice=0.15, smooth_ice=0.2, salt=0.12, jet=0.4, cosmics_per_mpx=1.5
        ),
    ),
)
