"""What learns nothing of the diffuse models, run on frames to learn from: each a `Reduce`.

The graphs are those that the models begin with, on the runtime that they run on. What this file
does not know: labels, and what is made of the numbers.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from hitfinder.inference.onnx_model import FATAL_ONLY
from hitfinder.training.networks.colours import COLOURS, picture_graph
from hitfinder.training.networks.texture import CELLS, SIDE, TEXTURES, texture_graph


def textures_of(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images (k, H, W) to textures (k, TEXTURES, CELLS, CELLS)."""
    return _one_by_one(_texture(), images)


def pictures_of(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images (k, H, W) to pictures (k, COLOURS, SIDE, SIDE), for VGG16."""
    return _one_by_one(_picture(), images)


def lessons_of(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images (k, H, W) to both, each frame's picture and texture in one row; `opened` undoes it."""
    both = (pictures_of(images), textures_of(images))
    return np.concatenate([each.reshape(len(images), -1) for each in both], axis=1)


def opened(lessons: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pictures and textures (see above) of k frames."""
    pictures, textures = np.split(lessons, [COLOURS * SIDE * SIDE], axis=1)
    return (
        pictures.reshape(-1, COLOURS, SIDE, SIDE),
        textures.reshape(-1, TEXTURES, CELLS, CELLS),
    )


def _one_by_one(session: Any, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """So that no number depends on how frames are shared out."""
    return np.concatenate([session.run(None, {"image": image[None]})[0] for image in images])


@lru_cache(maxsize=1)
def _texture() -> Any:
    return _session(texture_graph())


@lru_cache(maxsize=1)
def _picture() -> Any:
    return _session(picture_graph())


def _session(graph: bytes) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_mem_pattern = False
    options.log_severity_level = FATAL_ONLY
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
