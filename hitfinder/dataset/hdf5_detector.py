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

_GROUPS = ("/entry/instrument/detector", "/entry_1/instrument_1/detector_1")

_TO_MM = {"m": 1e3, "meter": 1e3, "metre": 1e3, "mm": 1.0, "um": 1e-3, "µm": 1e-3}
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

MASKS = ("pixel_mask", "detectorSpecific/pixel_mask", "mask")


def read_detector(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Detector:
    """The detector behind frames of `shape` and `dtype`. A mask of another shape is left out, as
    CXI files may have one for each frame. Raises DataFileError.
    """
    with hdf5_file(path) as file:
        group = next((name for name in _GROUPS if name in file), _GROUPS[0])
        numbers = {}
        for field, places, unit, factors in _NUMBERS:
            value = _number(path, file, group, places, unit, factors)
            if value is not None:
                numbers[field] = value
        return Detector(
            shape=shape,
            mask=_mask(file, group, shape),
            underload=0.0 if dtype.kind == "u" else None,
            **numbers,
        )


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
        if name not in file or file[name].size != 1:
            continue
        dataset = file[name]
        value = float(np.asarray(dataset).reshape(-1)[0])
        if factors:
            said = dataset.attrs.get("units", unit)
            said = (said.decode() if isinstance(said, bytes) else str(said)).strip().lower()
            if said not in factors:
                raise DataFileError(
                    f"{path}: {name} is in '{said}'; known units: {', '.join(factors)}"
                )
            value *= factors[said]
        return value if np.isfinite(value) and value != 0 else None
    return None


def _mask(file: Any, group: str, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    for place in MASKS:
        name = f"{group}/{place}"
        if name in file and file[name].shape == shape:
            register_filters()
            masked: NDArray[np.bool_] = np.asarray(file[name]) != 0
            return masked
    return None
