"""A small, plain run that the tests change one condition of at a time."""

from hitfinder.simulation.run import (
    Artefacts,
    Beam,
    Flaws,
    Geometry,
    Readout,
    Run,
    Sample,
    Scattering,
    Window,
)

COUNTING = Readout(counting=True, dtype="uint16", saturation=65535.0, flags=(65535.0, 65535.0))
INTEGRATING = Readout(
    counting=False,
    dtype="int16",
    saturation=16_000.0,
    flags=(0.0, 0.0),
    gain=20.0,
    offset=100.0,
    noise_photons=0.3,
)
STEADY = Beam(wavelength_angstrom=1.0, spread=0.0)
PLAIN = Run(
    name="plain",
    seed=1,
    beam=STEADY,
    geometry=Geometry(
        shape=(160, 160), pixel_mm=0.15, distance_mm=45.0, beam_x_px=78.3, beam_y_px=84.1
    ),
    window=Window(top=0, left=0, rows=160, cols=160),
    sample=Sample(
        cell_angstrom=(61.0, 70.0, 83.0),
        cell_deg=(84.0, 97.0, 105.0),
        brightness=2000.0,
        volume_spread=0.8,
        mosaicity_rad=3e-3,
    ),
    scattering=Scattering(photons=4.0, jet_spread=0.0),
    readout=COUNTING,
    flaws=Flaws(),
    artefacts=Artefacts(),
    hit_share=0.0,
)
