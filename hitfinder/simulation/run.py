"""The conditions of a simulated run: everything that stays the same from shot to shot.

Plain values, read like the log-book of a beamtime. Nothing here computes; `simulator.Simulator`
turns a run into frames. Photons are photons a pixel at the beam's usual strength; x is the fast
axis; widths called sigma are standard deviations.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Beam:
    """X-rays. `bandwidth` is sigma of the relative wavelength; `divergence_rad` sigma;
    `oscillation_rad` how far the crystal turns during a frame (0 for a still); `polarisation` the
    horizontal share; `spread` sigma of the logarithm of a shot's intensity; `dark_share` the
    share of shots without any beam.
    """

    wavelength_angstrom: float
    bandwidth: float = 1e-3
    divergence_rad: float = 2e-4
    oscillation_rad: float = 0.0
    polarisation: float = 0.99
    spread: float = 0.2
    dark_share: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """The whole detector, of which a window is simulated; shape is (rows, cols). The beam's
    centre counts from the first pixel's outer corner and may lie outside.
    """

    shape: tuple[int, int]
    pixel_mm: float
    distance_mm: float
    beam_x_px: float
    beam_y_px: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The pixels that are simulated."""

    top: int
    left: int
    rows: int
    cols: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One kind of crystal. `size_um` is the coherent domain, `mosaicity_rad` sigma; `brightness`
    the photons of a full average reflection at low angle from the median crystal, `volume_spread`
    sigma of the logarithm of a crystal's strength; `spot_px` sigma of a spot before anything draws
    it out; `extra_crystals` how many crystals a shot with one has besides, on average. A crystal
    is split into `domains`, turned against one another by sigma `split_rad`. Reflections that
    `symmetry` makes alike are equally strong: "1" none, "-1" Friedel's, "2/m" (along b), "mmm" or
    "4/mmm".
    """

    cell_angstrom: tuple[float, float, float]
    cell_deg: tuple[float, float, float] = (90.0, 90.0, 90.0)
    b_factor: float = 25.0
    brightness: float = 300.0
    volume_spread: float = 0.7
    size_um: float = 0.5
    mosaicity_rad: float = 5e-4
    spot_px: float = 0.7
    extra_crystals: float = 0.05
    domains: int = 1
    split_rad: float = 0.0
    symmetry: str = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scattering:
    """The smooth background. `photons` is its mean over the window; of it `air_share` is air,
    which falls off as exp(-(s / air_decay)^air_power), the rest the liquid's ring. `lopsided` is
    how much it differs between opposite sides; `jet_spread` sigma of the logarithm of the liquid
    in the beam, `jet_lost_share` the share of shots that miss it.
    """

    photons: float
    air_share: float = 0.4
    air_decay: float = 0.25
    air_power: float = 1.6
    ring_angstrom: float = 3.2
    ring_width: float = 0.055
    lopsided: float = 0.0
    jet_spread: float = 0.2
    jet_lost_share: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Diffuse:
    """What disorder in the crystals scatters between the spots, in `share` of the hits; in the
    others it has no structure. `strength` is its anisotropic part (root of the mean square, where
    it is strongest) as a share of the background, for a crystal and a shot as usual; `spread`
    sigma of that share's logarithm. Atoms move by `sigma_angstrom`, alike over a correlation length
    `gamma_angstrom`. `contrast` is the anisotropic part as a share of all diffuse scattering.
    `streaks` of it gathers in sheets across the crystal's axis `streak_axis`, of `streak_width`
    (half width at half maximum) in lattice spacings.
    """

    share: float = 0.5
    strength: float = 0.1
    spread: float = 0.4
    gamma_angstrom: float = 12.0
    sigma_angstrom: float = 0.4
    contrast: float = 0.35
    streaks: float = 0.0
    streak_axis: int = 0
    streak_width: float = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Unevenness:
    """How the smooth background differs around the beam from shot to shot, with or without a
    crystal: the jet takes up light along itself, and lies aside. `amplitude` is the usual
    relative difference at the window's edge, `spread` sigma of its logarithm; in `shadow_share`
    of shots something before the detector takes part of the light away on one side.
    """

    amplitude: float
    spread: float = 0.6
    shadow_share: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A straight edge of something between sample and detector: beyond `distance_px` from the
    window's centre, in direction `angle_rad`, only `transmission` arrives, over `soft_px`.
    """

    distance_px: float
    angle_rad: float
    transmission: float
    soft_px: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacles:
    """What stands before the detector: a round beamstop with its arm, both with a rim `soft_px`
    wide, and edges.
    """

    beamstop_px: float = 0.0
    soft_px: float = 0.5
    arm_px: float = 0.0
    arm_rad: float = 0.0
    transmission: float = 0.02
    edges: tuple[Edge, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Modules (rows, cols) over the whole detector with gaps between them, and readout chips in
    each; pixels along the lines between chips collect `chip_line` times the light.
    """

    modules: tuple[int, int] = (1, 1)
    gap_px: tuple[int, int] = (0, 0)
    chips: tuple[int, int] = (1, 1)
    chip_line: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Readout:
    """How photons become numbers of `dtype` (a numpy name).

    A counting detector counts; an integrating one gives `gain` units a photon above `offset`, with
    charge shared over `point_spread_px` (sigma) and a gain that differs between pixels by
    `gain_spread`. Its noise is Gaussian, `noise_photons` a pixel; it differs between pixels by
    `noise_spread` (sigma of the logarithm) and grows along a chip to 1 + `noise_ramp` times.
    Offsets change from shot to shot by sigma `common_mode_photons` for a module and `line_photons`
    for a row (`lines` "rows") or column ("cols"); `panel_photons` and `chip_photons` (sigma) are
    offsets of modules and chips that stay. At `saturation` the numbers end. `flags` are written
    into gaps and into dead pixels.
    """

    counting: bool
    dtype: str
    saturation: float
    flags: tuple[float, float]
    gain: float = 1.0
    offset: float = 0.0
    noise_photons: float = 0.0
    point_spread_px: float = 0.0
    common_mode_photons: float = 0.0
    lines: str = "rows"
    line_photons: float = 0.0
    panel_photons: float = 0.0
    chip_photons: float = 0.0
    gain_spread: float = 0.0
    noise_spread: float = 0.0
    noise_ramp: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaws:
    """Bad pixels. Dead ones are known and flagged; hot ones are in no mask: `hot_per_mpx` of them,
    with `hot_photons` in the median.
    """

    dead_share: float = 0.0
    hot_per_mpx: float = 0.0
    hot_photons: float = 30.0
    noisy_lines: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefacts:
    """How often a shot shows what a finder may take for a crystal: shares of shots, 0 to 1, and
    `cosmics_per_mpx` tracks a shot and million pixels. Spotty ice has `ice_spots` spots in the
    window, in the median. `powder_angstrom` are the rings of a
    substance other than ice.
    """

    spotty_ice: float = 0.0
    ice_spots: float = 25.0
    smooth_ice: float = 0.0
    salt: float = 0.0
    jet: float = 0.0
    fibre: float = 0.0
    powder: float = 0.0
    powder_angstrom: tuple[float, ...] = ()
    cosmics_per_mpx: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run's conditions; equal runs give equal frames. `hit_share` is the share of shots that
    meet a crystal, be it too weak to be seen. Where `diffuse` is None nobody says whether hits
    show diffuse scattering; they show none.
    """

    name: str
    seed: int
    beam: Beam
    geometry: Geometry
    window: Window
    sample: Sample
    scattering: Scattering
    readout: Readout
    layout: Layout = Layout()
    obstacles: Obstacles = Obstacles()
    flaws: Flaws = Flaws()
    artefacts: Artefacts = Artefacts()
    diffuse: Diffuse | None = None
    unevenness: Unevenness | None = None
    hit_share: float = 0.5
