"""Batches on their way to a CUDA device and scores on their way back: one copy each.

Every shape has its own place in the GPU's memory, bound to the session once; a batch is copied
there and nothing else moves. Where the batch lies in page-locked memory, the GPU fetches it by
itself at the full speed of the bus; from other memory the driver copies it twice.

Both copies are calls of the CUDA runtime, not of ONNX Runtime, whose own hold Python's lock while
they wait: a GPU that hangs would stop every thread, and cost frames instead of judgements.

Threads take turns. Without a GPU `page_locked` gives ordinary memory. What this file does not know:
models, and what is in a batch.
"""

import ctypes
import logging
import math
import mmap
import threading
import weakref
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

MOST_SHAPES = 16
"""Shapes that keep their place; with six sizes of batch, those of two regions and some more."""

DEVICE_ID = 0
"""The first GPU that the process sees: CUDA_VISIBLE_DEVICES chooses another."""

TO_GPU, TO_HOST = 1, 2
"""cudaMemcpyKind."""

NO_CAPTURE = "-1"
"""`gpu_graph_id` of a run that is no CUDA graph."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where batches of one shape and their scores lie on the GPU."""

    image: Any
    score: Any
    binding: Any
    options: Any


class Uploads:
    """A session's batches on the GPU. With `captures` the runs of each shape are one CUDA graph:
    ONNX Runtime records it at a shape's first run, anew in every thread, and replays it then.
    """

    def __init__(self, session: Any, *, captures: bool) -> None:
        self._session = session
        self._captures = captures
        self._places: dict[tuple[int, ...], Place] = {}
        self._one_at_a_time = threading.Lock()
        self._next_graph = 1
        self.plain_run = _run_options(NO_CAPTURE)
        """Options of a run on other addresses: never captured."""

    def score(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, H, W) → (N,). Raises one of ORT_ERRORS. Threads wait for one another: a shape has
        one place.
        """
        with self._one_at_a_time:
            place = self._places.get(batch.shape) or self._place(batch.shape)
            _copy(place.image, np.ascontiguousarray(batch, np.float32), TO_GPU)
            self._session.run_with_iobinding(place.binding, place.options)
            scores = np.empty(batch.shape[:1], np.float32)
            _copy(place.score, scores, TO_HOST)
        return scores

    def _place(self, shape: tuple[int, ...]) -> Place:
        if len(self._places) >= MOST_SHAPES:
            del self._places[next(iter(self._places))]
        image = _on_gpu(shape)
        score = _on_gpu(shape[:1])
        binding = self._session.io_binding()
        binding.bind_ortvalue_input("image", image)
        binding.bind_ortvalue_output("score", score)
        # A number of its own, never used again: a graph is tied to its addresses.
        options = _run_options(str(self._next_graph)) if self._captures else self.plain_run
        self._next_graph += 1
        place = Place(image=image, score=score, binding=binding, options=options)
        self._places[shape] = place
        return place


def page_locked(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Memory for a batch, page-locked where CUDA allows it, all zeros; it is unlocked when the
    last view of it is gone. Raises MemoryError.

    ONNX Runtime's own page-locked allocator can be had in Python from 1.26 on, and only for a
    CUDA provider loaded as a plug-in; the CUDA runtime under it does the same for every version.
    """
    size = max(1, math.prod(shape)) * 4
    try:
        pages = mmap.mmap(-1, size)  # shares no page with anything else
    except OSError as error:
        raise MemoryError(f"no {size} bytes for a batch of shape {shape}: {error}") from error
    memory = np.frombuffer(pages, np.float32)
    runtime = _cuda_runtime()
    if runtime is not None:
        address = ctypes.c_void_p(memory.ctypes.data)
        status = runtime.cudaHostRegister(address, ctypes.c_size_t(memory.nbytes), ctypes.c_uint(0))
        if status == 0:
            unlock = weakref.finalize(memory, runtime.cudaHostUnregister, address)
            unlock.atexit = False
        else:
            runtime.cudaGetLastError()  # else the next kernel's launch is blamed for it
            logging.getLogger("hitfinder.gpu").warning(
                "CUDA locks no memory (error %d): batches reach the GPU more slowly", status
            )
    return memory[: math.prod(shape)].reshape(shape)


@lru_cache(maxsize=1)
def _cuda_runtime() -> ctypes.CDLL | None:
    """The library that ONNX Runtime has loaded, by its name."""
    major = str(getattr(ort, "cuda_version", "")).partition(".")[0]
    try:
        runtime = ctypes.CDLL(f"libcudart.so.{major}")
    except OSError:
        return None
    runtime.cudaGetErrorString.restype = ctypes.c_char_p
    return runtime


def _copy(there: Any, here: NDArray[np.float32], kind: int) -> None:
    """Between a value on the GPU and memory of the same size; it has arrived on return. Raises
    RuntimeError.
    """
    runtime = _cuda_runtime()
    if runtime is None:
        raise RuntimeError("the CUDA runtime that ONNX Runtime uses cannot be found")
    ends = (there.data_ptr(), here.ctypes.data)
    to, source = ends if kind == TO_GPU else reversed(ends)
    status = runtime.cudaMemcpy(
        ctypes.c_void_p(to), ctypes.c_void_p(source), ctypes.c_size_t(here.nbytes), kind
    )
    # From memory that is not page-locked, the last part may still be on its way.
    status = status or runtime.cudaStreamSynchronize(None)
    if status:
        said = runtime.cudaGetErrorString(status) or b"unknown error"
        raise RuntimeError(f"CUDA failure {status}: {said.decode(errors='replace')}")


def _on_gpu(shape: tuple[int, ...]) -> Any:
    return ort.OrtValue.ortvalue_from_shape_and_type(shape, np.float32, "cuda", DEVICE_ID)


def _run_options(graph_id: str) -> Any:
    options = ort.RunOptions()
    options.add_run_config_entry("gpu_graph_id", graph_id)
    return options
