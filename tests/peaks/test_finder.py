"""Planted spots are found where they are; what is no spot is not."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hitfinder.peaks.finder import Peaks, plan_peaks
from hitfinder.peaks.settings import PeakSettings

SHAPE = (200, 220)
PLACES = ((30.5, 40.5), (60.9, 150.2), (120.2, 60.7), (170.0, 180.0), (100.5, 20.5), (20.3, 200.4))
"""(row, column) from the first pixel's outer corner."""


def noise(seed: int = 0, mean: float = 10.0, sigma: float = 2.0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return rng.normal(mean, sigma, SHAPE).astype(np.float32)


def with_spots(
    image: NDArray[np.float32],
    total: float = 400.0,
    sigma_px: float = 1.0,
    places: tuple[tuple[float, float], ...] = PLACES,
) -> NDArray[np.float32]:
    rows, cols = np.indices(image.shape) + 0.5
    light = np.zeros(image.shape)
    for row, col in places:
        light += np.exp(-((rows - row) ** 2 + (cols - col) ** 2) / (2 * sigma_px**2))
    return (image + light * total / (2 * np.pi * sigma_px**2)).astype(np.float32)


def find(image: NDArray[np.float32], settings: PeakSettings | None = None) -> Peaks:
    return plan_peaks(image.shape, settings or PeakSettings()).find(image)


def found_at(peaks: Peaks) -> list[tuple[float, float]]:
    return list(zip(peaks.row_px.tolist(), peaks.col_px.tolist(), strict=True))


def assert_planted(peaks: Peaks, within_px: float = 0.3) -> None:
    found = sorted(found_at(peaks))
    assert len(found) == len(PLACES)
    for (row, col), (true_row, true_col) in zip(found, sorted(PLACES), strict=True):
        assert np.hypot(row - true_row, col - true_col) < within_px


def test_spots_are_found_where_they_are() -> None:
    assert_planted(find(with_spots(noise())))


def test_intensity_is_what_stands_above_the_background() -> None:
    peaks = find(with_spots(noise(sigma=0.5), total=1000.0))
    assert_planted(peaks, within_px=0.1)
    # What stays below the threshold at a spot's rim is not counted.
    assert peaks.intensity == pytest.approx(1000.0, rel=0.05)
    centred = peaks.intensity[np.argmin(np.abs(peaks.row_px - 30.5))]
    assert peaks.max_intensity.max() == pytest.approx(1000 / (2 * np.pi), rel=0.1)
    expected = centred / 0.5 / np.sqrt(peaks.n_pixels[np.argmin(np.abs(peaks.row_px - 30.5))])
    assert peaks.snr[np.argmin(np.abs(peaks.row_px - 30.5))] == pytest.approx(expected, rel=0.2)


def test_noise_alone_has_no_peaks() -> None:
    assert sum(len(find(noise(seed))) for seed in range(5)) == 0


def test_spots_on_a_steep_gradient_about_the_beam() -> None:
    rows, cols = np.indices(SHAPE) + 0.5
    radius = np.hypot(rows - 90.0, cols - 130.0)
    level = 20_000.0 * np.exp(-radius / 40.0) + 10.0
    image = np.random.default_rng(1).poisson(level).astype(np.float32)
    spots = with_spots(image, total=6000.0)
    finder = plan_peaks(SHAPE, PeakSettings(), beam_x_px=130.0, beam_y_px=90.0)
    assert_planted(finder.find(spots))
    assert len(finder.find(image)) == 0


def test_a_ring_is_background() -> None:
    rows, cols = np.indices(SHAPE) + 0.5
    radius = np.hypot(rows - 100.0, cols - 110.0)
    ring = 200.0 * np.exp(-((radius - 60.0) ** 2) / 8.0)
    assert len(find((noise() + ring).astype(np.float32))) == 0


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 65535.0, 1e30])
def test_constant_frames_have_no_peaks(value: float) -> None:
    assert len(find(np.full(SHAPE, value, np.float32))) == 0


def test_frames_without_measurement_have_no_peaks() -> None:
    peaks = find(np.full(SHAPE, np.nan, np.float32))
    assert len(peaks) == 0
    assert peaks.n_pixels.dtype == np.intp
    assert len(find(np.full(SHAPE, np.inf, np.float32))) == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (3, 3), (9, 11)])
