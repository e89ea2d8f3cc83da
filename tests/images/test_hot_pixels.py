"""Planted hot pixels are found; what moves, is wide, or is everywhere is not."""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hitfinder.dataset.mask_file import load_mask
from hitfinder.errors import DataFileError
from hitfinder.images import hot_pixels
from hitfinder.images.hot_pixel_file import HotPixelMap, load_hot_pixels, save_hot_pixels
from hitfinder.images.hot_pixels import LOOKS_FIRST, LOOKS_KEPT, HotPixels, stands_out

SHAPE = (60, 70)
NOTHING = np.zeros(0, np.intp)
Image = NDArray[np.float32]


def noise(number: int) -> Image:
    """A frame of a counting detector: 2 photons a pixel, anew for each number."""
    return np.random.default_rng(number).poisson(2.0, SHAPE).astype(np.float32)


def learned(
    frame: Callable[[int], Image], passes: int, known: NDArray[np.intp] = NOTHING
) -> HotPixels:
    pixels = HotPixels(SHAPE, known)
    show(pixels, frame, passes)
    return pixels


def show(pixels: HotPixels, frame: Callable[[int], Image], passes: int) -> None:
    for number in range(passes):
        pixels.look(frame(number))
        pixels.learn()


def flat(*places: tuple[int, int]) -> list[int]:
    return sorted(row * SHAPE[1] + col for row, col in places)


def with_pixels(*places: tuple[int, int], value: float = 60.0) -> Callable[[int], Image]:
    def frame(number: int) -> Image:
        pixels = noise(number)
        for place in places:
            pixels[place] = value
        return pixels

    return frame


def test_hot_pixels_are_found_and_only_after_enough_looks() -> None:
    # Alone, as a pair, as a block, and two with one pixel between them.
    places = [(10, 10), (1, 1), (20, 20), (21, 21), (30, 50), (30, 52)]
    places += [(40, 40), (40, 41), (41, 40), (41, 41)]
    frame = with_pixels(*places)
    assert learned(frame, LOOKS_FIRST - 1).hot.tolist() == []
    pixels = learned(frame, LOOKS_FIRST)
    assert pixels.hot.tolist() == flat(*places)
    assert pixels.shares.min() > 0.9
    assert pixels.too_many == 0


def test_spots_that_move_are_never_hot() -> None:
    def frame(number: int) -> Image:
        rng = np.random.default_rng(number)
        pixels = noise(number)
        # Strong, sharp, and in a part of the region so small that they come back to a pixel often.
        for row, col in zip(rng.integers(20, 40, 40), rng.integers(20, 40, 40), strict=True):
            pixels[row, col] += 500
        return pixels

    assert learned(frame, 2 * LOOKS_FIRST).hot.tolist() == []


@pytest.mark.parametrize(
    "wide",
    [
        [(row, 30) for row in range(20, 40)],
        [(row, col) for row in range(30, 33) for col in range(30, 33)],
        [(30 + step, 30 + step) for step in range(4)],
        [(30, 30), (30, 31), (30, 32)],
        [(30, 30), (31, 31), (32, 30)],
    ],
    ids=["line", "block of 3", "diagonal", "row of 3", "bend"],
)
def test_what_is_wider_than_a_defect_is_not_hot(wide: list[tuple[int, int]]) -> None:
    pixels = learned(with_pixels(*wide, (10, 10)), LOOKS_FIRST)
    assert pixels.hot.tolist() == flat((10, 10))


def test_a_pixel_that_flickers_is_hot_in_most_frames_only() -> None:
    def flickers(of_ten: int) -> Callable[[int], Image]:
        bright = with_pixels((10, 10))
        return lambda number: bright(number) if number % 10 < of_ten else noise(number)

    assert learned(flickers(4), 4 * LOOKS_FIRST).hot.tolist() == []
    assert learned(flickers(7), 4 * LOOKS_FIRST).hot.tolist() == flat((10, 10))


