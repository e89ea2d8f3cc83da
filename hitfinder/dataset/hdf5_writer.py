"""Series to NeXus-like HDF5 that this room, DECTRIS tools and CrystFEL can read.

One chunk a frame, bitshuffle-LZ4: a payload that has this encoding already is written as it is,
any other is compressed by HDF5. The file appears under its name when it is complete; until then
it is `NAME.partial`.

    /entry/data/data                        (n, rows, cols) or (n, modules, rows, cols)
    /entry/instrument/detector/...          geometry; detectorSpecific/pixel_mask, saturation_value
    /entry/instrument/beam/incident_wavelength
    /entry/truth/hit                        (n,) int8: 1 hit, 0 miss, -1 ambiguous, -2 not said
    /entry/truth/tier                       (n,) int8: 2 strong, 1 weak hit, 0 not said
    /entry/truth/artefacts                  (n,) text: names, separated by commas
    /entry/truth/diffuse                    (n,) int8: 1 diffuse, 0 not, -1 not said
    /entry/truth/diffuse_strength           (n,) float32: anisotropic part / background, if said
    /entry/truth/spots                      (m, 5) float32: frame, x_px, y_px, snr, photons
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hitfinder.dataset.frames import DIFFUSE_CODES, TIER_CODES, TRUTH_CODES, Label
from hitfinder.dataset.hdf5_file import register_filters
from hitfinder.dataset.hdf5_reader import ARTEFACTS, BITSHUFFLE, DIFFUSE, TIER, TRUTH
from hitfinder.errors import DataFileError
from hitfinder.frame import Detector, Payload

SPOTS = "/entry/truth/spots"
DIFFUSE_STRENGTH = "/entry/truth/diffuse_strength"
SPOT_COLUMNS = ("frame", "x_px", "y_px", "snr", "photons")
_UNSAID = -2
_DIFFUSE_UNSAID = -1
_LZ4_OPTIONS = (0, 2)  # block size by the library, LZ4

# field of Detector, place, factor from the field's unit, unit in the file
_NUMBERS = (
    ("beam_x_px", "/entry/instrument/detector/beam_center_x", 1.0, "pixel"),
    ("beam_y_px", "/entry/instrument/detector/beam_center_y", 1.0, "pixel"),
    ("pixel_x_mm", "/entry/instrument/detector/x_pixel_size", 1e-3, "m"),
    ("pixel_y_mm", "/entry/instrument/detector/y_pixel_size", 1e-3, "m"),
    ("distance_mm", "/entry/instrument/detector/detector_distance", 1e-3, "m"),
    ("saturation", "/entry/instrument/detector/saturation_value", 1.0, "counts"),
    ("wavelength_angstrom", "/entry/instrument/beam/incident_wavelength", 1.0, "angstrom"),
)


class SeriesWriter:
    """Takes a series' frames one after another; made by `series_writer`."""

    def __init__(self, dataset: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._dataset = dataset
        self._shape = shape
        self._dtype = dtype
        self.labels: list[Label | None] = []
        self.spots: list[NDArray[np.float32]] = []
        self.diffuse_strengths: list[float] = []

    def add(
        self,
        payload: Payload,
        *,
        label: Label | None = None,
        spots: NDArray[np.float32] | None = None,
        diffuse_strength: float = 0.0,
    ) -> None:
        """Append a frame, its label, its true spots: (k, 4) of `SPOT_COLUMNS[1:]`, and how strong
        its diffuse scattering is.

        Raises DataFileError when shape or dtype are not the series', and PayloadError.
        """
        if payload.shape != self._shape or payload.dtype != self._dtype:
            raise DataFileError(
                f"{self._dataset.file.filename}: takes frames {self._shape} {self._dtype}, got "
                f"{payload.shape} {payload.dtype}; write them to a file of their own"
            )
        index = len(self.labels)
        self._dataset.resize(index + 1, axis=0)
        if payload.encoding == "bslz4":
            origin = (index, *(0 for _ in self._shape))
            self._dataset.id.write_direct_chunk(origin, payload.data)
        else:
            self._dataset[index] = payload.whole()
        self.labels.append(label)
        self.diffuse_strengths.append(diffuse_strength)
        if spots is not None and len(spots):
            numbers = np.full((len(spots), 1), index, np.float32)
            self.spots.append(np.hstack([numbers, spots]).astype(np.float32))


@contextmanager
def series_writer(
    path: Path, *, shape: tuple[int, ...], dtype: np.dtype[Any], detector: Detector
) -> Iterator[SeriesWriter]:
    """A writer of frames of `shape` and `dtype` to a new file; an old one is replaced.

    Raises DataFileError when the file cannot be written.
    """
    register_filters()
    partial = path.with_name(path.name + ".partial")
    try:
        with h5py.File(partial, "w") as file:
            dataset = file.create_dataset(
                "/entry/data/data",
                shape=(0, *shape),
                maxshape=(None, *shape),
                chunks=(1, *shape),
                dtype=dtype,
                compression=BITSHUFFLE,
                compression_opts=_LZ4_OPTIONS,
            )
            _write_detector(file, detector)
            writer = SeriesWriter(dataset, shape, dtype)
            yield writer
            _write_truth(file, writer)
        partial.replace(path)
    except (OSError, RuntimeError) as error:
        raise DataFileError(
            f"{path}: cannot be written ({error}); check the folder, its permissions and space"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _write_detector(file: Any, detector: Detector) -> None:
    for name, kind in (("", "NXentry"), ("/instrument", "NXinstrument"), ("/data", "NXdata")):
        file.require_group(f"/entry{name}").attrs["NX_class"] = kind
    file.require_group("/entry/instrument/detector").attrs["NX_class"] = "NXdetector"
    file["/entry/data"].attrs["signal"] = "data"
    for field, place, factor, unit in _NUMBERS:
        value = getattr(detector, field)
        if value is not None:
            file[place] = value * factor
            file[place].attrs["units"] = unit
    if detector.mask is not None:
        file.create_dataset(
            "/entry/instrument/detector/detectorSpecific/pixel_mask",
            data=detector.mask.astype(np.uint32),
            compression="gzip",
        )


def _write_truth(file: Any, writer: SeriesWriter) -> None:
    labels = writer.labels
    if any(label is not None for label in labels):
        file[TRUTH] = np.array(
            [_UNSAID if label is None else TRUTH_CODES[label.truth] for label in labels], np.int8
        )
        file[TIER] = np.array(
            [
                0 if label is None or label.tier is None else TIER_CODES[label.tier]
                for label in labels
            ],
            np.int8,
        )
        file[ARTEFACTS] = [",".join(label.artefacts) if label else "" for label in labels]
    diffuse = [None if label is None else label.diffuse for label in labels]
    if any(said is not None for said in diffuse):
        codes = [_DIFFUSE_UNSAID if said is None else DIFFUSE_CODES[said] for said in diffuse]
        file[DIFFUSE] = np.array(codes, np.int8)
        file[DIFFUSE_STRENGTH] = np.array(writer.diffuse_strengths, np.float32)
    if writer.spots:
        file[SPOTS] = np.vstack(writer.spots)
        file[SPOTS].attrs["columns"] = list(SPOT_COLUMNS)
