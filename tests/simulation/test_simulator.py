"""Frames are what their truth and their run say."""

from dataclasses import replace

import numpy as np
import pytest

from hitfinder.simulation.panels import make_panels
from hitfinder.simulation.run import Artefacts, Beam, Edge, Flaws, Layout, Obstacles, Readout, Run
from hitfinder.simulation.scattering import Shot
from hitfinder.simulation.simulator import SimulatedFrame, Simulator, label
from tests.simulation.runs import COUNTING, INTEGRATING, PLAIN, STEADY

HITS = replace(PLAIN, hit_share=1.0)
MODULES = Layout(modules=(2, 2), gap_px=(12, 8), chips=(2, 2), chip_line=2.0)


def photons(run: Run, frame: SimulatedFrame) -> np.ndarray:
    """(rows, cols) float64 in photons."""
    values: np.ndarray = frame.pixels.astype(float)
    return (values - run.readout.offset) / run.readout.gain


def test_frames_depend_on_run_and_number_alone() -> None:
    one, other = Simulator(HITS), Simulator(HITS)
    forwards = [one.shot(number) for number in range(4)]
    backwards = [other.shot(number) for number in reversed(range(4))]
    for left, right in zip(forwards, reversed(backwards), strict=True):
        np.testing.assert_array_equal(left.pixels, right.pixels)
        np.testing.assert_array_equal(left.spots, right.spots)
        assert left.label == right.label
    assert (forwards[0].pixels != forwards[1].pixels).any()
    changed = Simulator(replace(HITS, seed=2)).shot(0)
    assert (changed.pixels != forwards[0].pixels).any()


@pytest.mark.parametrize("readout", [COUNTING, INTEGRATING])
def test_an_empty_frame_is_background_and_its_noise(readout: Readout) -> None:
    run = replace(PLAIN, readout=readout)
    simulator = Simulator(run)
    means = simulator.background.means(Shot()).astype(float)
    assert means.mean() == pytest.approx(4.0, rel=1e-3)
    away = np.stack([photons(run, simulator.shot(number)) - means for number in range(20)])
    assert away.mean() == pytest.approx(0.0, abs=0.02)
    expected = means + simulator.response.pixel_variance
    assert (away**2 / expected).mean() == pytest.approx(1.0, abs=0.02)
    for number in range(20):
        assert simulator.shot(number).label.truth == "miss"


def test_truth_follows_the_counts() -> None:
    strong, seen = np.full(11, 5.0), np.full(11, 3.0)
    assert (label(strong, []).truth, label(strong, []).tier) == ("hit", "strong")
    assert (label(seen, []).truth, label(seen, []).tier) == ("hit", "weak")
    assert label(seen[:10], []).truth == "ambiguous"
    assert label(seen[:2], []).truth == "ambiguous"
    assert label(strong[:1], []).truth == "miss"
    assert label(np.full(30, 2.9), []).truth == "miss"
    assert label(strong[:0], ["salt"]).artefacts == ("salt",)


def test_frames_carry_the_label_of_their_spots() -> None:
    simulator = Simulator(
        replace(HITS, sample=replace(HITS.sample, brightness=200.0, volume_spread=2.5))
    )
    frames = [simulator.shot(number) for number in range(120)]
    for frame in frames:
        assert frame.spots.dtype == np.float32
        assert (frame.spots[:, 2] >= 3).all()
        assert frame.label == label(frame.spots[:, 2], list(frame.label.artefacts))
    assert {frame.label.truth for frame in frames} == {"hit", "ambiguous", "miss"}
    assert {frame.label.tier for frame in frames} == {"strong", "weak", None}


def test_spots_stand_where_the_truth_says() -> None:
    """The 7 x 7 pixels about a spot hold its photons above the background."""
    simulator = Simulator(HITS)
    means = simulator.background.means(Shot())
    held, stated = [], []
    for number in range(20):
        frame = simulator.shot(number)
        lit = frame.pixels.astype(float) - means
        x, y = frame.spots[:, 0], frame.spots[:, 1]
        for one, (column, row, snr, expected) in enumerate(frame.spots):
            near = np.hypot(x - column, y - row)
            near[one] = np.inf
            inside = 5 < column < 155 and 5 < row < 155
            if snr > 8 and inside and near.min() > 9:
                part = lit[int(row) - 3 : int(row) + 4, int(column) - 3 : int(column) + 4]
                held.append(part.sum())
                stated.append(expected)
    assert len(held) > 40
    assert np.corrcoef(held, stated)[0, 1] > 0.95
    assert np.sum(held) / np.sum(stated) == pytest.approx(1.0, abs=0.1)


