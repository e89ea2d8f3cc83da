"""What is left of a frame without its spots and its round background: the first half of every
diffuse model, as a graph of fixed arithmetic in which nothing is learned.

    image (N, H, W) → heights (N, 1, side, side), spots left out (`pools`) → less the radial mean
    → in units of the noise, and of the background

The beam's centre, about which the background is round, is not told: it is where the lines along
the background's slopes meet, in the sense of least squares, with slopes that point elsewhere
(edges of shadows, crystals) weighted down again and again. So it is found outside the image, too,
as for one module of many, and where there are no slopes to speak of it is the image's middle.

Gain, offset and unit cancel: heights are given in units of the noise around, and of the spread of
the background over the frame.

Training runs the same arithmetic, in no second language (`textures_of`, `pictures_of` in `fixed`).
What this file does not know: what a relief means, resolution, polarisation.
"""

import numpy as np
from numpy.typing import NDArray

from hitfinder.training.networks.pools import CUT, hats, heights_of
from hitfinder.training.onnx_graph import Graph

SLOPES = 56
"""Side of the map whose slopes tell the centre."""

PULLS = 4
"""Times that the centre is found; after each, slopes that point elsewhere count less."""

NEAR = 3.0
"""In its pixels: so near the centre, directions mean little."""

TO_MIDDLE = 3e-3
"""How firmly the centre is held to the image's middle, as a share of what the slopes weigh."""

BINS = 64
"""Radii at which the mean is taken; linear in between."""

FINE = 8
"""Bins in a coarse one."""

NOISE_SHARE = 16
"""Of the square's side: a block over which noise is measured."""

FLAT_SHARE = 8
"""Of the square's side: a block whose mean, linear in between, is taken off for the first channel;
what polarisation and shadows do is wider."""

LEAST_NOISE = 0.1
"""Of the frame's mean: where all is 0, nothing stands out infinitely far."""

ROUNDING = 1e-5
"""Least noise as a share of the heights: finer differences are float32's own."""

HIGHEST = 8.0
"""Noises beyond which heights are drawn together."""

BROADEST = 1.0
"""Height in units of the background's spread at which that channel ends."""

CHANNELS = 4


def relief(g: Graph, side: int) -> str:
    """Add the arithmetic to a graph with the input `image`; the name of its (N, CHANNELS, side,
    side): heights above the surroundings, and heights above the radial mean, both in units of the
    noise and drawn together beyond HIGHEST; the latter in units of the background's spread; and 1
    where measured. All are 0 where not.
    """
    heights, there = heights_of(g, side)
    centre = _centre(g, heights, there, side)
    background, spread = _round(g, heights, there, centre, side)
    left = g.op("Mul", g.op("Sub", heights, background), there)
    noise = _noise(g, left, heights, there, side)
    flat = g.op("Sub", left, _mean_around(g, left, there, side, FLAT_SHARE))
    channels = [
        bounded(g, g.op("Mul", g.op("Div", each, noise), there), HIGHEST) for each in (flat, left)
    ]
    channels.append(g.op("Clip", g.op("Div", left, spread), -BROADEST, BROADEST))
    return g.op("Concat", *channels, there, axis=1)


def bounded(g: Graph, maps: str, highest: float) -> str:
    """Maps x as x / (1 + |x| / highest): as it is for small ones, `highest` at most."""
    return g.op("Div", maps, g.op("Add", g.op("Mul", g.op("Abs", maps), 1 / highest), 1.0))


