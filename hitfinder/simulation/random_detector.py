"""Detectors drawn at random: counting and integrating ones, their modules and their bad pixels."""

import numpy as np

from hitfinder.simulation.draws import between, chance, one_of
from hitfinder.simulation.run import Flaws, Layout, Readout


def random_readout(rng: np.random.Generator) -> Readout:
    """One half counts, the other integrates."""
    return _counting(rng) if chance(rng, 0.5) else _integrating(rng)


def _counting(rng: np.random.Generator) -> Readout:
    dtype = one_of(rng, ("uint16", "uint32", "int32"))
    if dtype == "int32":
        return Readout(
            counting=True,
            dtype=dtype,
            saturation=round(between(rng, 2e4, 1.2e6)),
            flags=(-1.0, -2.0),
        )
    flag = float(np.iinfo(dtype).max)
    limit = flag if dtype == "uint16" else round(between(rng, 2e4, 1e6))
    return Readout(counting=True, dtype=dtype, saturation=limit, flags=(flag, flag))


def _integrating(rng: np.random.Generator) -> Readout:
    """CCDs, CSPAD- and JUNGFRAU-like ones; in ADU, in keV, in photons."""
    dtype = one_of(rng, ("uint16", "int16", "int32", "uint32", "float32", "float32"))
    noise = between(rng, 0.05, 3.0)
    if dtype == "float32":
        gain = one_of(rng, (1.0, between(rng, 1e-3, 1e-2), rng.uniform(6.0, 15.0)))
        offset = 0.0 if chance(rng, 0.7) else gain * rng.normal(0.0, 5.0)
        saturation = gain * between(rng, 2e3, 1e5)
    else:
        gain = between(rng, 1.5, 60.0 if dtype.endswith("16") else 200.0)
        offset = rng.uniform(-100.0, 300.0) if dtype.startswith("i") else 0.0
        if dtype.startswith("u") or chance(rng, 0.3):
            offset = max(between(rng, 10.0, 10_000.0), 6 * gain * noise)
        top = float(np.iinfo(dtype).max)
        saturation = min(top * rng.uniform(0.8, 1.0), offset + gain * between(rng, 1e3, 3e4))
        saturation = round(max(saturation, min(offset + 300 * gain, top)))
    common = chance(rng, 0.5)
    return Readout(
        counting=False,
        dtype=dtype,
        saturation=saturation,
        flags=(0.0, 0.0),
        gain=gain,
        offset=offset,
        noise_photons=noise,
        point_spread_px=between(rng, 0.3, 1.2) if chance(rng, 0.5) else 0.0,
        common_mode_photons=noise * between(rng, 0.05, 2.0) if common else 0.0,
        lines=one_of(rng, ("rows", "cols")),
        line_photons=noise * between(rng, 0.05, 0.6) if chance(rng, 0.3) else 0.0,
        panel_photons=noise * between(rng, 0.2, 8.0) if chance(rng, 0.35) else 0.0,
        chip_photons=noise * between(rng, 0.1, 4.0) if chance(rng, 0.3) else 0.0,
        gain_spread=between(rng, 0.002, 0.05) if chance(rng, 0.5) else 0.0,
        noise_spread=rng.uniform(0.05, 0.5) if chance(rng, 0.4) else 0.0,
        noise_ramp=between(rng, 0.2, 3.0) if chance(rng, 0.2) else 0.0,
    )


def random_layout(rng: np.random.Generator) -> Layout:
    """A monolith, or up to 12 x 5 modules of up to 4 x 8 chips."""
    if chance(rng, 0.15):
        return Layout()
    chips = int(rng.integers(1, 5)), int(rng.integers(1, 9))
    return Layout(
        modules=(int(rng.integers(1, 13)), int(rng.integers(1, 6))),
        gap_px=(int(rng.integers(0, 45)), int(rng.integers(0, 20))),
        chips=chips,
        chip_line=rng.uniform(1.3, 3.0) if chance(rng, 0.35) else 1.0,
    )


def random_flaws(rng: np.random.Generator, readout: Readout) -> Flaws:
    """Bad pixels, as bright in counts or in noise as they come."""
    unit = 5.0 if readout.counting else 5.0 * readout.noise_photons
    return Flaws(
        dead_share=between(rng, 1e-5, 5e-3) if chance(rng, 0.6) else 0.0,
        hot_per_mpx=between(rng, 2.0, 300.0) if chance(rng, 0.55) else 0.0,
        hot_photons=unit * between(rng, 1.0, 100.0),
        noisy_lines=int(rng.integers(1, 5)) if chance(rng, 0.1) else 0,
    )
