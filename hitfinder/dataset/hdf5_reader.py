"""Frames from HDF5: DECTRIS and NeXus masters, CXI, and plain stacks.

2-D datasets are one frame, 3-D (frames, rows, cols), 4-D (frames, modules, rows, cols). Where a
chunk is exactly one frame in an encoding that can travel (`_ENCODINGS`), the chunk's own bytes
become the payload and nothing is decoded; every other layout is read by HDF5.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hitfinder.dataset.frames import (
    DIFFUSE_CODES,
    TIER_CODES,
    TRUTH_CODES,
    DataFile,
    FrameRef,
    Label,
    check_frame,
)
from hitfinder.dataset.frames import plain_payload as plain
from hitfinder.dataset.hdf5_detector import read_detector, read_numbers
from hitfinder.dataset.hdf5_file import frame_count, frame_shape, hdf5_file, register_filters
from hitfinder.dataset.location import SEPARATOR, Location
from hitfinder.errors import DataFileError
from hitfinder.frame import Payload
from hitfinder.wire.compression import encoded_payload

USUAL_PLACES = (
    "/entry/data/data",
    "/entry/data",  # DECTRIS masters: data_000001, data_000002, ... inside
    "/entry_1/data_1/data",
    "/entry_1/instrument_1/detector_1/data",
    "/entry/instrument/detector/data",
)
TRUTH = "/entry/truth/hit"
TIER = "/entry/truth/tier"
ARTEFACTS = "/entry/truth/artefacts"
DIFFUSE = "/entry/truth/diffuse"

BITSHUFFLE = 32008
_LZ4 = 32004
_BITSHUFFLE_CODECS = {2: "bslz4", 3: "bszstd"}  # the filter's fifth option


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stack:
    """One dataset of frames; `first` is the index in the file of its frame 0, `files` those that
    its frames lie in, `unmapped` its frames that lie in none.
    """

    place: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    first: int
    files: frozenset[Path]
    unmapped: frozenset[int]


def open_hdf5(location: Location) -> DataFile:
    """Find the frames of a file: at `::/path`, in the usual places, or as its only 3-D or 4-D
    dataset of numbers. Raises DataFileError.
    """
    path = location.path
    with hdf5_file(path) as file:
        stacks = _stacks(path, file, _places(path, file, location.inside))
        count = stacks[-1].first + frame_count(stacks[-1].shape)
        labels = _labels(path, file, count)
        # Only a file of a single frame may be joined to others.
        said = read_numbers(path, file) if count == 1 else {}
    shape, dtype = frame_shape(stacks[0].shape), stacks[0].dtype
    check_frame(path, dtype, shape)
    frames: list[FrameRef] = []
    for stack in stacks:
        stored = partial(read_hdf5, place=stack.place, first=stack.first)
        for index in range(stack.first, stack.first + frame_count(stack.shape)):
            read = read_unwritten if index - stack.first in stack.unmapped else stored
            frames.append(FrameRef(path=path, index=index, read=read, label=labels[index]))
    return DataFile(
        name=path.stem.removesuffix("_master"),
        shape=shape,
        dtype=dtype.newbyteorder("="),
        frames=tuple(frames),
        detector=partial(read_detector, path, shape, dtype),
        said=said,
        made_of=frozenset().union(*(stack.files for stack in stacks)) - {path.resolve()},
    )


def read_hdf5(path: Path, index: int, *, place: str, first: int) -> Payload:
    """The frame `index - first` of the dataset at `place`. Raises DataFileError."""
    with hdf5_file(path) as file:
        dataset = file[place]
        shape = frame_shape(dataset.shape)
        at = () if dataset.ndim == 2 else (index - first,)
        begin = (*at, *(0 for _ in shape))
        stored = None if dataset.chunks is None else _stored(dataset, begin)
        if stored is not None and stored.byte_offset is None:
            return read_unwritten(path, index)
        encoding = _encoding(dataset, shape)
        # Where a chunk's filter was skipped, HDF5 reads it plain.
        if stored is None or encoding is None or stored.filter_mask:
            register_filters()
            return plain(path, np.asarray(dataset[at]))
        chunk = bytes(dataset.id.read_direct_chunk(begin)[1])
        return encoded_payload(chunk, dtype=dataset.dtype, shape=shape, encoding=encoding)


def read_unwritten(path: Path, index: int) -> Payload:
    """A frame that is not there. HDF5 makes zeros of it, a miss. Raises DataFileError."""
    raise DataFileError(
        f"{path}: frame {index} was never written; the file is of a run that was cut short"
    )


def _stored(dataset: h5py.Dataset, begin: tuple[int, ...]) -> Any:
    """How the chunk of a frame's first pixel is stored; without `byte_offset` if it is not."""
    offset = tuple(at - at % side for at, side in zip(begin, dataset.chunks, strict=True))
    return dataset.id.get_chunk_info_by_coord(offset)


