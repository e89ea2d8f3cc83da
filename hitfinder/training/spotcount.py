"""The model that needs no training: counts pixels that stand out of their surroundings.

    python -m hitfinder.training.spotcount models/spotcount

writes `model.onnx` and `card.json`. The image is reduced to cells of 5 x 5 pixels at once, and
everything else happens on that 25 times smaller map: a cell's brightest pixel and brightest 3 x 3
mean are compared with the mean and the noise of the 25 x 25 pixels around it.

One setting for every detector, because the threshold is made of what the frame itself shows:
`t * sigma + quantum * (t² - 1) / 6`, with t² growing like 2 ln(number of pixels), so that a bigger
frame does not raise more false alarms, and with `quantum` the noise's third cumulant over its
second. Cornish and Fisher's expansion (1938) is the reason for the second term: for photons it is
the value of one photon, and keeps single photons on an empty frame from being spots; for Gaussian
noise it is 0. Offset, gain and unit of the pixels cancel out.

What it does not know: where a spot may be (rings of powder and grainy films count as spots), and
bright pixels that are always there, unless they are so bright and so alone that no crystal does
that; a mask is the remedy. A frame without any background shows no noise to measure; there
spots count only where faint pixels exist too.
"""

import sys
from pathlib import Path

import numpy as np
from onnx import ModelProto

from hitfinder.inference.model_card import GRAPH, ModelCard, sha256, write_card
from hitfinder.training.onnx_graph import END, Graph

CELL = 5
"""Pixels along a cell's side: a spot of up to 4 pixels fits in, and maps shrink 25 times."""

AROUND = 2
"""Cells on each side that make the surroundings: 25 x 25 pixels hold 600 samples of the noise."""

LIMIT = 1e11
"""No detector counts further: beyond, as NaN, no measurement. Cubes still fit in float32."""

NOTHING = -1e18
"""Stands for no measurement where the greatest is sought; never wins against a pixel."""

ENOUGH = 100.0
"""Pixels without which the surroundings say too little of their noise."""

MARGIN = 0.4
"""Added to sqrt(2 ln n), the expected greatest of n samples of Gaussian noise: allows for noise
that is itself measured, to 3 % from 600 pixels."""

FIRST_T = 4.0
"""Cells above this many sigma are left out when the noise is measured for good."""

QUIET_SHARE = 0.25
"""The frame's quantum is this quantile over its windows: spots and hot pixels, which skew their
windows, may fill up to three quarters of them."""

ALONE = 0.15
"""A spot of 0.7 pixels' width spreads more than this share of its peak over the pixels around:
0.22 when it is centred on a pixel, more when it is not."""

BEST_OF = 4.0
"""In sigma, what noise adds to the greatest of nine overlapping sums of eight pixels."""

CERTAIN = 20.0
"""In sigma: fainter pixels are never called alone, their surroundings tell too little."""

LINE = 0.5
"""Opposite cells two steps away that both reach this share of a peak make it part of a line."""

MIDDLE = 6.0
"""The count with score 0.5: in the middle between a miss (fewer than 2) and a hit (more than 10,
both from Li et al. 2018)."""

OPPOSITES = ((0, 2), (2, 0), (2, 2), (2, -2), (1, 2), (2, 1), (-1, 2), (2, -1))
"""(rows, cols) of the ring two cells away, one of each opposite pair."""

DESCRIPTION = (
    "Counts local maxima that stand out of the noise around them; nothing in it is learned. score ="
    f" count² / (count² + {MIDDLE:.0f}²): 0.03 for 1 spot, 0.5 for {MIDDLE:.0f}, 0.77 for 11."
)