def test_it_returns_slowly_and_does_not_flicker() -> None:
    pixels = learned(with_pixels((10, 10)), 100)
    show(pixels, noise, 100)  # now at a share of a half
    assert pixels.hot.tolist() == flat((10, 10))
    show(pixels, noise, 250)
    assert pixels.hot.tolist() == []


def test_what_was_long_ago_is_forgotten() -> None:
    pixels = learned(with_pixels((10, 10)), 3 * LOOKS_KEPT)
    show(pixels, noise, 2 * LOOKS_KEPT)  # less than half of all frames, and long enough
    assert pixels.hot.tolist() == []


def test_known_ones_hold_from_the_start_and_new_ones_join() -> None:
    known = np.array(flat((10, 10), (20, 20)), np.intp)
    pixels = HotPixels(SHAPE, known)
    assert pixels.hot.tolist() == known.tolist()
    show(pixels, with_pixels((10, 10), (50, 50)), 100)
    assert pixels.hot.tolist() == flat((10, 10), (20, 20), (50, 50))
    show(pixels, with_pixels((10, 10), (50, 50)), 200)
    assert pixels.hot.tolist() == flat((10, 10), (50, 50))


def test_where_nothing_was_measured_nothing_is_learned() -> None:
    def saturates(number: int) -> Image:
        pixels = noise(number)
        pixels[25:35] = np.nan
        pixels[20, 10] = 60
        pixels[20, 11] = np.nan  # dead
        pixels[24, 10] = 60  # at an edge, where the ring is not whole
        pixels[50, 50] = np.nan if number % 10 else 60  # saturated now and then
        pixels[30, 30] = 60 if number < 3 else np.nan
        return pixels

    assert learned(saturates, LOOKS_FIRST).hot.tolist() == flat((20, 10))
    assert learned(saturates, 200).hot.tolist() == flat((20, 10))
    assert learned(lambda _: np.full(SHAPE, np.nan, np.float32), LOOKS_FIRST).hot.tolist() == []
    known = HotPixels(SHAPE, np.array(flat((50, 50)), np.intp))
    show(known, saturates, 300)
    assert known.hot.tolist() == flat((20, 10), (50, 50))


def test_more_than_can_be_believed_are_not_masked() -> None:
    grid = [(row, col) for row in range(2, 58, 8) for col in range(2, 68, 8)]  # 63 of 4200
    pixels = learned(with_pixels(*grid), LOOKS_FIRST)
    assert pixels.hot.tolist() == []
    assert pixels.too_many == len(grid)
    show(pixels, with_pixels((10, 10)), 200)
    assert pixels.too_many == 0
    assert HotPixels(SHAPE, np.arange(len(grid), dtype=np.intp)).hot.tolist() == []


def test_a_large_region_is_learned_band_by_band(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hot_pixels, "PIXELS_PER_LOOK", 7 * SHAPE[1])
    # At the seams of the bands, too, and in the last one, which is shorter.
    frame = with_pixels((6, 10), (7, 20), (13, 30), (14, 31), (57, 40), (58, 68))
    bands = 9
    assert learned(frame, bands * LOOKS_FIRST - 1).hot.tolist() == []
    pixels = learned(frame, bands * LOOKS_FIRST)
    assert pixels.hot.tolist() == flat((6, 10), (7, 20), (13, 30), (14, 31), (57, 40), (58, 68))


def test_learning_does_not_change_a_mask_that_is_in_use() -> None:
    pixels = learned(with_pixels((10, 10)), LOOKS_FIRST)
    in_use = pixels.hot
    show(pixels, noise, 400)
    assert pixels.hot.tolist() == []
    assert in_use.tolist() == flat((10, 10))


