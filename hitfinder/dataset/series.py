"""Files to series. The table `_OPENERS` says which suffix is read by what."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from hitfinder.dataset.array_files import RAW_SPEC, open_array, open_raw
from hitfinder.dataset.frames import DataFile, Series
from hitfinder.dataset.hdf5_reader import open_hdf5
from hitfinder.dataset.image_files import open_image
from hitfinder.dataset.location import Location, parse_location
from hitfinder.errors import DataFileError

Open = Callable[[Location], DataFile]

DRIFT = 0.01
"""Share by which a distance, a wavelength or a beam centre may change within a series."""

_DATA_FILE = re.compile(r"(?P<name>.+)_data_[0-9]+(?P<suffix>\.(?:h5|hdf5|nxs|cxi))")

_OPENERS: dict[str, Open] = {
    **dict.fromkeys((".cbf", ".tif", ".tiff", ".edf", ".mccd", ".kcd", ".img"), open_image),
    **dict.fromkeys((".h5", ".hdf5", ".nxs", ".cxi"), open_hdf5),
    **dict.fromkeys((".npy", ".npz"), open_array),
}


def open_series(paths: Sequence[Path]) -> list[Series]:
    """The series that files and folders hold, in the order given.

    A file of several frames is a series. Consecutive files of one frame each, equal in shape and
    dtype and from one folder, are joined to one, named after the first, as long as their headers do
    not say that the experiment changed; so are DECTRIS data files of one master, whether or not it
    is there. A folder stands for its data files sorted by name (not those below it); DECTRIS data
    files whose master lies there too are read through the master only. What may follow a path after
    `::` is in `dataset.location`; after a folder it holds for every file.

    Raises DataFileError: path missing, suffix unknown, file unreadable or without frames.
    """
    files = [open_file(location) for path in paths for location in _locations(path)]
    return [
        Series(
            name=members[0].name,
            shape=members[0].shape,
            dtype=members[0].dtype,
            detector=members[0].detector(),
            frames=tuple(frame for file in members for frame in file.frames),
            made_of=frozenset().union(*(file.made_of for file in members)),
        )
        for members in _runs(files)
    ]


def _runs(files: Sequence[DataFile]) -> Iterator[list[DataFile]]:
    """The files of each series."""
    runs: dict[tuple[object, ...], list[DataFile]] = {}
    before: tuple[object, ...] = ()
    stretch = 0
    for position, file in enumerate(files):
        key = _joins(position, file)
        stretch += key != before
        before = key
        # Parts of one DECTRIS run belong together wherever they stand.
        in_parts = _master(file.frames[0].path) is not None
        runs.setdefault((*key, 0 if in_parts else stretch), []).append(file)
    for run in runs.values():
        members: list[DataFile] = []
        for file in run:
            if members and not _agree(members[0].said, file.said):
                yield members
                members = []
            members.append(file)
        yield members


def _agree(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    return all(math.isclose(one[name], other[name], rel_tol=DRIFT) for name in one.keys() & other)


def open_file(location: Location) -> DataFile:
    """One file, by its suffix. Raises DataFileError."""
    if not location.path.is_file():
        raise DataFileError(f"{location.path}: no such file; check the path")
    if location.inside is not None and RAW_SPEC.fullmatch(location.inside):
        return open_raw(location)
    opener = _OPENERS.get(location.suffix)
    if opener is None:
        raise DataFileError(
            f"{location.path}: suffix '{location.suffix}' is not known ({', '.join(_OPENERS)}); "
            "for a headerless binary append '::dtype,ROWSxCOLS[,offset=N]'"
        )
    return opener(location)


def _joins(position: int, file: DataFile) -> tuple[object, ...]:
    """Files with equal keys are joined; a file of several frames has a key of its own. Two
    folders are two runs, which a split by run must not take for one, and parts of one run are
    not two.
    """
    path = file.frames[0].path
    of = _master(path)
    if len(file.frames) > 1 and of is None:
        return (position,)
    return (file.shape, file.dtype, path.parent, of)


def _locations(path: Path) -> Iterator[Location]:
    place = parse_location(path)
    if not place.path.is_dir():
        yield place
        return
    raw = place.inside is not None and RAW_SPEC.fullmatch(place.inside) is not None
    inside = (
        Location(path=file, inside=place.inside)
        for file in sorted(place.path.iterdir())
        if file.is_file() and not file.name.startswith(".")
    )
    known = [location for location in inside if raw or location.suffix in _OPENERS]
    masters = {location.path.name for location in known if "_master." in location.path.name}
    found = [location for location in known if _master(location.path) not in masters]
    if not found:
        raise DataFileError(
            f"{path}: the folder holds no data files ({', '.join(_OPENERS)}); name one that does: "
            "folders within it are not searched"
        )
    yield from found


def _master(path: Path) -> str | None:
    """`NAME_master.h5` of a DECTRIS data file, `NAME_data_000001.h5`; None for any other."""
    match = _DATA_FILE.fullmatch(path.name)
    return None if match is None else f"{match['name']}_master{match['suffix']}"
