"""A stand-in for libcudart: the host's memory in the GPU's place, and what was asked of it."""

import ctypes
from typing import Any

import numpy as np
import onnxruntime as ort


class Runtime:
    """Copies where `status` is 0, and fails with it where it is not."""

    def __init__(self) -> None:
        self.status = 0
        self.locked: dict[int, int] = {}
        self.cleared = 0
        self.copied: list[tuple[int, int]] = []
        """Bytes, and cudaMemcpyKind."""

    def cudaMemcpy(  # noqa: N802  CUDA's name
        self, to: ctypes.c_void_p, source: ctypes.c_void_p, size: ctypes.c_size_t, kind: int
    ) -> int:
        if self.status == 0:
            ctypes.memmove(to, source, size.value)
            self.copied.append((size.value, kind))
        return self.status

    def cudaStreamSynchronize(self, stream: None) -> int:  # noqa: N802
        return self.status

    def cudaGetErrorString(self, status: int) -> bytes:  # noqa: N802
        return b"an illegal memory access was encountered"

    def cudaHostRegister(  # noqa: N802
        self, address: ctypes.c_void_p, size: ctypes.c_size_t, flags: ctypes.c_uint
    ) -> int:
        if self.status == 0:
            assert address.value is not None
            self.locked[address.value] = size.value
        return self.status

    def cudaHostUnregister(self, address: ctypes.c_void_p) -> int:  # noqa: N802
        assert address.value is not None
        del self.locked[address.value]
        return 0

    def cudaGetLastError(self) -> int:  # noqa: N802
        self.cleared += 1
        return self.status


def on_cpu(shape: tuple[int, ...]) -> Any:
    """In place of memory on a GPU."""
    return ort.OrtValue.ortvalue_from_shape_and_type(shape, np.float32)
