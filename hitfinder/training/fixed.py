"""What learns nothing of the diffuse models, run on frames to learn from: each a `Reduce`.

The graphs are those that the models begin with, on the runtime that they run on. What this file
does not know: labels, and what is made of the numbers.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.inference.sessions import cpu_session
from hitfinder.training.networks.relief import relief_graph
from hitfinder.training.networks.texture import texture_graph
from hitfinder.training.networks.vgg16 import SIDE


def textures_of(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images (k, H, W) to textures (k, TEXTURES, CELLS, CELLS)."""
    return _one_by_one(_texture(), images)


def reliefs_of(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images (k, H, W) to a relief's features (k, CHANNELS, 224, 224), for VGG16."""
    return _one_by_one(_relief(), images)


def _one_by_one(session: Any, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """So that no number depends on how frames are shared out."""
    return np.concatenate([session.run(None, {"image": image[None]})[0] for image in images])


@lru_cache(maxsize=1)
def _texture() -> Any:
    return cpu_session(texture_graph())


@lru_cache(maxsize=1)
def _relief() -> Any:
    return cpu_session(relief_graph(SIDE))
