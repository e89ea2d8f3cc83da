"""How many pages a TIFF has, told by its chain of directories (TIFF 6.0; BigTIFF).

fabio takes what it cannot follow, a stack cut short or a BigTIFF, for a single image. Frames would
be lost in silence; so the pages are counted here, and `image_files` compares. No pixels are read.
"""

import struct
from dataclasses import dataclass

_COMPRESSION, _SAMPLES_PER_PIXEL = 259, 277  # tags; both are 1 in a plain image of counts
_PACKBITS = 32773


@dataclass(frozen=True, slots=True, kw_only=True)
class TiffPages:
    """`count` pages; whether one is in colour; whether the file is compressed or BigTIFF, of which
    fabio reads single images only; whether it is compressed by PackBits, which fabio reads wrongly.
    """

    count: int
    colour: bool
    single_only: bool
    packbits: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """struct formats of an offset, of a directory's length, and of an entry of it."""

    first: int
    offset: str
    length: str
    entry_size: int
    value_at: int


_LAYOUTS = {
    42: _Layout(first=4, offset="I", length="H", entry_size=12, value_at=8),
    43: _Layout(first=8, offset="Q", length="Q", entry_size=20, value_at=12),
}


def tiff_pages(data: bytes) -> TiffPages:
    """What the directories of a TIFF say of its pages.

    Raises ValueError, with the reason, where they lead out of the file or in a circle.
    """
    order = {b"II": "<", b"MM": ">"}.get(data[:2], "<")
    try:
        (version,) = struct.unpack_from(order + "H", data, 2)
        if data[:2] not in (b"II", b"MM") or version not in _LAYOUTS:
            raise ValueError("it does not begin as a TIFF")
        layout = _LAYOUTS[version]
        (at,) = struct.unpack_from(order + layout.offset, data, layout.first)
        seen: set[int] = set()
        found: dict[int, set[int]] = {_COMPRESSION: {1}, _SAMPLES_PER_PIXEL: {1}}
        while at:
            if at in seen:
                raise ValueError("its pages lead in a circle")
            seen.add(at)
            (length,) = struct.unpack_from(order + layout.length, data, at)
            entries = at + struct.calcsize(order + layout.length)
            end = entries + length * layout.entry_size
            (at,) = struct.unpack_from(order + layout.offset, data, end)
            for entry in range(entries, end, layout.entry_size):
                (tag,) = struct.unpack_from(order + "H", data, entry)
                if tag in found:
                    (value,) = struct.unpack_from(order + "H", data, entry + layout.value_at)
                    found[tag].add(value)
    except (struct.error, OverflowError) as error:
        raise ValueError("its pages lead beyond its end") from error
    return TiffPages(
        count=len(seen),
        colour=max(found[_SAMPLES_PER_PIXEL]) > 1,
        single_only=layout is _LAYOUTS[43] or max(found[_COMPRESSION]) > 1,
        packbits=_PACKBITS in found[_COMPRESSION],
    )