def test_nothing_counts_that_a_gap_or_the_beamstop_hides() -> None:
    obstacles = Obstacles(beamstop_px=30.0, transmission=0.0)
    simulator = Simulator(replace(HITS, layout=MODULES, obstacles=obstacles))
    mask = simulator.panels.mask
    assert 0.05 < mask.mean() < 0.2
    for number in range(10):
        x, y = simulator.shot(number).spots[:, :2].T
        assert not mask[y.astype(int), x.astype(int)].any()
        assert (np.hypot(x - 78.3, y - 84.1) > 29).all()


@pytest.mark.parametrize(
    ("dtype", "flags", "gap", "dead"),
    [
        ("uint16", (65535.0, 65535.0), 65535, 65535),
        ("uint32", (4294967295.0, 4294967295.0), 4294967295, 4294967295),
        ("int32", (-1.0, -2.0), -1, -2),
    ],
)
def test_counting_detectors_flag_gaps_and_dead_pixels(
    dtype: str, flags: tuple[float, float], gap: int, dead: int
) -> None:
    readout = replace(COUNTING, dtype=dtype, flags=flags, saturation=60_000.0)
    run = replace(PLAIN, readout=readout, layout=MODULES, flaws=Flaws(dead_share=0.01))
    simulator = Simulator(run)
    frame, panels = simulator.shot(0), simulator.panels
    assert frame.pixels.dtype == np.dtype(dtype)
    assert panels.dead.sum() > 50
    assert (frame.pixels[panels.dead] == dead).all()
    assert (frame.pixels[panels.mask & ~panels.dead] == gap).all()
    assert (frame.pixels[~panels.mask] <= 60_000).all()
    assert simulator.detector.underload == 0
    assert simulator.detector.mask is panels.mask


@pytest.mark.parametrize("dtype", ["int16", "uint16", "int32", "uint32", "float32"])
def test_integrating_detectors_saturate_and_keep_their_type(dtype: str) -> None:
    readout = replace(INTEGRATING, dtype=dtype, saturation=110.0 + 20 * 6)
    simulator = Simulator(replace(PLAIN, readout=readout))
    pixels = simulator.shot(0).pixels
    assert pixels.dtype == np.dtype(dtype)
    assert pixels.max() == 230
    assert (pixels == 230).mean() > 0.01
    assert simulator.detector.underload is None
    assert simulator.detector.saturation == 230


def test_point_spread_keeps_the_photons_and_joins_neighbours() -> None:
    sharp = replace(PLAIN, readout=replace(INTEGRATING, noise_photons=0.0))
    soft = replace(sharp, readout=replace(sharp.readout, point_spread_px=1.0))
    means = Simulator(sharp).background.means(Shot())
    away = [photons(run, Simulator(run).shot(3)) - means for run in (sharp, soft)]
    assert away[1].sum() == pytest.approx(away[0].sum(), abs=150)
    assert away[1].var() < 0.2 * away[0].var()
    neighbours = [(each[:, 1:] * each[:, :-1]).mean() / each.var() for each in away]
    assert abs(neighbours[0]) < 0.05
    assert neighbours[1] > 0.6


def test_pixels_between_chips_collect_more() -> None:
    rng = np.random.default_rng(0)
    area = make_panels(replace(PLAIN, layout=MODULES), rng).area
    assert set(np.unique(area)) == {1.0, 2.0, 4.0}


def test_a_window_is_a_part_of_the_detector() -> None:
    run = replace(PLAIN, window=replace(PLAIN.window, top=30, left=50, rows=64, cols=48))
    simulator, whole = Simulator(run), Simulator(PLAIN)
    assert simulator.shot(0).pixels.shape == (64, 48)
    assert simulator.detector.beam_x_px == pytest.approx(28.3)
    assert simulator.detector.beam_y_px == pytest.approx(54.1)
    np.testing.assert_allclose(simulator.maps.s, whole.maps.s[30:94, 50:98], rtol=1e-5)