def _grid(side: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Maps (1, 1, side, side) of x and y, from the middle, the square's half side being 1."""
    at = (2 * np.arange(side, dtype=np.float32) + 1 - side) / np.float32(side)
    y, x = np.meshgrid(at, at, indexing="ij")
    return x[None, None], y[None, None]


def _centre(g: Graph, heights: str, there: str, side: int) -> tuple[str, str]:
    """The background's centre, x and y (N, 1, 1, 1), in half sides from the middle.

    A slope (gx, gy) at (x, y) points along the line to the centre (cx, cy), rising or falling,
    where gx (y - cy) - gy (x - cx) = 0; the weighted squares of that are made least.
    """
    weight, mean = _folded(g, there, side), _folded(g, heights, side)
    bell = _bell(4, 1.5)
    known = _both_ways(g, weight, bell)
    level = g.op("Div", _both_ways(g, mean, bell), g.op("Max", known, 1e-3))
    enough = g.number(g.op("Greater", known, 0.4))

    def seen(maps: str, row: int, col: int) -> str:
        return g.shift(maps, 1, row, col)

    slopes = [
        g.op("Sub", seen(level, row, col), seen(level, -row, -col)) for row, col in ((0, 1), (1, 0))
    ]
    ok = seen(enough, 0, 1)
    for row, col in ((0, -1), (1, 0), (-1, 0)):
        ok = g.op("Mul", ok, seen(enough, row, col))
    steep = g.op("Mul", g.op("Sqrt", g.op("Add", *(g.op("Mul", s, s) for s in slopes))), ok)
    number = g.op("Max", _total(g, ok), 1.0)
    typical = g.op("Div", _total(g, steep), number)
    bounded = g.op("Min", steep, g.op("Mul", typical, 3.0))
    typical = g.op("Add", g.op("Div", _total(g, bounded), number), 1e-25)
    scale = g.op("Div", 1.0, g.op("Add", steep, typical))
    gx, gy = (g.op("Mul", slope, scale) for slope in slopes)
    first = g.op("Mul", ok, g.op("Mul", steep, scale))
    return _met(g, *(g.op("Reshape", each, g.ints(0, 1, -1)) for each in (gx, gy, first)))


def _met(g: Graph, gx: str, gy: str, first: str) -> tuple[str, str]:
    """Where lines meet in the sense of least squares, x and y (N, 1, 1, 1): through each place of
    the slopes' map, along (gx, gy), as heavy as `first` says; all (N, 1, places).
    """
    x, y = (each[0, :, 1:-1, 1:-1].reshape(1, 1, -1) for each in _grid(SLOPES))
    at = g.constant(np.concatenate([x, y], axis=1))  # (1, 2, places)
    normal = g.op("Concat", gy, g.op("Neg", gx), axis=1)  # of each line, (N, 2, places)
    aside = _sum(g, g.op("Mul", normal, at))  # of the middle, (N, 1, places)
    sides = g.op("Transpose", g.op("Concat", normal, aside, axis=1), perm=(0, 2, 1))
    weights, near, centre = first, 2 * NEAR / SLOPES, ""
    for turn in range(PULLS):
        # [[a, b, p], [b, c, q]] with [a b; b c] centre = (p, q).
        sums = g.op("MatMul", g.op("Mul", normal, weights), sides)
        centre = _solved(g, g.op("Reshape", sums, g.ints(-1, 6)))  # (N, 2)
        if turn == PULLS - 1:
            break
        missed = g.op("Sub", aside, g.op("MatMul", g.op("Unsqueeze", centre, g.ints(1)), normal))
        away = g.op("Sub", at, g.op("Unsqueeze", centre, g.ints(2)))
        far = g.op("Add", g.op("Sqrt", _sum(g, g.op("Mul", away, away))), near)
        angle = g.op("Div", missed, far)
        usual = g.op(
            "Div",
            g.op("ReduceSum", g.op("Mul", weights, g.op("Abs", angle)), g.ints(2)),
            g.op("Add", g.op("ReduceSum", weights, g.ints(2)), 1e-20),
        )
        odd = g.op("Div", angle, g.op("Add", usual, 1e-9))
        weights = g.op("Div", first, g.op("Mul", g.op("Add", g.op("Mul", odd, odd), 1.0), far))
    found = g.ops("Split", centre, names=("centre_x", "centre_y"), axis=1, num_outputs=2)
    cx, cy = (g.op("Unsqueeze", each, g.ints(2, 3)) for each in found)
    return cx, cy


def _solved(g: Graph, sums: str) -> str:
    """a, b, p, b, c, q (N, 6) → the (N, 2) that solves [a b; b c] (x, y) = (p, q), held a little to
    (0, 0).
    """
    a, b, p, _, c, q = np.eye(6, dtype=np.float32).T[..., np.newaxis]
    a, c = a + TO_MIDDLE * (a + c), c + TO_MIDDLE * (a + c)
    # Both numerators and the determinant, each a product less another.
    factors = np.concatenate([c, a, a, p, q, c, b, b, b, q, p, b], axis=1)  # (6, 12)
    least = np.zeros(12, np.float32)
    least[[0, 1, 2, 5]] = 1e-20
    each = g.op("Gemm", sums, g.constant(factors), g.constant(least))
    names = [f"{each}_{number}" for number in range(4)]
    one, two, three, four = g.ops("Split", each, names=names, axis=1, num_outputs=4)
    solved = g.op("Sub", g.op("Mul", one, two), g.op("Mul", three, four))
    top, determinant = g.ops(
        "Split", solved, g.ints(2, 1), names=(f"{solved}_top", f"{solved}_determinant"), axis=1
    )
    return g.op("Div", top, determinant)


def _sum(g: Graph, maps: str) -> str:
    """(N, 2, places) → (N, 1, places)."""
    return g.op("MatMul", g.constant(np.ones((1, 1, 2), np.float32)), maps)


def _folded(g: Graph, maps: str, side: int) -> str:
    """Means over so many places that SLOPES a side are left."""
    return g.means(maps, side // SLOPES)


def _bell(reach: int, sigma: float) -> NDArray[np.float32]:
    """(SLOPES, SLOPES) Gaussian weights of places around each; of sum 1, but for those beyond."""
    away = abs(np.subtract.outer(np.arange(SLOPES), np.arange(SLOPES)))
    near = np.where(away <= reach, np.exp(-((away / sigma) ** 2) / 2), 0)
    weights: NDArray[np.float32] = (near / near[SLOPES // 2].sum()).astype(np.float32)
    return weights


def _total(g: Graph, maps: str) -> str:
    return g.op("ReduceSum", maps, g.ints(1, 2, 3))


def _distance(g: Graph, x: str, y: str, cx: str, cy: str) -> str:
    dx, dy = g.op("Sub", x, cx), g.op("Sub", y, cy)
    return g.op("Sqrt", g.op("Add", g.op("Mul", dx, dx), g.op("Mul", dy, dy)))


def _round(
    g: Graph, heights: str, there: str, centre: tuple[str, str], side: int
) -> tuple[str, str]:
    """The background by radius (N, 1, side, side), and its spread (N, 1, 1, 1) over the frame.

    The mean is taken twice, the second time with what lies far from it drawn near.
    """
    x, y = (g.constant(each) for each in _grid(side))
    radius = _distance(g, x, y, *centre)
    # From the least to the greatest radius of anything measured.
    inner = g.op(
        "ReduceMin", g.op("Add", radius, g.op("Mul", g.op("Sub", 1.0, there), 1e6)), g.ints(1, 2, 3)
    )
    outer = g.op("ReduceMax", g.op("Mul", radius, there), g.ints(1, 2, 3))
    step = g.op("Max", g.op("Div", g.op("Sub", outer, inner), float(BINS - 1)), 1e-6)
    at = g.op("Clip", g.op("Div", g.op("Sub", radius, inner), step), 0.0, float(BINS - 1))
    radii = Radii(g, g.op("Reshape", at, g.ints(0, side * side)))
    flat = g.ints(0, side * side)
    weight, maps = g.op("Reshape", there, flat), g.op("Reshape", heights, flat)
    number = g.op("Max", radii.sums(weight), 1e-6)

    def mean(maps: str) -> str:
        """(N, places) by radius, back in their places."""
        return radii.read(g.op("Div", radii.sums(g.op("Mul", maps, weight)), number))

    level = mean(maps)
    away = g.op("Sub", maps, level)
    reach = g.op("Mul", mean(g.op("Abs", away)), 2.0)
    away = g.op("Max", g.op("Min", away, reach), g.op("Neg", reach))
    level = g.op("Reshape", mean(g.op("Add", level, away)), g.ints(0, 1, side, side))
    places = g.op("Max", _total(g, there), 1.0)
    middle = g.op("Div", _total(g, g.op("Mul", level, there)), places)
    off = g.op("Mul", g.op("Abs", g.op("Sub", level, middle)), there)
    return level, g.op("Add", g.op("Div", _total(g, off), places), 1e-25)


class Radii:
    """Sums over places by bins of radius, and back; linear in between. `at` (N, places), in bins.

    A bin is one of some coarse ones and one of eight in it: two thin products of matrices take a
    quarter of the time of one with a row for each bin.
    """

    def __init__(self, g: Graph, at: str) -> None:
        self._g = g
        below = g.op("Floor", at)
        self._part = g.op("Sub", at, below)
        self._low = g.whole(below)
        self._high = g.op("Min", g.op("Add", self._low, g.ints(1)), g.ints(BINS - 1))
        coarse = g.op("Floor", g.op("Mul", at, 1 / FINE))
        fine = g.op("Sub", at, g.op("Mul", coarse, float(FINE)))
        self._coarse = self._hats(coarse, BINS // FINE)  # (N, BINS / FINE, places), one is 1
        # A broadcast along short rows is slow: made lying, then turned.
        self._fine = g.op("Transpose", self._hats(fine, FINE + 1), perm=(0, 2, 1))

    def sums(self, maps: str) -> str:
        """(N, places) → (N, BINS)."""
        g = self._g
        weighted = g.op("Mul", self._coarse, g.op("Unsqueeze", maps, g.ints(1)))
        both = g.op("MatMul", weighted, self._fine)  # (N, BINS / FINE, FINE + 1)
        own = g.op("Slice", both, g.ints(0), g.ints(FINE), g.ints(2))
        over = g.op("Slice", both, g.ints(FINE), g.ints(FINE + 1), g.ints(2))
        # What lies between two coarse bins counts for the next one's first as well.
        over = g.op("Pad", over, g.ints(1, 0, -1, FINE - 1), 0.0, g.ints(1, 2))
        return g.op("Reshape", g.op("Add", own, over), g.ints(0, BINS))

    def read(self, profile: str) -> str:
        """(N, BINS) → (N, places)."""
        g = self._g
        first = g.op("GatherElements", profile, self._low, axis=1)
        second = g.op("GatherElements", profile, self._high, axis=1)
        return g.op("Add", first, g.op("Mul", g.op("Sub", second, first), self._part))

    def _hats(self, at: str, count: int) -> str:
        """(N, places) → (N, count, places): 1 - the distance from each whole number, or 0."""
        g = self._g
        steps = g.constant(np.arange(count, dtype=np.float32)[:, np.newaxis])
        away = g.op("Abs", g.op("Sub", g.op("Unsqueeze", at, g.ints(1)), steps))
        return g.op("HardSigmoid", away, alpha=-1.0, beta=1.0)


def _noise(g: Graph, left: str, heights: str, there: str, side: int) -> str:
    """Mean deviation (N, 1, side, side) of a place from the 3 x 3 places about it, around it."""
    number = g.op("Max", g.means_around(there, 3), 1e-3)
    near = g.op("Div", g.means_around(left, 3), number)
    fine = g.op("Mul", g.op("Abs", g.op("Sub", left, near)), there)
    fine = g.op("Min", fine, g.op("Mul", _mean_around(g, fine, there, side, NOISE_SHARE), CUT))
    usual = _mean_around(g, fine, there, side, NOISE_SHARE)
    places = g.op("Max", _total(g, there), 1.0)
    typical = g.op("Div", _total(g, g.op("Mul", usual, there)), places)
    rounding = g.op("Add", g.op("Mul", g.op("Abs", heights), ROUNDING), 1e-25)
    return g.op("Add", g.op("Max", usual, g.op("Mul", typical, LEAST_NOISE)), rounding)


def _mean_around(g: Graph, maps: str, there: str, side: int, share: int) -> str:
    """Means of maps, 0 where nothing is, over blocks of an odd side of about side / share; linear
    in between.
    """
    block = side // share // 2 * 2 + 1
    places, blocks = np.arange(side), np.arange(-(-side // block))
    sums = (places // block == blocks[:, np.newaxis]).astype(np.float32)
    between = hats((places + 0.5) / block - 0.5, len(blocks))
    mean, number = (_both_ways(g, _both_ways(g, each, sums), between) for each in (maps, there))
    return g.op("Div", mean, g.op("Max", number, 1e-3))


def _both_ways(g: Graph, maps: str, weights: NDArray[np.float32]) -> str:
    """Maps (N, 1, h, h) weighted along columns and along rows, by weights (k, h): (N, 1, k, k)."""
    down = g.op("MatMul", g.constant(weights), maps)
    return g.op("MatMul", down, g.constant(np.ascontiguousarray(weights.T)))
