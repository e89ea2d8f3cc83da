"""What an HDF5 file says of its detector: DECTRIS, NeXus and CXI spellings.

Zero counts as unset: DECTRIS writes 0 for a distance or a beam centre that nobody entered.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.dataset.hdf5_file import hdf5_file, register_filters
from hitfinder.errors import DataFileError
from hitfinder.frame import Detector

_CXI = "/entry_1/instrument_1/detector_1"
_GROUPS = ("/entry/instrument/detector", _CXI)

_TO_MM = {
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1e3),
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres"), 1.0),
    **dict.fromkeys(("um", "µm", "micron", "microns"), 1e-3),
}
_TO_ANGSTROM = {"angstrom": 1.0, "angstroms": 1.0, "a": 1.0, "å": 1.0, "nm": 10.0, "m": 1e10}
_AS_IT_IS: Mapping[str, float] = {}

# field of Detector, places (relative to a detector's group unless absolute; the first one
# counts), unit where the file names none, factors by unit
_NUMBERS: tuple[tuple[str, tuple[str, ...], str, Mapping[str, float]], ...] = (
    ("beam_x_px", ("beam_center_x",), "", _AS_IT_IS),
    ("beam_y_px", ("beam_center_y",), "", _AS_IT_IS),
    ("pixel_x_mm", ("x_pixel_size",), "m", _TO_MM),
    ("pixel_y_mm", ("y_pixel_size",), "m", _TO_MM),
    ("distance_mm", ("detector_distance", "distance"), "m", _TO_MM),
    (
        "saturation",
        (
            "saturation_value",
            "detectorSpecific/saturation_value",
            "detectorSpecific/countrate_correction_count_cutoff",
        ),
        "",
        _AS_IT_IS,
    ),
    (
        "wavelength_angstrom",
        (
            "/entry/instrument/beam/incident_wavelength",
            "/entry/sample/beam/incident_wavelength",
            "/entry/instrument/monochromator/wavelength",
        ),
        "angstrom",
        _TO_ANGSTROM,
    ),
)

_BEAM = (
    ("beam_x_px", "beam_center_x", "pixel_x_mm"),
    ("beam_y_px", "beam_center_y", "pixel_y_mm"),
)
"""NeXus has the beam's centre in pixels, or as a length, which a pixel's size turns into them."""

_NOT_MEASURED_IN_CXI = 0xFFFF & ~(0x0800 | 0x2000 | 0x4000)
"""CXI's mask bits (Maia 2012) but for those of pixels that were measured and corrected, or that
belong to a peak; above bit 15 stands what a pixel shows."""

MASKS_READ = 16
"""Where each frame has a mask of its own, so many of them, spread over the file, are read: what all
mask is the detector's, what few mask is a frame's. All of them may be as big as the frames."""

MASKS = ("pixel_mask", "detectorSpecific/pixel_mask", "mask")


def read_detector(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Detector:
    """The detector behind frames of `shape` and `dtype`. Where each frame has its own mask, as in
    CXI, what they have in common is the detector's; a mask of another shape is left out. Raises
    DataFileError.
    """
    with hdf5_file(path) as file:
        return Detector(
            shape=shape,
            mask=_mask(path, file, _group(file), shape),
            underload=0.0 if dtype.kind == "u" else None,
            **read_numbers(path, file),
        )


def read_numbers(path: Path, file: Any) -> dict[str, float]:
    """What an open file says of its detector in numbers, by `Detector`'s names. Raises
    DataFileError.
    """
    group = _group(file)
    numbers = {}
    for field, places, unit, factors in _NUMBERS:
        value = _number(path, file, group, places, unit, factors)
        if value is not None:
            numbers[field] = value
    for field, place, pixel in _BEAM:
        if field in numbers and (unit := _unit(file[f"{group}/{place}"], "")) in _TO_MM:
            if pixel not in numbers:
                raise DataFileError(
                    f"{path}: {group}/{place} is in '{unit}', and no size of a pixel turns it "
                    "into pixels; write one of them into the file"
                )
            numbers[field] *= _TO_MM[unit] / numbers[pixel]
    return numbers


def _group(file: Any) -> str:
    """The detector's: the first that says anything."""
    return next((name for name in _GROUPS if name in file and len(file[name])), _GROUPS[0])


def _get(path: Path, file: Any, name: str) -> Any:
    """What stands there, or None. Raises DataFileError for a link to a file that is gone: without
    its mask or beam a detector would be another.
    """
    found = file.get(name)
    link = file.get(name, getlink=True) if found is None else None
    if (gone := getattr(link, "filename", None)) is not None:
        raise DataFileError(
            f"{path}: {name} leads to '{gone}', which is not there; copy it beside the file"
        )
    return found


def _number(
    path: Path,
    file: Any,
    group: str,
    places: tuple[str, ...],
    unit: str,
    factors: Mapping[str, float],
) -> float | None:
    for place in places:
        name = place if place.startswith("/") else f"{group}/{place}"
        dataset = _get(path, file, name)
        if getattr(dataset, "size", None) != 1:  # a group has none
            continue
        value = float(np.asarray(dataset).reshape(-1)[0])
        if factors:
            said = _unit(dataset, unit)
            if said not in factors:
                raise DataFileError(
                    f"{path}: {name} is in '{said}'; known units: {', '.join(factors)}"
                )
            value *= factors[said]
        return value if np.isfinite(value) and value != 0 else None
    return None


def _unit(dataset: Any, unsaid: str) -> str:
    """In lower case. Some writers make every attribute an array of one."""
    said = next(iter(np.asarray(dataset.attrs.get("units", unsaid)).reshape(-1).tolist()), unsaid)
    return (said.decode() if isinstance(said, bytes) else str(said)).strip().lower()


def _mask(path: Path, file: Any, group: str, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    for place in (f"{group}/{name}" for name in MASKS):
        dataset = _get(path, file, place)
        found: tuple[int, ...] = getattr(dataset, "shape", ())
        if found == shape:
            register_filters()
            return is_bad(np.asarray(dataset), place)
        if found[1:] == shape and found[0]:
            register_filters()
            looked_at = {(found[0] - 1) * step // (MASKS_READ - 1) for step in range(MASKS_READ)}
            mask = np.ones(shape, bool)
            for index in sorted(looked_at):
                mask &= is_bad(dataset[index], place)
            return mask
    return None


def is_bad(values: NDArray[Any], place: str) -> NDArray[np.bool_]:
    """Which pixels a mask that lies at `place` in a file says are not measured."""
    if values.dtype.kind in "ui":
        bits = _NOT_MEASURED_IN_CXI if place.startswith(_CXI) else ~0
        values = values.astype(np.int64) & bits
    masked: NDArray[np.bool_] = values != 0
    return masked
