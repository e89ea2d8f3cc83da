"""Where on an image a resolution lies. Flat detectors at right angles to the beam only."""

import math
from dataclasses import dataclass
from typing import Final

from hitfinder.frame import Detector

SPACINGS_ANGSTROM: Final = (50, 30, 20, 15, 10, 8, 6, 5, 4, 3.5, 3, 2.5, 2.2, 2, 1.8, 1.6, 1.4)
FINE_ANGSTROM: Final = (1.2, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5)

APART: Final = 0.11
"""Rings are no closer than this share of the image's larger side; more is clutter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """A circle around the beam."""

    angstrom: float
    radius_px: float


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A region's place in the experiment; all there is to turn a pixel into a resolution. The
    beam is in pixels of the region, from its first outer corner; None is not known.
    """

    beam_x_px: float | None
    beam_y_px: float | None
    pixel_mm: float | None
    distance_mm: float | None
    wavelength_angstrom: float | None
    rings: tuple[Ring, ...]


def view_of(
    shape: tuple[int, int], beam_px: tuple[float, float] | None, detector: Detector
) -> View:
    """For a region of (rows, cols); `beam_px` is (y, x) in it."""
    beam_y_px, beam_x_px = (None, None) if beam_px is None else beam_px
    return View(
        beam_x_px=beam_x_px,
        beam_y_px=beam_y_px,
        pixel_mm=detector.pixel_x_mm,
        distance_mm=detector.distance_mm,
        wavelength_angstrom=detector.wavelength_angstrom,
        rings=() if beam_px is None else tuple(_rings(shape, beam_px, detector)),
    )


def _rings(shape: tuple[int, int], beam_px: tuple[float, float], detector: Detector) -> list[Ring]:
    """Those of which something lies in the region, from the inside out."""
    rows, cols = shape
    corners = [math.hypot(y - beam_px[0], x - beam_px[1]) for y in (0, rows) for x in (0, cols)]
    inside = 0 <= beam_px[0] <= rows and 0 <= beam_px[1] <= cols
    nearest = 0.0 if inside else _nearest(shape, beam_px)
    rings: list[Ring] = []
    for angstrom in (*SPACINGS_ANGSTROM, *FINE_ANGSTROM):
        radius_px = radius_of(angstrom, detector)
        if radius_px is None or not nearest < radius_px < max(corners):
            continue
        before_px = rings[-1].radius_px if rings else 0.0
        if radius_px - before_px >= APART * max(shape):
            rings.append(Ring(angstrom=angstrom, radius_px=radius_px))
    return rings


def _nearest(shape: tuple[int, int], beam_px: tuple[float, float]) -> float:
    """From a beam outside to the region's nearest point."""
    away = [max(0.0, -at, at - size) for at, size in zip(beam_px, shape, strict=True)]
    return math.hypot(*away)


def radius_of(angstrom: float, detector: Detector) -> float | None:
    """A spacing's distance from the beam in pixels, by Bragg's law; None where the geometry is not
    known, or nothing of it is scattered forwards.
    """
    pixel_mm, distance_mm = detector.pixel_x_mm, detector.distance_mm
    wavelength = detector.wavelength_angstrom
    if not pixel_mm or not distance_mm or not wavelength or wavelength >= 2 * angstrom:
        return None
    angle = 2 * math.asin(wavelength / (2 * angstrom))
    return math.tan(angle) * distance_mm / pixel_mm if angle < math.pi / 2 else None
