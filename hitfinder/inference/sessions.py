"""ONNX Runtime sessions: which options, which device, and why not the one that was wanted.

The only file that starts one, so that a graph computes the same live, in training and in a
benchmark. What it does not know: artifacts, cards, and how a batch reaches the device (`gpu`).
"""

import contextlib
import io
import os
import re
from collections.abc import Iterable
from importlib import metadata
from typing import Any, Literal

# A beamline's frames are nobody's business: the runtime must not report usage to its maker.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from hitfinder.errors import DeviceError

Device = Literal["auto", "cuda", "cpu"]
"""`auto` is CUDA where it starts, and the CPU with a reason where it does not."""

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"

CUDA_OPTIONS = {
    # The default, an exhaustive search for the fastest convolution, stalls for up to a second at
    # every new shape.
    "cudnn_conv_algo_search": "HEURISTIC",
    # Each session has an arena of its own; doubling it at each step is for those who do not warm.
    "arena_extend_strategy": "kSameAsRequested",
}

RIVALS = frozenset({"onnxruntime", "onnxruntime-gpu"})
"""Distributions that install the same files: the one installed last wins, or half of it does."""

FATAL_ONLY = 4
"""ONNX Runtime's log level. Its errors reach us as exceptions or as a session without CUDA, with
their text; its own lines on stderr would only repeat them among the service's log."""

ORT_ERRORS = (
    ort_state.EPFail,
    ort_state.Fail,
    ort_state.InvalidArgument,
    ort_state.InvalidGraph,
    ort_state.InvalidProtobuf,
    ort_state.NoModel,
    ort_state.NotImplemented,
    ort_state.RuntimeException,
    RuntimeError,
    ValueError,
)
"""All that loading or running a graph raises; they share no base but Exception."""

_NVIDIA_SAYS = re.compile(r"[A-Z_]+ failure -?\d+: [^;\n]+")
"""The part for a person of some 700 characters of C++ that the CUDA provider raises."""


def check_distributions(installed: Iterable[str]) -> None:
    """Raises DeviceError when both of ONNX Runtime's distributions are among `installed`."""
    if {each.lower().replace("_", "-") for each in installed} >= RIVALS:
        raise DeviceError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: pip "
            "uninstall -y onnxruntime onnxruntime-gpu, then pip install onnxruntime-gpu"
        )


def cpu_session(graph: bytes, threads: int = 1) -> Any:
    """A session on the CPU; `threads` is for one operator. Raises one of ORT_ERRORS."""
    return _session(graph, threads, [CPU])


def start(
    graph: bytes,
    device: Device,
    threads: int = 1,
    *,
    has_halves: bool = False,
    captures: bool = False,
) -> tuple[Any, str]:
    """A session, and why it is not on CUDA though that was wanted; "" otherwise.

    `has_halves`: the graph computes in float16. `captures`: its runs become CUDA graphs.
    Raises DeviceError for rival distributions, and one of ORT_ERRORS when no device loads it.
    """
    if device == "cpu":
        return cpu_session(graph, threads), ""
    check_distributions(each.metadata["Name"] or "" for each in metadata.distributions())
    if CUDA not in ort.get_available_providers():
        why = "the onnxruntime that is installed has no CUDA support"
        return cpu_session(graph, threads), why
    options = {
        **CUDA_OPTIONS,
        # TF32 cuts float32 to 11 bits in convolutions: a spot on a background of 10 000 is gone,
        # and thresholds are calibrated on the CPU. But without it cuDNN takes no tensor core,
        # for float16 neither.
        "use_tf32": str(int(has_halves)),
        "enable_cuda_graph": str(int(captures)),
    }
    said = io.StringIO()  # absent libraries are reported on stdout, and the CPU is taken
    try:
        with contextlib.redirect_stdout(said):
            if hasattr(ort, "preload_dlls"):
                ort.preload_dlls()
            session = _session(graph, threads, [(CUDA, options), CPU])
    except ORT_ERRORS as error:
        return cpu_session(graph, threads), in_a_line(error)
    if CUDA in session.get_providers():
        return session, ""
    why = in_a_line(said.getvalue()) or "CUDA did not start: no GPU that it can use"
    return cpu_session(graph, threads), why


def in_a_line(error: Exception | str) -> str:
    """What it says, without the C++ around it."""
    text = str(error)
    nvidia_says = _NVIDIA_SAYS.search(text)
    if nvidia_says is not None:
        return nvidia_says.group().strip()
    return text.strip().partition("\n")[0].rstrip(".")


def _session(graph: bytes, threads: int, providers: list[Any]) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = FATAL_ONLY
    # Memory laid out in advance, in a shape's first run, for those that follow: a twentieth to a
    # quarter less time, for up to half as much memory again, and the second run is slow as well.
    # On CUDA, where every size of batch is a shape, it was not measured.
    options.enable_mem_pattern = providers == [CPU]
    # Spinning threads are a little faster, at the cost of a core that the sender may need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    ort.set_default_logger_severity(FATAL_ONLY)
    # Its own fallback to the CPU would be silent: nobody could tell which device judges.
    return ort.InferenceSession(graph, options, providers=providers, enable_fallback=0)
