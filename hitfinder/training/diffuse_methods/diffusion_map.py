"""Diffusion maps (Coifman & Lafon, Appl. Comput. Harmon. Anal. 21 (2006) 5): frames as points whose
distances are those of a walk from frame to similar frame.

The similarities are made even for how densely frames lie (alpha = 1), each row's sum is made 1, and
the eigenvectors of that matrix, times their eigenvalues, are the coordinates. The first is the same
for all and left out. A map is made of all its frames at once: a further frame needs a further map.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

COORDINATES = 10
"""How many are kept; Su found the classes apart in the 4th and 5th."""


def embedded(
    similarity: NDArray[np.float64], coordinates: int = COORDINATES
) -> NDArray[np.float64]:
    """(n, coordinates) of n frames from their similarities (n, n) > 0, symmetric.

    Raises ValueError when there are too few frames.
    """
    n = len(similarity)
    if n <= coordinates:
        raise ValueError(f"{n} frames are too few for a map of {coordinates} coordinates")
    density = similarity.sum(axis=1)
    even = similarity / density[:, None] / density[None, :]
    rows = np.sqrt(even.sum(axis=1))
    # Symmetric, with the eigenvalues of the matrix whose rows sum to 1.
    values, vectors = eigh(
        even / rows[:, None] / rows[None, :], subset_by_index=(n - 1 - coordinates, n - 1)
    )
    psi = vectors[:, ::-1] / rows[:, None]
    psi /= psi[:, :1]  # the first becomes 1 everywhere
    points: NDArray[np.float64] = psi[:, 1:] * values[::-1][1:]
    return points
