"""What the dataset room hands out: series of frames that are read when they are asked for.

A `Series` is cheap to hold: its frames are references. Nothing here knows a file format.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import DataFileError
from hitfinder.frame import Detector, Payload, array_payload

Truth = Literal["hit", "miss", "ambiguous"]

Tier = Literal["strong", "weak"]
"""How well a hit stands out: more than 10 spots at signal to noise 5, or only at 3."""

TRUTH_CODES: dict[Truth, int] = {"hit": 1, "miss": 0, "ambiguous": -1}
"""How `/entry/truth/hit` (int8) writes a label; any other number is no label."""

TIER_CODES: dict[Tier, int] = {"strong": 2, "weak": 1}
"""How `/entry/truth/tier` (int8) writes a hit's tier; any other number is none."""


DIFFUSE_CODES: dict[bool, int] = {True: 1, False: 0}
"""How `/entry/truth/diffuse` (int8) writes whether a frame is diffuse; any other number is not
said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What a frame is. `tier` is None where it is no hit or nobody said; `artefacts` names what
    lies in the frame that a finder may take for a spot: "cosmic", "salt", "spotty-ice"..., words
    without spaces, commas and semicolons. `diffuse` is whether crystals show diffuse scattering,
    None where nobody said or nobody could.
    """

    truth: Truth
    tier: Tier | None = None
    artefacts: tuple[str, ...] = ()
    diffuse: bool | None = None


def as_diffuse(label: Label) -> Label:
    """The label as an answer to the other question: a hit where diffuse, a miss where not, and
    ambiguous where nobody said. What reads hits and misses then reads diffuse and other hits.
    """
    answers: dict[bool | None, Truth] = {True: "hit", False: "miss", None: "ambiguous"}
    return replace(label, truth=answers[label.diffuse], tier=None)


class Load(Protocol):
    """Reads the frame `index` of a file. Raises DataFileError."""

    def __call__(self, path: Path, index: int) -> Payload:
        """The frame's pixels."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRef:
    """One frame in a file. `index` counts within the file from 0; `label` is the one that the
    file itself carries, None where it carries none.
    """

    path: Path
    index: int
    read: Load
    label: Label | None = None

    @property
    def truth(self) -> Truth | None:
        """The label's truth."""
        return None if self.label is None else self.label.truth

    def load(self) -> Payload:
        """The frame's pixels, still encoded where the file's encoding can travel as it is.

        Raises DataFileError: damage shows here, not when the series is opened.
        """
        return self.read(self.path, self.index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Frames of one shape and dtype, in order. `shape` is a frame's, as in `Payload`; `dtype` is
    in native byte order; `detector` is what the (first) file says of it; `made_of` are other files
    that frames are read from through links, resolved.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    detector: Detector
    frames: Sequence[FrameRef]
    made_of: frozenset[Path] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """One opened file, before files are joined to series. `detector` is a function because it
    may need a whole frame, and only a series' first file is asked. `said` is what is known of the
    experiment without that, by `Detector`'s names. `made_of` is as in `Series`.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    frames: tuple[FrameRef, ...]
    detector: Callable[[], Detector]
    said: Mapping[str, float] = field(default_factory=dict)
    made_of: frozenset[Path] = frozenset()


def about_diffuse(series: Series) -> Series:
    """The same frames, each label `as_diffuse`. Of a miss nobody asks: whoever says "no" of it
    makes no hit without diffuse scattering out of a blank.
    """

    def asked(label: Label | None) -> Label | None:
        if label is None or label.truth == "miss":
            return None
        return as_diffuse(label)

    frames = tuple(replace(frame, label=asked(frame.label)) for frame in series.frames)
    return replace(series, frames=frames)


def check_given_once(series: Sequence[Series]) -> None:
    """Raises DataFileError where two frames have the same file and number, or a file is given by
    itself and through another: labels could not be told apart, and a split would test on what was
    trained on. Links are followed.
    """
    resolved: dict[Path, Path] = {}
    seen: set[tuple[Path, int]] = set()
    for frame in (frame for one in series for frame in one.frames):
        path = resolved.get(frame.path) or resolved.setdefault(frame.path, frame.path.resolve())
        if (path, frame.index) in seen:
            raise DataFileError(
                f"{frame.path}: its frames are given twice; give each file once, with one dataset"
            )
        seen.add((path, frame.index))
    for one in series:
        for path in sorted(one.made_of.intersection(resolved.values())):
            raise DataFileError(
                f"{path}: its frames are given twice, through {one.frames[0].path} as well; give "
                "each file once, with one dataset"
            )


def plain_payload(path: Path, pixels: NDArray[Any]) -> Payload:
    """An uncompressed payload of (rows, cols) or (modules, rows, cols) in native byte order.

    Raises DataFileError for anything else than integers or floats of two or three dimensions.
    """
    check_frame(path, pixels.dtype, pixels.shape)
    return array_payload(pixels.astype(pixels.dtype.newbyteorder("="), copy=False))


def check_frame(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Raises DataFileError unless dtype and shape can be a frame's."""
    if dtype.kind not in "uif" or len(shape) not in (2, 3) or 0 in shape:
        raise DataFileError(
            f"{path}: {dtype} values of shape {shape} are no frame; a frame has integers or "
            "floats in (rows, cols) or (modules, rows, cols)"
        )