def _encoding(dataset: h5py.Dataset, shape: tuple[int, ...]) -> str | None:
    """The encoding that a chunk of one frame has; None where chunks cannot travel as they are."""
    one_frame = (1,) * (dataset.ndim - len(shape)) + shape
    if dataset.chunks != one_frame or not dataset.dtype.isnative:
        return None
    plist = dataset.id.get_create_plist()
    filters = [plist.get_filter(place)[:3:2] for place in range(plist.get_nfilters())]
    if not filters:
        return "raw"
    (code, options), *more = filters
    if more:
        return None
    if code == BITSHUFFLE:
        return _BITSHUFFLE_CODECS.get(options[4] if len(options) > 4 else 0)
    return "lz4-hdf5" if code == _LZ4 else None


def _places(path: Path, file: h5py.File, inside: str | None) -> list[str]:
    """Datasets that together hold the file's frames, in order."""
    if inside is not None:
        found = _datasets_at(file, inside)
        if not found:
            raise DataFileError(f"{path}: has no dataset at '{inside}'; check it with h5ls -r")
        return found
    for place in USUAL_PLACES:
        if found := _datasets_at(file, place):
            return found
    found = _numeric_stacks(file)
    if len(found) != 1:
        listing = ", ".join(found) or "none"
        raise DataFileError(
            f"{path}: needs exactly one 3-D or 4-D dataset of numbers, has {listing}; "
            f"say which by appending '{SEPARATOR}/path/to/dataset'"
        )
    return found


def _datasets_at(file: h5py.File, place: str) -> list[str]:
    if place not in file:
        return []
    # `in` follows links inside the file; a link to a file that is gone fails here, as it should
    thing = file[place]
    if isinstance(thing, h5py.Dataset):
        return [place]
    return [f"{place}/{name}" for name in sorted(thing) if name.startswith("data_")]


def _numeric_stacks(file: h5py.File) -> list[str]:
    found: list[str] = []

    def visit(name: str, thing: Any) -> None:
        if isinstance(thing, h5py.Dataset) and thing.ndim in (3, 4) and thing.dtype.kind in "uif":
            found.append(f"/{name}")

    file.visititems(visit)
    return found


def _stacks(path: Path, file: h5py.File, places: list[str]) -> list[_Stack]:
    stacks: list[_Stack] = []
    first = 0
    for place in places:
        dataset = file[place]
        if dataset.ndim not in (2, 3, 4):
            raise DataFileError(
                f"{path}: {place} has {dataset.ndim} dimensions; frames need 2, 3 or 4: append "
                f"'{SEPARATOR}/path/to/dataset'"
            )
        stacks.append(
            _Stack(
                place=place,
                shape=dataset.shape,
                dtype=dataset.dtype,
                first=first,
                files=_files(path, dataset),
                unmapped=_unmapped(dataset),
            )
        )
        first += frame_count(dataset.shape)
    kinds = {(frame_shape(stack.shape), stack.dtype) for stack in stacks}
    if len(kinds) != 1:
        raise DataFileError(
            f"{path}: {', '.join(places)} differ in shape or dtype; read them one by one with "
            f"'{SEPARATOR}'"
        )
    if first == 0:
        raise DataFileError(f"{path}: {places[0]} holds no frames yet; leave the file out")
    return stacks


def _unmapped(dataset: h5py.Dataset) -> frozenset[int]:
    """Frames of a virtual dataset that no source has."""
    if not dataset.is_virtual or dataset.ndim == 2:
        return frozenset()
    given = np.zeros(len(dataset), np.bool_)
    for source in dataset.virtual_sources():
        try:
            (first, *_), (last, *_) = source.vspace.get_select_bounds()
        except RuntimeError:  # as many as there are files of a name
            return frozenset()
        given[first : last + 1] = True
    return frozenset(np.flatnonzero(~given).tolist())