def ring_rule(padded: Image) -> NDArray[np.bool_]:
    """`stands_out` by its words, a pixel at a time."""
    out = np.zeros((padded.shape[0] - 4, padded.shape[1] - 4), np.bool_)
    on_ring = np.ones((4, 4), np.bool_)
    on_ring[1:3, 1:3] = False
    for row, col in np.ndindex(out.shape):
        for top, left in product((row, row + 1), (col, col + 1)):
            ring = padded[top : top + 4, left : left + 4][on_ring]
            if not np.isnan(ring).any():
                span = ring.max() - ring.min()
                out[row, col] |= padded[row + 2, col + 2] - ring.max() > span
    return out


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), holes=st.booleans())
def test_standing_out_by_its_words(seed: int, holes: bool) -> None:
    rng = np.random.default_rng(seed)
    padded = rng.integers(0, 30, (12, 14)).astype(np.float32)
    padded[rng.random(padded.shape) < 0.1] = 200
    if holes:
        padded[rng.random(padded.shape) < 0.1] = np.nan
    assert (stands_out(padded) == ring_rule(padded)).all()


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    gain=st.sampled_from((2.0**-10, 0.5, 4.0, 2.0**12)),
    offset=st.integers(-1000, 1000),
)
def test_gain_and_offset_do_not_matter(seed: int, gain: float, offset: int) -> None:
    rng = np.random.default_rng(seed)
    padded = rng.poisson(3.0, (40, 40)).astype(np.float32)
    padded[rng.random(padded.shape) < 0.02] = 40
    padded[rng.random(padded.shape) < 0.05] = np.nan
    changed = ((padded + np.float32(offset)) * np.float32(gain)).astype(np.float32)
    assert stands_out(padded).any()
    assert (stands_out(changed) == stands_out(padded)).all()


def test_extreme_values_and_regions_are_survived() -> None:
    extreme = np.full((9, 9), -3e38, np.float32)
    extreme[4, 4] = 3e38
    assert stands_out(extreme)[2, 2]
    for shape in ((1, 1), (1, 5), (5, 1), (3, 3)):
        pixels = HotPixels(shape, NOTHING)
        for _ in range(LOOKS_FIRST):
            pixels.look(np.zeros(shape, np.float32))
            pixels.learn()
        assert pixels.hot.tolist() == []


FOUND = HotPixelMap(
    payload_shape=(2, 3, 4),
    places=np.array([1, 13], np.intp),
    shares=np.array([0.75, 1.0], np.float32),
)


def test_a_file_gives_back_what_was_saved_and_is_a_mask(tmp_path: Path) -> None:
    path = tmp_path / "hot_pixels.npz"
    save_hot_pixels(path, FOUND)
    save_hot_pixels(path, FOUND)
    back = load_hot_pixels(path)
    assert back.payload_shape == FOUND.payload_shape
    assert back.places.tolist() == [1, 13]
    assert back.shares.tolist() == [0.75, 1.0]
    mask = load_mask(path)
    assert mask.shape == (2, 3, 4)
    assert np.flatnonzero(mask).tolist() == [1, 13]
    assert [each.name for each in tmp_path.iterdir()] == ["hot_pixels.npz"]


def test_files_of_something_else_are_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "hot_pixels.npz"
    save_hot_pixels(path, FOUND)
    whole = path.read_bytes()

    def refused() -> None:
        with pytest.raises(DataFileError, match=r"hot_pixels\.npz: holds no hot pixels") as caught:
            load_hot_pixels(path)
        assert "\n" not in str(caught.value)

    for damage in (b"", b"rubbish", whole[:-30], whole[:100], whole.replace(b"data", b"daxx")):
        path.write_bytes(damage)
        refused()
    np.savez(path, data=np.ones((3, 4), np.uint8))
    refused()
    np.savez(path, data=np.ones((3, 4), np.uint8), share=np.ones(3))
    refused()
    np.savez(path, data=np.array([None, 1], object), share=np.ones(3))
    refused()
    with path.open("wb") as file:
        np.save(file, np.ones((3, 4)))
    refused()
    path.unlink()
    with pytest.raises(DataFileError, match=r"hot_pixels\.npz: no such file"):
        load_hot_pixels(path)