def excess(run: Run, frame: SimulatedFrame, plain: Simulator) -> float:
    """By how many sigma the frame differs from a plain background: in 5 x 5 pixels at once, and
    in its brightest pixel, where 7 sigma are rare enough.
    """
    means = plain.background.means(Shot()).astype(float)
    variance = means + plain.response.pixel_variance
    binned = [
        image.reshape(32, 5, 32, 5).sum(axis=(1, 3))
        for image in (photons(run, frame) - means, variance)
    ]
    brightest = float(np.max((photons(run, frame) - means) / np.sqrt(variance))) - 2
    return max(float((np.sum(binned[0] ** 2 / binned[1]) - 1024) / np.sqrt(2 * 1024)), brightest)


NONE = Artefacts()
OFFSETS = replace(INTEGRATING, panel_photons=3.0)
SHADE = Obstacles(edges=(Edge(distance_px=10.0, angle_rad=0.3, transmission=0.3, soft_px=2.0),))
SHOWN = {
    "spotty-ice": replace(PLAIN, artefacts=replace(NONE, spotty_ice=1.0)),
    "smooth-ice": replace(PLAIN, artefacts=replace(NONE, smooth_ice=1.0)),
    "salt": replace(PLAIN, artefacts=replace(NONE, salt=1.0)),
    "jet": replace(PLAIN, artefacts=replace(NONE, jet=1.0)),
    "fibre": replace(PLAIN, artefacts=replace(NONE, fibre=1.0)),
    "powder": replace(PLAIN, artefacts=replace(NONE, powder=1.0, powder_angstrom=(5.0, 3.1))),
    "cosmic": replace(PLAIN, artefacts=replace(NONE, cosmics_per_mpx=80.0)),
    "hot": replace(PLAIN, flaws=Flaws(hot_per_mpx=900.0, hot_photons=200.0)),
    "panel-offset": replace(PLAIN, layout=Layout(modules=(2, 2)), readout=OFFSETS),
    "shadow": replace(PLAIN, obstacles=SHADE),
    "dark": replace(PLAIN, beam=replace(STEADY, dark_share=1.0)),
}


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_an_artefact_that_is_named_is_there(name: str) -> None:
    run = SHOWN[name]
    plain = Simulator(replace(PLAIN, readout=run.readout))
    simulator = Simulator(run)
    frames = [simulator.shot(number) for number in range(12)]
    named = [frame for frame in frames if frame.label.artefacts == (name,)]
    assert len(named) >= 4
    for frame in frames:
        assert frame.label.truth == "miss"
        if frame.label.artefacts:
            assert excess(run, frame, plain) > 5


def test_without_artefacts_none_is_named_and_none_is_there() -> None:
    simulator = Simulator(PLAIN)
    for number in range(12):
        frame = simulator.shot(number)
        assert frame.label.artefacts == ()
        assert excess(PLAIN, frame, simulator) < 5


def test_ice_off_the_window_is_not_named() -> None:
    far = replace(PLAIN.geometry, distance_mm=2000.0)
    simulator = Simulator(
        replace(PLAIN, geometry=far, artefacts=replace(NONE, spotty_ice=1.0, smooth_ice=1.0))
    )
    for number in range(5):
        assert simulator.shot(number).label.artefacts == ()


def test_spotty_ice_lies_on_ice_rings() -> None:
    simulator = Simulator(SHOWN["spotty-ice"])
    means = simulator.background.means(Shot())
    frame = simulator.shot(1)
    row, col = np.nonzero(frame.pixels > means + 12 * np.sqrt(means))
    spacing = 1 / simulator.maps.s[row, col]
    rings = np.array([3.90, 3.67, 3.44, 2.67, 2.25, 2.07])
    assert len(spacing) > 5
    assert np.median(abs(spacing[:, None] / rings - 1).min(axis=1)) < 0.03


def test_dark_frames_have_no_photons() -> None:
    simulator = Simulator(replace(HITS, beam=Beam(wavelength_angstrom=1.0, dark_share=1.0)))
    frame = simulator.shot(0)
    assert frame.pixels.max() == 0
    assert len(frame.spots) == 0