def graph() -> ModelProto:
    """`image` (N, H, W) float32, NaN = no measurement → `score` (N,), `count` (N,) and
    `spots` (N, ceil(H / 5), ceil(W / 5)), 1.0 where a cell holds a spot; all float32.
    """
    g = Graph()
    image = g.op("Unsqueeze", "image", g.ints(1))  # (N, 1, H, W)

    # Pixels, less a rough mean: only so that float32 holds their squares and cubes.
    some = g.op("Slice", image, g.ints(0), g.ints(END), g.ints(2), g.ints(8))
    measured = g.op("Less", g.op("Abs", some), LIMIT)
    rough_mean = g.op(
        "Div",
        g.op("ReduceSum", g.op("Where", measured, some, 0.0), g.ints(1, 2, 3)),
        g.op("Max", g.op("ReduceSum", g.number(measured), g.ints(1, 2, 3)), 1.0),
    )
    pixels = g.op("Sub", image, rough_mean)
    measured = g.op("Less", g.op("Abs", pixels), LIMIT)  # False for NaN and infinities
    there = g.number(measured)
    or_nothing = g.op("Where", measured, pixels, NOTHING)
    or_zero = g.op("Mul", or_nothing, there)
    squares = g.op("Mul", or_zero, or_zero)

    # Cells: (N, 1, ceil(H / 5), ceil(W / 5)) from here on. Padding at the end counts as masked.
    size, padding = (CELL, CELL), (0, 0, CELL - 1, CELL - 1)
    ones = g.constant(np.ones((1, 1, *size), np.float32))
    number, total, total2, total3 = (
        g.op("Conv", each, ones, strides=size, pads=padding)
        for each in (there, or_zero, squares, g.op("Mul", squares, or_zero))
    )
    brightest = g.op("MaxPool", or_nothing, kernel_shape=size, strides=size, pads=padding)
    brightest_3x3 = _brightest_3x3(g, or_nothing)
    n_pixels = g.op("Max", g.op("ReduceSum", number, g.ints(1, 2, 3)), 1.0)
    t = g.op("Add", g.op("Sqrt", g.op("Mul", g.op("Log", n_pixels), 2.0)), MARGIN)

    # Surroundings: once with everything, then without the cells that stand out and their
    # neighbours.
    sums = g.op("Concat", number, total, total2, total3, axis=1)  # (N, 4, ...)
    mean, sigma, _, quantum, _ = _surroundings(g, sums)
    standing_out = g.op(
        "Greater",
        g.op("Sub", brightest, mean),
        _threshold(g, sigma, quantum, g.constant(np.array(FIRST_T, np.float32))),
    )
    near = g.op("MaxPool", g.number(standing_out), kernel_shape=(3, 3), pads=(1, 1, 1, 1))
    quiet = g.op("Sub", 1.0, near)
    mean, sigma, n_quiet, quantum, local_quantum = _surroundings(g, g.op("Mul", sums, quiet))
    quantum = g.op("Max", quantum, local_quantum)

    # How far the brightest pixel, and the brightest 3 x 3 mean, reach towards their thresholds.
    excess = g.op("Sub", brightest, mean)
    reach = g.op("Div", excess, _threshold(g, sigma, quantum, t))
    sigma_3x3 = _sigma_3x3(g, number, total, quiet, n_quiet, mean, sigma)
    quantum_3x3 = g.op("Div", quantum, 9.0)
    reach_3x3 = g.op(
        "Div", g.op("Sub", brightest_3x3, mean), _threshold(g, sigma_3x3, quantum_3x3, t)
    )
    reach = g.op("Max", reach, reach_3x3)
    highest = g.op("MaxPool", reach, kernel_shape=(3, 3), pads=(1, 1, 1, 1))
    # Only the highest of its neighbours is judged, so that what a hot pixel leaves in the 3 x 3
    # means next to it is not counted in its place.
    conditions = (
        g.op("Greater", reach, 1.0),
        g.op("GreaterOrEqual", reach, highest),
        g.op("Greater", n_quiet, ENOUGH),
        g.op("Not", _alone(g, brightest_3x3, mean, sigma, quantum, excess)),
        g.op("Not", _on_a_line(g, number, excess)),
    )
    is_spot = conditions[0]
    for condition in conditions[1:]:
        is_spot = g.op("And", is_spot, condition)

    spots = g.op("Squeeze", g.number(is_spot), g.ints(1), name="spots")
    count = g.op("ReduceSum", spots, g.ints(1, 2), name="count", keepdims=0)
    power = g.op("Mul", count, count)
    g.op("Div", power, g.op("Add", power, MIDDLE**2), name="score")
    return g.model(
        "spotcount",
        {"image": ("N", "H", "W")},
        {"score": ("N",), "count": ("N",), "spots": ("N", "rows", "cols")},
        DESCRIPTION,
    )