def test_small_frames(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(2).normal(5, 1, shape).astype(np.float32)
    assert len(find(image)) == 0


def test_spots_on_an_empty_counter_are_found() -> None:
    assert_planted(find(with_spots(np.zeros(SHAPE, np.float32)).round()))


@pytest.mark.parametrize("mean", [0.0003, 0.003, 0.02, 0.05, 0.1, 0.2, 0.4])
@pytest.mark.parametrize(("gain", "offset"), [(1.0, 0.0), (37.5, 1000.0)])
def test_few_photons_on_a_counter_make_no_peaks_but_spots_do(
    mean: float, gain: float, offset: float
) -> None:
    """A tenth of a photon a pixel once gave nine false peaks a frame."""
    rng = np.random.default_rng(1)
    blank = rng.poisson(mean, (10, *SHAPE)).astype(np.float32)
    assert sum(len(find(gain * each + offset)) for each in blank) <= 3
    expected = with_spots(np.full(SHAPE, mean, np.float32), total=60.0)
    assert_planted(find(gain * rng.poisson(expected).astype(np.float32) + offset), within_px=0.6)


def test_a_counter_may_mark_bad_pixels_below_zero() -> None:
    rng = np.random.default_rng(3)
    image = rng.poisson(0.02, SHAPE).astype(np.float32)
    image[rng.random(SHAPE) < 0.002] = -2.0
    assert len(find(image)) == 0


def test_what_was_not_measured_is_neither_peak_nor_background() -> None:
    image = with_spots(noise())
    image[5::50] = np.nan
    image[:, 100:110] = np.nan
    image[25:35, 35:46] = np.nan  # the first spot
    found = found_at(find(image))
    assert len(found) == len(PLACES) - 1
    assert all(np.hypot(row - 30.5, col - 40.5) > 10 for row, col in found)
    image[image != image] = np.inf
    assert found_at(find(image)) == found


def test_hot_pixels_are_too_small() -> None:
    image = noise()
    image[50, 50] = image[120, 33] = 5000.0
    assert len(find(image)) == 0
    hot = find(image, PeakSettings(min_pixels=1))
    assert hot.row_px.tolist() == pytest.approx([50.5, 120.5])
    assert hot.col_px.tolist() == pytest.approx([50.5, 33.5])
    assert hot.n_pixels.tolist() == [1, 1]
    assert hot.intensity == pytest.approx(4990.0, rel=1e-3)


def test_large_blobs_are_too_big() -> None:
    image = noise()
    image[80:88, 150:158] += 100.0
    assert find(image).n_pixels.tolist() == [64]
    assert len(find(image, PeakSettings(max_pixels=63))) == 0


def test_a_diagonal_is_connected() -> None:
    image = noise()
    for step in range(3):
        image[50 + step, 60 + step] += 100.0
    assert find(image).n_pixels.tolist() == [3]


def test_peaks_are_held_against_what_is_around_them() -> None:
    image = noise(sigma=1.0)
    image[140, 50:52] = 19.0
    ((row, col),) = found_at(find(image))
    assert row == 140.5
    assert col == pytest.approx(51.0, abs=0.1)
    rows, cols = np.indices((16, 16))
    image[132:148, 43:59] += np.where((rows + cols) % 2, 2.5, -2.5).astype(np.float32)
    image[140, 50:52] = 19.0
    assert len(find(image)) == 0


def test_threshold_in_the_unit_of_the_pixels() -> None:
    image = with_spots(noise(mean=1000.0))
    brightest = find(image).max_intensity.max() + 1000.0
    assert len(find(image, PeakSettings(threshold=900.0))) == len(PLACES)
    assert len(find(image, PeakSettings(threshold=float(brightest) + 20.0))) == 0


def test_radius_limits() -> None:
    image = with_spots(noise())
    radius = {place: np.hypot(place[0] - 100, place[1] - 110) for place in PLACES}
    inner = find(image, PeakSettings(max_radius_px=80.0))
    outer = find(image, PeakSettings(min_radius_px=80.0))
    assert len(inner) == sum(each < 80 for each in radius.values())
    assert len(inner) + len(outer) == len(PLACES)


def test_a_beam_far_off_the_image() -> None:
    finder = plan_peaks(SHAPE, PeakSettings(), beam_x_px=-5000.0, beam_y_px=9000.0)
    assert_planted(finder.find(with_spots(noise())))


def test_another_shape_than_planned() -> None:
    with pytest.raises(ValueError, match="planned"):
        plan_peaks((10, 10), PeakSettings()).find(noise())


@given(
    gain=st.sampled_from([2.0**-20, 0.125, 1.0, 8.0, 2.0**20]),
    offset=st.integers(-4000, 4000),
    seed=st.integers(0, 100),
)
def test_gain_and_offset_cancel_out(gain: float, offset: int, seed: int) -> None:
    # Whole numbers and powers of two, so that float32 holds both images exactly.
    image = np.rint(with_spots(noise(seed)) * 8).astype(np.float32)
    plain = find(image)
    other = find(((image + np.float32(offset)) * np.float32(gain)).astype(np.float32))
    assert plain.n_pixels.tolist() == other.n_pixels.tolist()
    assert other.row_px == pytest.approx(plain.row_px, abs=1e-4)
    assert other.col_px == pytest.approx(plain.col_px, abs=1e-4)
    assert other.snr == pytest.approx(plain.snr, rel=1e-4)
    assert other.intensity == pytest.approx(plain.intensity * gain, rel=1e-4)


@given(
    row=st.floats(15.0, 185.0),
    col=st.floats(15.0, 205.0),
    sigma_px=st.floats(0.6, 2.0),
    seed=st.integers(0, 1000),
)
def test_one_spot_anywhere(row: float, col: float, sigma_px: float, seed: int) -> None:
    # Near the beam a large spot fills so much of its rings that it passes for background.
    assume(np.hypot(row - SHAPE[0] / 2, col - SHAPE[1] / 2) > 50)
    image = with_spots(noise(seed), total=1500.0, sigma_px=sigma_px, places=((row, col),))
    (found,) = found_at(find(image))
    assert np.hypot(found[0] - row, found[1] - col) < 0.4


@given(st.integers(0, 2**32 - 1))
def test_any_pixels_give_finite_peaks_inside(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.standard_cauchy((40, 50)).astype(np.float32)
    image[rng.random(image.shape) < 0.3] = np.nan
    peaks = find(image)
    for each in (peaks.row_px, peaks.col_px, peaks.intensity, peaks.max_intensity, peaks.snr):
        assert np.isfinite(each).all()
        assert len(each) == len(peaks)
    assert ((peaks.row_px > 0) & (peaks.row_px < 40)).all()
    assert ((peaks.col_px > 0) & (peaks.col_px < 50)).all()
    assert (peaks.snr >= PeakSettings().min_snr).all()