def _files(path: Path, dataset: h5py.Dataset) -> frozenset[Path]:
    """The files that the dataset's frames lie in, resolved. Raises DataFileError where one is gone:
    HDF5 reads such frames of a virtual dataset as zeros, misses, silently.
    """
    # Not `path` where a link leads there.
    home = Path(dataset.file.filename).resolve()
    files = {home}
    sources = dataset.virtual_sources() if dataset.is_virtual else []
    for name, inside in sorted({each[1:3] for each in sources}):
        if name == ".":
            files |= _files_of_source(path, dataset, dataset.file, inside)
            continue
        found = _find(name, home.parent)
        if found is None:
            raise DataFileError(
                f"{path}: {dataset.name} is made of '{name}', which is not there; copy it to "
                f"{home.parent}"
            )
        with h5py.File(found, "r") as file:
            files |= _files_of_source(path, dataset, file, inside)
    return frozenset(files)


def _files_of_source(
    path: Path, dataset: h5py.Dataset, file: h5py.File, inside: str
) -> frozenset[Path]:
    """As `_files`, of one source, which may be virtual, too."""
    source = file.get(_first(inside))
    if not isinstance(source, h5py.Dataset):
        raise DataFileError(
            f"{path}: {dataset.name} is made of '{inside}' in {file.filename}, which has no such "
            "dataset; copy that file again"
        )
    return _files(path, source)


def _find(source: str, folder: Path) -> Path | None:
    """A virtual dataset's source where HDF5 seeks it: at its own absolute path, and failing that
    under its bare name; beside the dataset's file; in the working folder.
    """
    name = Path(_first(source))
    names = (name, Path(name.name)) if name.is_absolute() else (name,)
    places = (place / each for place in (folder, Path.cwd()) for each in names)
    return next((place for place in places if place.exists()), None)


def _first(name: str) -> str:
    """In a row of numbered sources, which HDF5 ends at the first that is not there, %b is the
    number.
    """
    return name.replace("%b", "0").replace("%%", "%")


def _labels(path: Path, file: h5py.File, count: int) -> list[Label | None]:
    truths = _per_frame(path, file, TRUTH, count, kinds="uib")
    if truths is None:
        return [None] * count
    tiers = _per_frame(path, file, TIER, count, kinds="uib")
    artefacts = _per_frame(path, file, ARTEFACTS, count, kinds="SO")
    diffuse = _per_frame(path, file, DIFFUSE, count, kinds="uib")
    truth_names = {code: name for name, code in TRUTH_CODES.items()}
    tier_names = {code: name for name, code in TIER_CODES.items()}
    diffuse_names = {code: name for name, code in DIFFUSE_CODES.items()}
    columns = zip(
        truths,
        [0] * count if tiers is None else tiers,
        [b""] * count if artefacts is None else artefacts,
        [None] * count if diffuse is None else diffuse,
        strict=True,
    )
    known: dict[tuple[Any, ...], Label | None] = {}  # a run's labels are few: one object for each
    labels = []
    for values in columns:
        if values not in known:
            truth, tier, words, is_diffuse = values
            known[values] = (
                Label(
                    truth=truth_names[truth],
                    tier=tier_names.get(tier),
                    artefacts=_words(path, words),
                    diffuse=diffuse_names.get(is_diffuse),
                )
                if truth in truth_names
                else None
            )
        labels.append(known[values])
    return labels


def _per_frame(path: Path, file: h5py.File, place: str, count: int, kinds: str) -> list[Any] | None:
    """The values at `place`, one for each frame and of one of NumPy's `kinds`; None where there
    is nothing.
    """
    if place not in file:
        return None
    dataset = file[place]
    if not isinstance(dataset, h5py.Dataset) or dataset.shape != (count,):
        shape = getattr(dataset, "shape", "none")
        raise DataFileError(
            f"{path}: {place} has shape {shape} for {count} frames; write one value a frame"
        )
    is_text = h5py.check_string_dtype(dataset.dtype) is not None
    if dataset.dtype.kind not in kinds or is_text != ("S" in kinds):
        raise DataFileError(
            f"{path}: {place} holds {'text' if is_text else dataset.dtype}, not "
            f"{'text' if 'S' in kinds else 'whole numbers'}; write it anew or delete it"
        )
    values: list[Any] = np.asarray(dataset).tolist()
    return values


def _words(path: Path, text: bytes) -> tuple[str, ...]:
    try:
        return tuple(word for word in text.decode().split(",") if word)
    except UnicodeDecodeError as error:
        raise DataFileError(
            f"{path}: {ARTEFACTS} holds {text!r}, no text in UTF-8; write it anew or delete it"
        ) from error
