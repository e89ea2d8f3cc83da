"""An artifact in memory: from a batch of pixels to scores, on a device that is really in use.

The graph is the whole model: input `image` (N, H, W) float32 with NaN = no measurement, output
`score` (N,) float32, further outputs as the card says. What this file does not know: where the
pixels come from, thresholds, and when to run (`batcher`).
"""

import contextlib
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np

# A beamline's frames are nobody's business: the runtime must not report usage to its maker.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from hitfinder.errors import ArtifactError, DeviceError, HitfinderError
from hitfinder.inference.model_card import GRAPH, ModelCard, read_artifact

Device = Literal["auto", "cuda", "cpu"]
"""`auto` is CUDA where it starts, and the CPU with a reason where it does not."""

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"

PROVIDERS: dict[Device, list[str | tuple[str, dict[str, str]]]] = {
    "cpu": [CPU],
    # The default, an exhaustive search for the fastest convolution, stalls for up to a second at
    # every new shape.
    "cuda": [(CUDA, {"cudnn_conv_algo_search": "HEURISTIC"}), CPU],
}
PROVIDERS["auto"] = PROVIDERS["cuda"]

REMEDY = "pip install 'hitfinder[cuda]' (and an NVIDIA driver), or set device = \"cpu\""

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


class ModelRunError(HitfinderError):
    """The model failed on a batch; its frames go on unjudged."""


def check_distributions(installed: Iterable[str]) -> None:
    """Raises DeviceError when both of ONNX Runtime's distributions are among `installed`."""
    if {each.lower().replace("_", "-") for each in installed} >= RIVALS:
        raise DeviceError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: pip "
            "uninstall -y onnxruntime onnxruntime-gpu, then pip install onnxruntime-gpu"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxModel:
    """A verified model in a running session. Made by `load`.

    `device` is the one in use, "cpu" or "cuda"; `fell_back` says whether `auto` wanted CUDA and
    did not get it, `why` for what reason (empty otherwise).
    """

    card: ModelCard
    device: Literal["cpu", "cuda"]
    fell_back: bool
    why: str
    _session: Any = field(repr=False)

    @classmethod
    def load(cls, folder: Path, device: Device = "auto", threads: int = 1) -> "OnnxModel":
        """The model in `folder`, its card checked against its graph.

        `threads` is for one operator on the CPU. One leaves the other cores to receiving and
        decoding; more pay off for whole frames only.
        Raises ArtifactError, and DeviceError when `cuda` is asked for and does not start.
        """
        card, graph = read_artifact(folder)
        if device != "cpu":
            check_distributions(each.metadata["Name"] or "" for each in metadata.distributions())
        session, said = _start(graph, folder, device, threads)
        _check_interface(session, folder)
        on_cuda = CUDA in session.get_providers()
        why = "" if on_cuda or device == "cpu" else _why_no_cuda(said)
        if device == "cuda" and not on_cuda:
            raise DeviceError(f"device is cuda, but {why}: {REMEDY}")
        return cls(
            card=card,
            device="cuda" if on_cuda else "cpu",
            fell_back=bool(why),
            why=why,
            _session=session,
        )

    def score(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, H, W) float32 → (N,) float32. Raises ModelRunError."""
        return self._run(["score"], batch)[0]

    def outputs(self, batch: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """Every output of the graph by name, `score` included. Raises ModelRunError."""
        names = [each.name for each in self._session.get_outputs()]
        return dict(zip(names, self._run(names, batch), strict=True))

    def warm(self, shapes: Iterable[tuple[int, int, int]]) -> None:
        """Run each (N, H, W) once: the first time of a shape costs memory, and on CUDA up to a
        second. On a CPU, where frames run one by one, N does not matter. Raises ModelRunError.
        """
        if self.device == "cpu":
            shapes = dict.fromkeys((1, rows, cols) for _, rows, cols in shapes)
        for shape in shapes:
            self.score(np.zeros(shape, np.float32))

    def _run(self, names: list[str], batch: NDArray[np.float32]) -> list[NDArray[Any]]:
        # On a CPU frame by frame: the maps of one stay in the cache, those of eight take up to half
        # as long again each. Batches are for GPUs.
        parts = list(batch[:, np.newaxis]) if self.device == "cpu" else [batch]  # (1, H, W) each
        try:
            runs = [self._session.run(names, {"image": part}) for part in parts]
            return [np.concatenate(each) for each in zip(*runs, strict=True)]
        except ORT_ERRORS as error:
            raise ModelRunError(
                f"model {self.card.name} failed on a batch of shape {batch.shape} on "
                f"{self.device}: {_first_line(str(error))}"
            ) from error


def _start(graph: bytes, folder: Path, device: Device, threads: int) -> tuple[Any, str]:
    """A session, and what the runtime printed meanwhile: it reports absent libraries on stdout
    and goes on with the CPU.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = FATAL_ONLY
    # Memory laid out in advance for each shape makes a shape's second run as slow as its first
    # and takes half as much memory again; once warm, it gains nothing.
    options.enable_mem_pattern = False
    # Spinning threads are a little faster, at the cost of a core that the sender may need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    ort.set_default_logger_severity(FATAL_ONLY)
    available = ort.get_available_providers()
    wanted = [
        each
        for each in PROVIDERS[device]
        if (each if isinstance(each, str) else each[0]) in available
    ]
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            if wanted != [CPU] and hasattr(ort, "preload_dlls"):
                ort.preload_dlls()
            session = ort.InferenceSession(graph, options, providers=wanted)
    except ORT_ERRORS as error:
        raise ArtifactError(
            f"{folder / GRAPH} cannot be loaded: {_first_line(str(error))}; it needs a newer "
            "onnxruntime, or was damaged before its card was written"
        ) from error
    return session, said.getvalue()


def _check_interface(session: Any, folder: Path) -> None:
    """Raises ArtifactError when the graph is no hitfinder model."""
    inputs = [(each.name, each.type, len(each.shape)) for each in session.get_inputs()]
    outputs = {each.name: each.type for each in session.get_outputs()}
    if inputs != [("image", "tensor(float)", 3)] or outputs.get("score") != "tensor(float)":
        raise ArtifactError(
            f"{folder / GRAPH} takes {inputs} and gives {sorted(outputs)}; a model takes `image` "
            "float32 (N, H, W) and gives `score` float32 (N,)"
        )


def _why_no_cuda(said: str) -> str:
    if CUDA not in ort.get_available_providers():
        return "the onnxruntime that is installed has no CUDA support"
    return _first_line(said) or "CUDA did not start: no GPU that it can use"


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].rstrip(".")
