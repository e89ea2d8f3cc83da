"""Frames stand as long as there is room."""

from hitfinder.frame import Detector
from hitfinder.monitor.gallery import OVERHEAD_BYTES, Gallery, Picture
from hitfinder.monitor.raster import Raster
from hitfinder.monitor.rings import view_of
from tests.monitor.said import verdict


def picture(frame: int, size: int = 1000, series: str = "1") -> Picture:
    image = Raster(rows=1, cols=1, binning=1, dtype="uint16", gzip=bytes(size))
    return Picture(
        verdict=verdict(frame=frame, series=series),
        at_ns=frame,
        view=view_of((1, 1), None, Detector()),
        image=image,
        spots=None,
    )


def test_the_buffer_is_bounded_in_bytes_and_the_oldest_go_first() -> None:
    one = OVERHEAD_BYTES + 1000
    gallery = Gallery(10 * one)
    for frame in range(100):
        gallery.add(picture(frame))
        assert gallery.nbytes <= 10 * one
    assert [shown.verdict.frame for shown in gallery.latest(50)] == list(range(99, 89, -1))
    assert gallery.get("1", 89) is None
    found = gallery.get("1", 90)
    assert found is not None
    assert found.verdict.frame == 90


def test_a_frame_that_comes_again_takes_the_place_of_the_first() -> None:
    gallery = Gallery(2**20)
    first, second = picture(1, 1000), picture(1, 500)
    gallery.add(first)
    gallery.add(picture(2))
    gallery.add(second)
    assert gallery.get("1", 1) is second
    assert gallery.latest(1) == [second]
    assert gallery.nbytes == 2 * OVERHEAD_BYTES + 1500


def test_series_have_frames_of_their_own() -> None:
    gallery = Gallery(2**20)
    gallery.add(picture(1, series="a"))
    gallery.add(picture(1, series="b/c"))
    assert len(gallery.latest(10)) == 2
    assert gallery.get("b/c", 1) is not None
    assert gallery.get("b", 1) is None


def test_a_frame_larger_than_the_buffer_does_not_stay() -> None:
    gallery = Gallery(10_000)
    gallery.add(picture(1, 20_000))
    assert gallery.latest(10) == []
    assert gallery.nbytes == 0
