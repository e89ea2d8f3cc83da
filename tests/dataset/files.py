"""Small data files of every format, made when a test asks for them."""

from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from hitfinder.dataset.series import open_series


def counts(*shape: int, seed: int = 1) -> NDArray[np.uint16]:
    """Photon counts of a quiet detector."""
    return np.random.default_rng(seed).poisson(1.5, shape).astype(np.uint16)


def read_all(path: Path | str) -> NDArray[Any]:
    """All frames of the only series that a path holds."""
    (series,) = open_series([Path(path)])
    for frame in series.frames:
        payload = frame.load()
        assert payload.shape == series.shape
        assert payload.dtype == series.dtype
    return np.stack([frame.load().whole() for frame in series.frames])


def write_hdf5(path: Path, **datasets: Any) -> Path:
    """HDF5 with plain datasets; `/` in a name is written `__`."""
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name.replace("__", "/")] = values
    return path


# How a dataset of (n, rows, cols) may be stored, and the encoding that its frames then have.
LAYOUTS: dict[str, tuple[dict[str, Any], str]] = {
    "contiguous": ({}, "raw"),
    "chunk-a-frame": ({"chunks": True}, "raw"),
    "bitshuffle-lz4": ({"chunks": True, **hdf5plugin.Bitshuffle()}, "bslz4"),
    "bitshuffle-zstd": ({"chunks": True, **hdf5plugin.Bitshuffle(cname="zstd")}, "bszstd"),
    "lz4": ({"chunks": True, **hdf5plugin.LZ4()}, "lz4-hdf5"),
    "bitshuffle-only": ({"chunks": True, **hdf5plugin.Bitshuffle(cname="none")}, "raw"),
    "gzip-shuffle": ({"chunks": True, "compression": "gzip", "shuffle": True}, "raw"),
    "zstd": ({"chunks": True, **hdf5plugin.Zstd()}, "raw"),
    "blosc": ({"chunks": True, **hdf5plugin.Blosc()}, "raw"),
    "blosc2": ({"chunks": True, **hdf5plugin.Blosc2()}, "raw"),
    "lzf": ({"chunks": True, "compression": "lzf"}, "raw"),
    "two-filters": ({"chunks": True, "fletcher32": True, **hdf5plugin.Bitshuffle()}, "raw"),
}


def write_stack(path: Path, frames: NDArray[Any], layout: str, place: str = "data") -> Path:
    """`frames` as one dataset in a layout of `LAYOUTS`."""
    options = dict(LAYOUTS[layout][0])
    if options.get("chunks"):
        options["chunks"] = (1, *frames.shape[1:])
    with h5py.File(path, "w") as file:
        file.create_dataset(place, data=frames, **options)
    return path