def _brightest_3x3(g: Graph, pixels: str) -> str:
    """Greatest mean of 3 x 3 pixels whose top left corner lies in the cell.

    One convolution makes all 25 means of a cell: 3 times faster than averaging the frame. The
    last two rows and columns of cells are left out, as some of their means would reach outside.
    """
    kernels = np.zeros((CELL * CELL, 1, CELL + 2, CELL + 2), np.float32)
    for row in range(CELL):
        for col in range(CELL):
            kernels[row * CELL + col, 0, row : row + 3, col : col + 3] = 1 / 9
    reach = CELL + 1
    means = g.op(
        "Conv", pixels, g.constant(kernels), strides=(CELL, CELL), pads=(0, 0, reach, reach)
    )
    inside = g.op(
        "Slice", g.op("ReduceMax", means, g.ints(1)), g.ints(0, 0), g.ints(-2, -2), g.ints(2, 3)
    )
    return g.op("Pad", inside, g.ints(0, 0, 0, 0, 0, 0, 2, 2), NOTHING)


def _surroundings(g: Graph, sums: str) -> tuple[str, str, str, str, str]:
    """(mean, sigma, number of pixels, the frame's quantum, the window's quantum) around each cell
    from the sums (N, 4, ...) of 1, x, x² and x³ over its pixels.

    sigma is the spread in the whole window, so that steps and gradients count as noise.
    """
    names = [f"{each}_of_{sums}" for each in ("n", "x", "x2", "x3")]
    n, x1, x2, x3 = g.ops("Split", g.box_sum(sums, AROUND), names=names, axis=1, num_outputs=4)
    divisor = g.op("Max", n, 1.0)
    mean, mean2, mean3 = (g.op("Div", each, divisor) for each in (x1, x2, x3))
    square = g.op("Mul", mean, mean)
    # The floor is float32's rounding: a constant window has no noise to divide by.
    floor = g.op("Mul", mean2, 1e-6)
    raw_variance = g.op("Sub", mean2, square)
    variance = g.op("Max", raw_variance, floor)
    third = g.op(
        "Sub",
        mean3,
        g.op("Mul", mean, g.op("Sub", g.op("Mul", mean2, 3.0), g.op("Mul", square, 2.0))),
    )
    telling = g.op("And", g.op("Greater", n, ENOUGH), g.op("Greater", raw_variance, floor))
    local_quantum = g.op("Where", telling, g.op("Div", third, g.op("Max", variance, 1e-30)), 0.0)

    # The quantile over windows that do not overlap; those that tell nothing sort behind the rest.
    step = 2 * AROUND + 1
    apart = (g.ints(0, 0), g.ints(END, END), g.ints(2, 3), g.ints(step, step))
    tells = g.op("Flatten", g.op("Slice", g.number(telling), *apart))  # (N, windows)
    values = g.op("Flatten", g.op("Slice", local_quantum, *apart))
    values = g.op("Where", g.op("Greater", tells, 0.5), values, 1e30)
    names = [f"{each}_of_{sums}" for each in ("sorted", "order")]
    ordered = g.ops("TopK", values, g.op("Shape", values, start=1), names=names, largest=0)[0]
    n_telling = g.op("ReduceSum", tells, g.ints(1))
    rank = g.whole(g.op("Floor", g.op("Mul", n_telling, QUIET_SHARE)))
    quantile = g.op("GatherElements", ordered, rank, axis=1)
    quantum = g.op("Where", g.op("Greater", n_telling, 0.0), g.op("Max", quantile, 0.0), 0.0)
    quantum = g.op("Reshape", quantum, g.ints(-1, 1, 1, 1))
    return mean, g.op("Sqrt", variance), n, quantum, local_quantum


def _threshold(g: Graph, sigma: str, quantum: str, t: str) -> str:
    """The value above the mean that noise exceeds as rarely as Gaussian noise exceeds t sigma."""
    skewed = g.op("Div", g.op("Sub", g.op("Mul", t, t), 1.0), 6.0)
    threshold = g.op("Add", g.op("Mul", sigma, t), g.op("Mul", quantum, skewed))
    return g.op("Add", threshold, 1e-20)  # where there is nothing at all, 0 / 0 must not be NaN


