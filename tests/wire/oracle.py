"""Independent decoders: the HDF5 library with hdf5plugin's filters, fed one raw chunk.

They share no code with `hitfinder.wire`: a chunk of HDF5's bitshuffle and LZ4 filters is byte
for byte what the streams carry.
"""

import struct
from collections.abc import Mapping
from typing import Any

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

_FILTERS: Mapping[str, Mapping[str, Any]] = {
    "bslz4": hdf5plugin.Bitshuffle(cname="lz4"),
    "bszstd": hdf5plugin.Bitshuffle(cname="zstd"),
    "lz4-hdf5": hdf5plugin.LZ4(),
}


def oracle(
    data: bytes | memoryview, encoding: str, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> NDArray[Any]:
    """The pixels that the HDF5 library finds in encoded data."""
    if encoding == "raw":
        return np.frombuffer(data, dtype).reshape(shape)
    if encoding == "lz4":  # the same block behind HDF5's header
        nbytes = int(np.prod(shape)) * dtype.itemsize
        assert len(data) != nbytes, "HDF5 would take the block for a stored one"
        data = struct.pack(">QII", nbytes, nbytes, len(data)) + bytes(data)
        encoding = "lz4-hdf5"
    with h5py.File("oracle", "w", driver="core", backing_store=False) as file:
        dataset = file.create_dataset(
            "data", shape=shape, dtype=dtype, chunks=shape, **_FILTERS[encoding]
        )
        dataset.id.write_direct_chunk((0,) * len(shape), bytes(data))
        return np.asarray(dataset[...])


def pixels(dtype: str, shape: tuple[int, ...], seed: int = 0) -> NDArray[Any]:
    """Pixels that look like a detector's: a few counts, some bright ones, flags at the top."""
    rng = np.random.default_rng(seed)
    frame = rng.poisson(2.0, shape)
    frame[rng.random(shape) < 0.01] = 100
    return frame.astype(dtype)


def noise(dtype: str, shape: tuple[int, ...], seed: int = 0) -> NDArray[Any]:
    """Pixels that no compressor shortens: every block grows."""
    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    data = np.random.default_rng(seed).integers(0, 256, nbytes, np.uint8)
    return data.view(dtype).reshape(shape)
