"""An artifact in memory: from a batch of pixels to scores, on a device that is really in use.

The graph is the whole model: input `image` (N, H, W) float32 with NaN = no measurement, output
`score` (N,) float32, further outputs as the card says. What this file does not know: where the
pixels come from, thresholds, and when to run (`batcher`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import ArtifactError, DeviceError, HitfinderError
from hitfinder.inference.gpu import Uploads, page_locked
from hitfinder.inference.model_card import BINNED, GRAPH, ModelCard, read_artifact
from hitfinder.inference.sessions import CUDA, ORT_ERRORS, Device, in_a_line, start

REMEDY = "in the checkout, pip install '.[cuda]' (and an NVIDIA driver), or set device = \"cpu\""


class ModelRunError(HitfinderError):
    """The model failed on a batch; its frames go on unjudged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxModel:
    """A verified model in a running session, for any number of threads. Made by `load`.

    `device` is the one in use, "cpu" or "cuda"; `fell_back` says whether `auto` wanted CUDA and
    did not get it, `why` for what reason (empty otherwise). `no_capture` says why the runs are no
    CUDA graphs though that was wanted. `binned` says whether batches hold bins of the card's
    `binning`, rather than pixels.
    """

    card: ModelCard
    device: Literal["cpu", "cuda"]
    fell_back: bool
    why: str
    no_capture: str
    binned: bool
    _session: Any = field(repr=False)
    _uploads: Uploads | None = field(repr=False)

    @classmethod
    def load(
        cls,
        folder: Path,
        device: Device = "auto",
        threads: int = 1,
        *,
        captures: bool = False,
        binned: bool = False,
    ) -> "OnnxModel":
        """The model in `folder`, its card checked against its graph.

        `threads` is for one operator on the CPU. One leaves the other cores to receiving and
        decoding; more pay off for whole frames only. `captures` makes CUDA graphs of the runs,
        where the graph allows it. `binned` takes bins where the card says that it can.
        Raises ArtifactError, and DeviceError when `cuda` is asked for and does not start.
        """
        card, graph = read_artifact(folder)
        has_halves = card.precision == "fp16"
        no_capture = ""
        try:
            session, why = start(graph, device, threads, has_halves=has_halves, captures=captures)
            if captures and why:
                # Nodes on the CPU, or no CUDA at all: without capture it may start.
                no_capture = why
                session, why = start(graph, device, threads, has_halves=has_halves)
        except ORT_ERRORS as error:
            raise ArtifactError(
                f"{folder / GRAPH} cannot be loaded: {in_a_line(error)}; it needs a newer "
                "onnxruntime, or was damaged before its card was written"
            ) from error
        _check_interface(session, card, folder)
        on_cuda = CUDA in session.get_providers()
        if device == "cuda" and not on_cuda:
            raise DeviceError(f"device is cuda, but {why}: {REMEDY}")
        captures = captures and on_cuda and not no_capture
        binned = binned and card.binning > 1
        return cls(
            card=card,
            device="cuda" if on_cuda else "cpu",
            fell_back=bool(why),
            why=why,
            no_capture=no_capture if on_cuda else "",
            binned=binned,
            _session=session,
            # An optional input cannot be bound; bins are few, and go up with every run.
            _uploads=Uploads(session, captures=captures) if on_cuda and not binned else None,
        )

    @property
    def pads(self) -> bool:
        """Whether a new N costs it time: CUDA prepares for each; a CPU runs frames one by one."""
        return self.device == "cuda"

    def buffer(self, shape: tuple[int, int, int]) -> NDArray[np.float32]:
        """Memory (N, H, W) to put batches into: the fastest to upload from."""
        return np.empty(shape, np.float32) if self._uploads is None else page_locked(shape)

    def score(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, H, W) float32 → (N,) float32. Raises ModelRunError."""
        try:
            scores: NDArray[np.float32] = (
                self._one_by_one(["score"], batch)[0]
                if self._uploads is None
                else self._uploads.score(batch)
            )
        except ORT_ERRORS as error:
            raise self._failed(batch, error) from error
        if scores.shape != batch.shape[:1]:
            raise ModelRunError(
                f"model {self.card.name} gave scores of shape {scores.shape} for a batch of shape "
                f"{batch.shape}: one for each image is wanted; the graph needs mending"
            )
        return scores

    def outputs(self, batch: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """Every output of the graph by name, `score` included. Raises ModelRunError."""
        names = [each.name for each in self._session.get_outputs()]
        try:
            results = (
                self._one_by_one(names, batch)
                if self._uploads is None
                else self._session.run(names, self._fed(batch), self._uploads.plain_run)
            )
        except ORT_ERRORS as error:
            raise self._failed(batch, error) from error
        return dict(zip(names, results, strict=True))

    def warm(self, shapes: Iterable[tuple[int, int, int]]) -> None:
        """Run each (N, H, W) once: the first time of a shape costs memory, and on CUDA up to a
        second. On a CPU, where frames run one by one, N does not matter. Raises ModelRunError.
        """
        if self.device == "cpu":
            shapes = dict.fromkeys((1, rows, cols) for _, rows, cols in shapes)
        for shape in shapes:
            self.score(np.zeros(shape, np.float32))

    def _one_by_one(self, names: list[str], batch: NDArray[np.float32]) -> list[NDArray[Any]]:
        """On a CPU: the maps of one frame stay in the cache, those of eight take up to half as long
        again each.
        """
        if len(batch) == 1:
            results: list[NDArray[Any]] = self._session.run(names, self._fed(batch))
            return results
        images = batch[:, np.newaxis]  # N of (1, H, W)
        runs = [self._session.run(names, self._fed(image)) for image in images]
        return [np.concatenate(each) for each in zip(*runs, strict=True)]

    def _fed(self, batch: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        fed: dict[str, NDArray[Any]] = {"image": batch}
        return fed | {BINNED: np.array(True)} if self.binned else fed

    def _failed(self, batch: NDArray[np.float32], error: Exception) -> ModelRunError:
        return ModelRunError(
            f"model {self.card.name} failed on a batch of shape {batch.shape} on {self.device}: "
            f"{in_a_line(error)}"
        )


def _check_interface(session: Any, card: ModelCard, folder: Path) -> None:
    """Raises ArtifactError when the graph is no hitfinder model, or not the one on its card."""
    inputs = [(each.name, each.type, len(each.shape)) for each in session.get_inputs()]
    outputs = {each.name: each.type for each in session.get_outputs()}
    if inputs != [("image", "tensor(float)", 3)] or outputs.get("score") != "tensor(float)":
        raise ArtifactError(
            f"{folder / GRAPH} takes {inputs} and gives {sorted(outputs)}; a model takes `image` "
            "float32 (N, H, W) and gives `score` float32 (N,)"
        )
    optional = {each.name: each.type for each in session.get_overridable_initializers()}
    if card.binning > 1 and optional.get(BINNED) != "tensor(bool)":
        raise ArtifactError(
            f"{folder / GRAPH} has no optional input `{BINNED}`, a bool, and its card says binning "
            f"{card.binning}; take that out of the card, or write the graph with it"
        )
