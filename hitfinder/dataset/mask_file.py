"""A detector's mask from a file, for settings that name one."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.dataset.array_files import read_array
from hitfinder.dataset.frames import plain_payload
from hitfinder.dataset.hdf5_detector import MASKS, is_bad
from hitfinder.dataset.hdf5_file import hdf5_file, register_filters
from hitfinder.dataset.image_files import read_image
from hitfinder.dataset.location import SEPARATOR, Location, parse_location
from hitfinder.errors import DataFileError

_HDF5_PLACES = (
    *(f"/entry/instrument/detector/{name}" for name in MASKS),
    *(f"/entry_1/instrument_1/detector_1/{name}" for name in MASKS),
    "/entry/mask",
    "/mask",
)


def load_mask(path: Path) -> NDArray[np.bool_]:
    """The mask in a NumPy, HDF5 (`file.h5::/path` or a usual place), CBF, TIFF or EDF file.

    Returns bool in the file's shape, (rows, cols) or (modules, rows, cols); True = not measured.
    Nonzero is masked, as in DECTRIS and NeXus; of CXI's bits, what was not measured.

    Raises DataFileError, also when every pixel would be masked.
    """
    location = parse_location(path)
    values = _READERS.get(location.suffix, _read_image)(location)
    mask = values != 0
    if mask.all():
        raise DataFileError(
            f"{path}: masks every pixel; nonzero means masked here: if it marks the good pixels, "
            "invert it"
        )
    return np.ascontiguousarray(mask)


def _read_array(location: Location) -> NDArray[Any]:
    return _checked(location.path, read_array(location.path))


def _read_hdf5(location: Location) -> NDArray[Any]:
    places = _HDF5_PLACES if location.inside is None else (location.inside,)
    with hdf5_file(location.path) as file:
        for place in places:
            if place in file:
                register_filters()
                values = _checked(location.path, np.asarray(file[place]))
                return is_bad(values, file[place].name)
    raise DataFileError(
        f"{location.path}: has no mask at {', '.join(places)}; append '{SEPARATOR}/path/to/mask'"
    )


def _read_image(location: Location) -> NDArray[Any]:
    return read_image(location.path).whole()


def _checked(path: Path, values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype == np.bool_:
        values = values.view(np.uint8)
    return plain_payload(path, values).whole()


_READERS = {
    **dict.fromkeys((".npy", ".npz"), _read_array),
    **dict.fromkeys((".h5", ".hdf5", ".nxs", ".cxi"), _read_hdf5),
}
