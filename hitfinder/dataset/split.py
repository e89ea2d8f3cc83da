"""Labelled frames into training, calibration and test: whole runs, never single frames.

Frames of one run share beam, sample, background and bad pixels. A model tested on frames of runs
that it was trained on is praised for knowing them, and a threshold set on them holds nowhere
else. So a run, which is a `Series`, goes as a whole to one part. Where there are too few runs for
that, each is cut into blocks of consecutive frames, and `by_blocks` says that the numbers then
tell nothing of other runs.

Only frames labelled hit or miss take part. This module knows nothing of pixels or models.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hitfinder.dataset.frames import FrameRef, Series, Truth, check_given_once
from hitfinder.errors import ConfigError, DataFileError

BLOCKS = (5, 10, 20, 40)
"""Blocks that a run is cut into: 5 make shares of 60, 20 and 20 %. More, and so more neighbours
apart, only where hits and misses come in spells and fewer blocks leave a part without either."""

SHORTEST_BLOCK = 5
"""Frames: parts made of shorter blocks would interleave frames, the very thing to avoid."""

TRIES = 50
"""Seeded orders of the runs, of which the one that fits the shares best counts: runs differ in
length, and one try may leave the test part with the shortest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """What hits and misses are to whoever labelled them: one and many; and what to tell him where
    there are neither.
    """

    hit: tuple[str, str]
    miss: tuple[str, str]
    none: str