def _sigma_3x3(
    g: Graph, number: str, total: str, quiet: str, n_quiet: str, mean: str, sigma: str
) -> str:
    """Noise of a 3 x 3 mean: a third of a pixel's, or more where neighbours vary together.

    The spread of the cells' own means tells: it is a fifth of sigma where pixels are independent,
    and more under a gradient or behind a camera's point spread.
    """
    cell_mean = g.op("Div", total, g.op("Max", number, 1.0))
    weighted = g.op("Mul", g.op("Mul", cell_mean, g.op("Mul", cell_mean, number)), quiet)
    mean2 = g.op("Div", g.box_sum(weighted, AROUND), g.op("Max", n_quiet, 1.0))
    variance = g.op("Max", g.op("Sub", mean2, g.op("Mul", mean, mean)), 0.0)
    return g.op("Max", g.op("Div", sigma, 3.0), g.op("Mul", g.op("Sqrt", variance), CELL / 3.0))


def _alone(g: Graph, brightest_3x3: str, mean: str, sigma: str, quantum: str, excess: str) -> str:
    """Where the pixels around a cell's brightest one lack what any spot spreads there.

    Their sum is what the brightest 3 x 3 pixels hold beyond it; the greatest of the windows that
    may contain it, so noise adds to it (BEST_OF), and a real spot nearby speaks for it. Claimed
    only beyond twice the noise of the few photons expected, from some 40 sigma on.
    """
    best = g.op("MaxPool", brightest_3x3, kernel_shape=(2, 2), pads=(1, 1, 0, 0))
    around = g.op("Sub", g.op("Mul", g.op("Sub", best, mean), 9.0), excess)
    expected = g.op("Mul", g.op("Max", excess, 0.0), ALONE)
    least = g.op(
        "Add",
        g.op("Sub", expected, g.op("Mul", g.op("Sqrt", g.op("Mul", expected, quantum)), 2.0)),
        g.op("Mul", sigma, BEST_OF),
    )
    bright = g.op("Greater", excess, g.op("Mul", sigma, CERTAIN))
    return g.op("And", bright, g.op("Less", around, least))


def _on_a_line(g: Graph, number: str, excess: str) -> str:
    """Where two opposite cells, two steps away, reach LINE of a cell's excess: rings, tracks,
    bright rows and the double-sized pixels between readout chips.

    Where one of the two is off the detector, the other decides: lines go on to the edge.
    """
    off = -NOTHING
    known = g.op("Where", g.op("Greater", number, 0.0), excess, off)
    padded = g.op("Pad", known, g.ints(0, 0, 2, 2, 0, 0, 2, 2), off)
    both = [
        g.op("Min", g.shift(padded, 2, rows, cols), g.shift(padded, 2, -rows, -cols))
        for rows, cols in OPPOSITES
    ]
    return g.op("GreaterOrEqual", g.op("Max", *both), g.op("Mul", excess, LINE))


def build(folder: Path) -> ModelCard:
    """Writes the artifact into `folder`, made if absent; the same bytes every time.

    Raises OSError.
    """
    model = graph().SerializeToString(deterministic=True)
    card = ModelCard(
        name="spotcount",
        version="1",
        task="hit",
        description=DESCRIPTION,
        region="any: a central crop or a whole frame, of one module or of many",
        threshold=0.5,
        threshold_from=(
            f"set, not fitted: {MIDDLE:.0f} spots, in the middle between a miss (fewer than 2) and "
            "a hit (more than 10); the score of another count n is n² / (n² + "
            f"{MIDDLE:.0f}²)"
        ),
        outputs={
            "score": "(N,) 0 to 1, rising with the count",
            "count": "(N,) number of spots",
            "spots": f"(N, rows, cols) 1 where a cell of {CELL} x {CELL} pixels holds a spot",
        },
        onnx_sha256=sha256(model),
        weights_origin="none: every constant is in the recipe, with its reason",
        data="none: no image was trained on",
        created_by="python -m hitfinder.training.spotcount models/spotcount",
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / GRAPH).write_bytes(model)
    write_card(folder, card)
    return card


if __name__ == "__main__":
    build(Path(sys.argv[1]))
