"""A model that goes on when its GPU does not: after failures in a row, the next of its spares.

A GPU that dies in mid-run fails every batch from then on, and CUDA within this process with it;
one whose memory is full for a moment fails some. Three failures in a row tell them apart well
enough, within a blink at 120 Hz, and need no list of NVIDIA's error numbers. Batches that fail
are their owner's to let go; none is scored twice.

What this file does not know: what to make of a move (`moved` is
told), and devices: spares are tried in order.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import HitfinderError
from hitfinder.inference.onnx_model import ModelRunError, OnnxModel

IN_A_ROW = 3
"""Failures that end a model's use."""

Spare = Callable[[], OnnxModel]
"""Loads a model to go on with. Raises HitfinderError."""

Moved = Callable[[OnnxModel, str], None]
"""Hears of a move: the model from now on, and why."""


class LastingModel:
    """Scores with `model`, and with the first of `spares` that loads when that fails for good."""

    def __init__(self, model: OnnxModel, spares: Sequence[Spare], moved: Moved) -> None:
        self._model = model
        self._spares = [cache(spare) for spare in spares]
        self._moved = moved
        self._failures = 0
        self._moving = threading.Lock()
        self._lost: list[OnnxModel] = []
        """Kept for good: ONNX Runtime may abort where it frees what a dead GPU holds."""

    @property
    def device(self) -> Literal["cpu", "cuda"]:
        """Where it runs now."""
        return self._model.device

    @property
    def pads(self) -> bool:
        """As OnnxModel's."""
        return self._model.pads

    @property
    def moves(self) -> int:
        """How often it went on with another: what was measured before holds no more."""
        return len(self._lost)

    def buffer(self, shape: tuple[int, int, int]) -> NDArray[np.float32]:
        """As OnnxModel's."""
        return self._model.buffer(shape)

    def score(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, H, W) float32 → (N,) float32. Raises ModelRunError, also for the batch that makes
        it move.
        """
        model = self._model
        try:
            scores = model.score(batch)
        except ModelRunError as error:
            with self._moving:
                if model is self._model:  # else another thread has moved on from it
                    self._failures += 1
                    if self._failures >= IN_A_ROW:
                        size, rows, cols = batch.shape
                        self._move(str(error), [(size, rows, cols)])
            raise
        self._failures = 0
        return scores

    def warm(self, shapes: Iterable[tuple[int, int, int]]) -> None:
        """Run each (N, H, W) once; a model that cannot is replaced at once by a spare that can, as
        no frame waits. Raises ModelRunError when none can.
        """
        wanted = list(shapes)
        while True:
            model = self._model
            try:
                model.warm(wanted)
            except ModelRunError as error:
                with self._moving:
                    if model is self._model and not self._move(str(error), wanted):
                        raise
            else:
                return

    def _move(self, why: str, wanted: Sequence[tuple[int, int, int]]) -> bool:
        """Go on with the first spare that can run these shapes; False when none can. Those that do
        not load are not tried again.
        """
        for spare in list(self._spares):
            try:
                model = spare()
            except HitfinderError as error:
                self._spares.remove(spare)
                logging.getLogger("hitfinder.model").warning("cannot go on with a spare: %s", error)
                continue
            try:
                model.warm(wanted)
            except ModelRunError:
                continue
            del self._spares[: self._spares.index(spare) + 1]
            lost, self._model, self._failures = self._model, model, 0
            self._lost.append(lost)
            self._moved(model, why)
            return True
        return False
