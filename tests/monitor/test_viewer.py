"""Samples become pictures."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hitfinder.errors import BadMessageError, ConfigError, HitfinderError
from hitfinder.frame import (
    Detector,
    Frame,
    Part,
    Payload,
    SeriesEnded,
    SeriesStarted,
    array_payload,
)
from hitfinder.images.reader import RegionReader
from hitfinder.images.region import RegionSettings, plan_region
from hitfinder.monitor.gallery import Gallery
from hitfinder.monitor.powder import Powder
from hitfinder.monitor.viewer import Viewer
from hitfinder.verdict import Outcome
from hitfinder.wire import PROTOCOLS
from hitfinder.wire.samples import MARK
from hitfinder.wire.verdicts import encode
from tests.monitor.said import verdict
from tests.monitor.test_raster import unpacked

SHAPE = (60, 70)
REGION = RegionSettings(rows=30, cols=40)
DETECTOR = Detector(
    shape=SHAPE,
    beam_x_px=35.0,
    beam_y_px=25.0,
    pixel_x_mm=1.0,
    pixel_y_mm=1.0,
    distance_mm=50.0,
    wavelength_angstrom=1.0,
    saturation=1000.0,
)


class SpotModel:
    """A spot wherever a cell's brightest pixel is above 50; a map reaches beyond the image."""

    def __init__(self, cell_px: int = 7) -> None:
        self.cell_px = cell_px
        self.broken = False
        self.has_map = True

    def outputs(self, batch: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        if self.broken:
            raise HitfinderError("made to be broken")
        score = np.zeros(len(batch), np.float32)
        if not self.has_map:
            return {"score": score}
        cell = self.cell_px
        rows, cols = (-(-size // cell) for size in batch.shape[1:])
        padded = np.zeros((rows * cell, cols * cell), np.float32)
        padded[: batch.shape[1], : batch.shape[2]] = np.nan_to_num(batch[0])
        spots = padded.reshape(rows, cell, cols, cell).max(axis=(1, 3)) > 50
        return {"score": score, "spots": spots[np.newaxis].astype(np.float32)}


class Bench:
    """A viewer, and a sender for it."""

    def __init__(self) -> None:
        self.gallery, self.powder, self.model = Gallery(2**24), Powder(), SpotModel()
        self.encoder = PROTOCOLS["dectris-v2"].encoder()
        self.overrides: dict[str, Any] = {}
        self.viewer = Viewer(
            decoder=PROTOCOLS["dectris-v2"].decoder(),
            plan=self.plan,
            override=lambda detector: replace(detector, **self.overrides),
            model=self.model,
            gallery=self.gallery,
            powder=self.powder,
            detector=PROTOCOLS["dectris-v2"].detector,
        )

    def plan(self, shape: tuple[int, ...], detector: Detector) -> RegionReader:
        settings = REGION.model_copy(update={"ice_rings": "keep"})
        return plan_region(settings, shape, replace(detector, **self.overrides), None)

    def open(self, detector: Detector = DETECTOR) -> None:
        for parts in self.encoder.start(SeriesStarted(series="3", detector=detector)):
            self.viewer.take((MARK, *parts), 0)

    def show(self, number: int, pixels: Payload, outcome: Outcome = Outcome.KEPT) -> None:
        self.send(verdict(1, outcome, frame=number, series="3"), self.parts(number, pixels))

    def parts(self, number: int, pixels: Payload) -> Sequence[Part]:
        (parts,) = self.encoder.frame(Frame(series="3", number=number, payload=pixels))
        return parts

    def send(self, head: Any, parts: Sequence[Part]) -> None:
        self.viewer.take((encode(head), *parts), 5)


def pixels(spots: Sequence[tuple[int, int]] = (), shape: tuple[int, int] = SHAPE) -> Payload:
    """A frame with so many bright pixels, at (row, column) of the whole frame."""
    values = np.full(shape, 2, np.uint16)
    for row, col in spots:
        values[row, col] = 90
    return array_payload(values)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_frame_is_shown_as_the_model_saw_it(bench: Bench) -> None:
    bench.open()
    bench.show(8, pixels([(15, 15), (44, 54)]))
    picture = bench.gallery.get("3", 8)
    assert picture is not None
    assert picture.image is not None
    shown = unpacked(picture.image)
    assert shown.shape == (30, 40)
    assert (shown[0, 0], shown[29, 39], shown[1, 1]) == (90, 90, 2)
    assert picture.spots is not None
    assert picture.spots.cell_px == 7  # from the shapes: no model's cells are known beforehand
    spots = unpacked(picture.spots.map)
    assert spots.shape == (5, 6)
    assert np.argwhere(spots > 0.5).tolist() == [[0, 0], [4, 5]]


@pytest.mark.parametrize("cell", [1, 2, 3, 4, 5, 6, 8])
def test_the_size_of_cells_is_seen_from_the_map(bench: Bench, cell: int) -> None:
    bench.model.cell_px = cell
    bench.open()
    bench.show(1, pixels())
    picture = bench.gallery.get("3", 1)
    assert picture is not None
    assert picture.spots is not None
    assert picture.spots.cell_px == cell


def test_the_beam_and_rings_lie_in_the_region(bench: Bench) -> None:
    bench.open()
    bench.show(1, pixels())
    (picture,) = bench.gallery.latest(1)
    assert (picture.view.beam_x_px, picture.view.beam_y_px) == (20.0, 10.0)
    assert picture.view.rings


def test_settings_go_before_what_the_stream_says(bench: Bench) -> None:
    bench.overrides = {"beam_x_px": 36.0, "saturation": 80.0}
    bench.open()
    bench.show(1, pixels([(20, 20)]))
    (picture,) = bench.gallery.latest(1)
    assert picture.view.beam_x_px == 21.0
    assert picture.image is not None
    assert np.isnan(unpacked(picture.image)[5, 5])


def test_without_an_opening_there_is_an_image_but_no_geometry(bench: Bench) -> None:
    bench.show(1, pixels())
    (picture,) = bench.gallery.latest(1)
    assert picture.image is not None
    assert picture.view.beam_x_px is None
    bench.open()
    bench.show(2, pixels())
    (picture,) = bench.gallery.latest(1)
    assert picture.view.beam_x_px == 20.0


def test_flags_below_zero_are_no_pixels_in_a_series_joined_midway(bench: Bench) -> None:
    values = np.full(SHAPE, 2, np.int32)
    values[20, 20] = np.iinfo(np.int32).min
    bench.show(1, array_payload(values))
    (picture,) = bench.gallery.latest(1)
    assert picture.image is not None
    shown = unpacked(picture.image)
    assert np.isnan(shown[5, 5])
    assert np.nanmin(shown) == 2


def test_only_hits_are_in_the_powder_pattern(bench: Bench) -> None:
    bench.open()
    bench.show(1, pixels([(20, 20)]))
    bench.show(2, pixels([(25, 25)]), Outcome.VETOED)
    bench.show(3, pixels([(20, 20)]))
    assert bench.powder.hits == 2
    summed = bench.powder.pattern("sum")
    assert summed is not None
    values = unpacked(summed)
    assert (values[5, 5], values[10, 10]) == (180, 4)


def test_a_repeated_opening_does_not_begin_the_powder_pattern_anew(bench: Bench) -> None:
    for number in range(3):
        bench.open()
        bench.show(number, pixels())
    assert bench.powder.hits == 3


def test_the_end_of_a_series_is_known_until_a_frame_of_the_next(bench: Bench) -> None:
    (ended,) = bench.encoder.end(SeriesEnded(series="3"))
    bench.open()
    assert not bench.viewer.ended
    for _ in range(2):  # it is repeated, for those who missed it
        bench.viewer.take((MARK, *ended), 0)
        assert bench.viewer.ended
    bench.open()
    assert bench.viewer.ended  # armed; it may wait for a trigger
    bench.show(1, pixels())
    assert not bench.viewer.ended


def test_a_model_without_a_map_shows_no_spots(bench: Bench) -> None:
    bench.model.has_map = False
    bench.show(1, pixels())
    (picture,) = bench.gallery.latest(1)
    assert picture.spots is None
    assert picture.image is not None


def test_what_is_wrong_with_a_frame_is_told_and_the_next_is_shown(bench: Bench) -> None:
    bench.open()
    bench.model.broken = True
    bench.show(1, pixels())
    bench.model.broken = False
    flagged = array_payload(np.full(SHAPE, 2**16 - 1, np.uint16))
    bench.show(2, flagged)
    bench.show(3, pixels(shape=(10, 10)))
    bench.show(4, pixels())
    shown = {one.verdict.frame: one for one in bench.gallery.latest(9)}
    assert "made to be broken" in (shown[1].trouble or "")
    assert "no pixel" in (shown[2].trouble or "")
    assert (shown[1].image, shown[2].image) == (None, None)
    assert shown[4].image is not None
    assert bench.powder.hits == 1  # frame 3 has another place in the beam, so 4 begins anew


def test_a_region_that_does_not_fit_is_told(bench: Bench) -> None:
    def plan(_shape: tuple[int, ...], _detector: Detector) -> RegionReader:
        raise ConfigError("does not fit")

    bench.viewer._plan = plan
    bench.show(1, pixels())
    (picture,) = bench.gallery.latest(1)
    assert picture.trouble == "does not fit"


def test_a_sample_that_is_no_frame_is_a_bad_message(bench: Bench) -> None:
    (ended,) = bench.encoder.end(SeriesEnded(series="3"))
    with pytest.raises(BadMessageError, match="without a frame"):
        bench.send(verdict(), ended)
    with pytest.raises(BadMessageError):
        bench.send(verdict(), ())
    bench.show(1, pixels())
    assert len(bench.gallery.latest(9)) == 1


def test_a_series_with_the_number_of_the_one_before_has_a_powder_pattern_of_its_own() -> None:
    bench = Bench()
    bench.open()
    bench.show(1, pixels())
    bench.open()  # repeated for whoever joins
    bench.show(2, pixels())
    assert bench.powder.hits == 2
    (end,) = bench.encoder.end(SeriesEnded(series="3"))
    bench.viewer.take((MARK, *end), 0)
    bench.open()
    bench.show(1, pixels())
    assert bench.powder.hits == 1