HITS = Classes(
    hit=("hit", "hits"),
    miss=("miss", "misses"),
    none="no frame is labelled hit or miss; give a file of labels, or make one with "
    "'hitfinder label'",
)
DIFFUSE = Classes(
    hit=("hit with diffuse scattering", "hits with diffuse scattering"),
    miss=("hit without", "hits without diffuse scattering"),
    none="no hit is labelled as with or without diffuse scattering; fill in the column 'diffuse' "
    "of the labels with yes and no",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Series for each part, with the frames labelled hit or miss only, in the order given.

    No file is in two parts unless `by_blocks`: then parts share runs, but no frame.
    """

    train: tuple[Series, ...]
    calibrate: tuple[Series, ...]
    test: tuple[Series, ...]
    by_blocks: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """A run or a block of one; goes to one part. `run` is its series' position, `start` how many
    of the run's labelled frames come before.
    """

    run: int
    start: int
    frames: tuple[FrameRef, ...]
    truths: frozenset[Truth | None]


def _piece(run: int, start: int, frames: tuple[FrameRef, ...]) -> _Piece:
    truths = frozenset(frame.truth for frame in frames)
    return _Piece(run=run, start=start, frames=frames, truths=truths)


def split_runs(
    series: Sequence[Series],
    *,
    seed: int,
    shares: tuple[float, float, float] = (0.6, 0.2, 0.2),
    classes: Classes = HITS,
) -> Split:
    """Runs to training, calibration and test, in about these shares of the frames; the same seed
    gives the same split. A part with the share 0 stays empty.

    Every part gets hits and misses. Raises DataFileError where that cannot be: no hits, no
    misses, too few of them, too few runs that hold them, a file given twice; ConfigError for
    shares that are none.
    """
    if min(shares) < 0 or shares[0] == 0:
        raise ConfigError(f"shares {shares} of the data: must be 0 or more, and training above 0")
    wanted = np.array(shares) / sum(shares)  # (3,) float64
    n_parts = int(np.count_nonzero(wanted))
    check_given_once(series)
    runs = [
        _piece(position, 0, frames)
        for position, one in enumerate(series)
        if (frames := tuple(frame for frame in one.frames if frame.truth in ("hit", "miss")))
    ]
    _check_enough(runs, n_parts, classes)
    by_blocks = len(runs) < n_parts
    choices = [_blocks(runs, number) for number in BLOCKS] if by_blocks else [runs]
    pieces = next((each for each in choices if _can_share(each, n_parts)), None)
    if pieces is None:
        raise DataFileError(_what_is_missing(series, runs, n_parts, classes))
    parts = _assign(pieces, wanted, np.random.default_rng(seed))
    train, calibrate, test = (_joined(series, part) for part in parts)
    return Split(train=train, calibrate=calibrate, test=test, by_blocks=by_blocks)


def _check_enough(runs: Sequence[_Piece], n_parts: int, classes: Classes) -> None:
    truths = [frame.truth for run in runs for frame in run.frames]
    if not truths:
        raise DataFileError(f"the data: {classes.none}")
    words: dict[Truth, tuple[str, str]] = {"hit": classes.hit, "miss": classes.miss}
    for truth, (one, plural) in words.items():
        count = truths.count(truth)
        if count == 0:
            raise DataFileError(
                f"the data: of {len(truths)} labelled frames none is a {one}; add runs with "
                f"{plural}, or correct the labels"
            )
        if count < n_parts:
            raise DataFileError(
                f"the data: {count} {plural} are too few for {n_parts} parts; label more frames"
            )


def _blocks(runs: Sequence[_Piece], number: int) -> list[_Piece]:
    """Each run cut into `number` blocks of consecutive frames, or as many as are long enough."""
    pieces = []
    for run in runs:
        fitting = max(1, min(number, len(run.frames) // SHORTEST_BLOCK))
        cuts = [len(run.frames) * cut // fitting for cut in range(fitting + 1)]
        pieces += [_piece(run.run, start, run.frames[start:stop]) for start, stop in pairwise(cuts)]
    return pieces


def _can_share(pieces: Sequence[_Piece], n_parts: int) -> bool:
    """Whether every part can have hits and misses: from a piece with both, or from two."""
    with_both = sum(len(piece.truths) == 2 for piece in pieces)
    only_hits = sum(piece.truths == {"hit"} for piece in pieces)
    only_misses = len(pieces) - with_both - only_hits
    return with_both + min(only_hits, only_misses) >= n_parts


def _what_is_missing(
    series: Sequence[Series], runs: Sequence[_Piece], n_parts: int, classes: Classes
) -> str:
    hits, misses = classes.hit[1], classes.miss[1]
    if len(runs) < n_parts:
        return (
            f"the data: {hits} and {misses} cannot be shared among {n_parts} parts made of at "
            f"least {SHORTEST_BLOCK} consecutive frames; label more frames, or add runs"
        )
    one_sided = [
        f"{series[run.run].name} only {hits if run.truths == {'hit'} else misses}"
        for run in runs
        if len(run.truths) == 1
    ]
    shown = ", ".join(one_sided[:5]) + (", ..." if len(one_sided) > 5 else "")
    return (
        f"the data: {n_parts} parts of whole runs need {hits} and {misses} each, but of "
        f"{len(runs)} runs have {shown}; label what they lack, or add runs"
    )


def _assign(
    pieces: Sequence[_Piece], wanted: NDArray[np.float64], random: np.random.Generator
) -> list[list[_Piece]]:
    """The best of `TRIES` random assignments, the first one where several are as good."""
    tries = [_assign_once(pieces, wanted, random) for _ in range(TRIES)]
    return min(tries, key=lambda parts: float(np.abs(_sizes(parts) - wanted).sum()))


def _assign_once(
    pieces: Sequence[_Piece], wanted: NDArray[np.float64], random: np.random.Generator
) -> list[list[_Piece]]:
    """First hits and misses for every part, then each other piece to where most is missing."""
    order = [pieces[place] for place in random.permutation(len(pieces))]
    both = [[piece] for piece in order if len(piece.truths) == 2]
    hits = [piece for piece in order if piece.truths == {"hit"}]
    misses = [piece for piece in order if piece.truths == {"miss"}]
    pairs = [[hit, miss] for hit, miss in zip(hits, misses, strict=False)]
    parts: list[list[_Piece]] = [[] for _ in wanted]
    starts = (both + pairs)[: np.count_nonzero(wanted)]
    for part, start in zip(np.flatnonzero(wanted), starts, strict=True):
        parts[part] += start
    placed = {id(piece) for start in starts for piece in start}
    total = sum(len(piece.frames) for piece in pieces)
    have = np.array([sum(len(piece.frames) for piece in part) for part in parts]) / total
    for piece in order:
        if id(piece) not in placed:
            neediest = int(np.argmax(np.where(wanted > 0, wanted - have, -np.inf)))
            parts[neediest].append(piece)
            have[neediest] += len(piece.frames) / total
    return parts


def _sizes(parts: Sequence[Sequence[_Piece]]) -> NDArray[np.float64]:
    """Each part's share of the frames."""
    sizes = np.array([sum(len(piece.frames) for piece in part) for part in parts])
    shares: NDArray[np.float64] = sizes / sizes.sum()
    return shares


def _joined(series: Sequence[Series], part: Sequence[_Piece]) -> tuple[Series, ...]:
    """A part's pieces as series again, in the order of the data, with one for each run."""
    frames: dict[int, list[FrameRef]] = {}
    for piece in sorted(part, key=lambda piece: (piece.run, piece.start)):
        frames.setdefault(piece.run, []).extend(piece.frames)
    return tuple(replace(series[run], frames=tuple(chosen)) for run, chosen in frames.items())
