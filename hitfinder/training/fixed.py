"""What learns nothing of the diffuse models, run on frames to learn from: each a `Reduce`.

The graphs are those that the models begin with, on the runtime that they run on. What this file
does not know: labels, and what is made of the numbers.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.inference.sessions import cpu_session
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
    return cpu_session(texture_graph())


@lru_cache(maxsize=1)
def _picture() -> Any:
    return cpu_session(picture_graph())
