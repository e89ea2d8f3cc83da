"""The frames that the page can show, bounded in bytes; the oldest go first.

Safe to use from several threads. What this file does not know: where frames come from.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from hitfinder.monitor.raster import Raster
from hitfinder.monitor.rings import View
from hitfinder.wire.verdicts import VerdictMessage

OVERHEAD_BYTES = 2000
"""What a picture costs besides its pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotMap:
    """(rows, cols) float32 probabilities of a spot, each of a cell of cell_px x cell_px pixels of
    the region; it may reach beyond the region on the right and below.
    """

    map: Raster
    cell_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A frame's region as the model saw it. `spots` is None where the model gives no map, `trouble`
    says why a frame has no image.
    """

    verdict: VerdictMessage
    at_ns: int
    view: View
    image: Raster | None
    spots: SpotMap | None
    trouble: str | None = None

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        pixels = 0 if self.image is None else len(self.image.gzip)
        return OVERHEAD_BYTES + pixels + (0 if self.spots is None else len(self.spots.map.gzip))


class Gallery:
    """A frame stands under its series and number as long as there is room."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._pictures: OrderedDict[tuple[str, int], Picture] = OrderedDict()
        self._lock = threading.Lock()
        self._bytes = 0

    def add(self, picture: Picture) -> None:
        """Take a picture in. One that has come before, in an earlier life of its series, goes."""
        key = picture.verdict.series, picture.verdict.frame
        with self._lock:
            before = self._pictures.pop(key, None)
            self._bytes += picture.nbytes - (0 if before is None else before.nbytes)
            self._pictures[key] = picture
            while self._bytes > self._max_bytes:
                _, oldest = self._pictures.popitem(last=False)
                self._bytes -= oldest.nbytes

    def get(self, series: str, frame: int) -> Picture | None:
        """The picture, if it still stands."""
        with self._lock:
            return self._pictures.get((series, frame))

    def latest(self, count: int) -> list[Picture]:
        """Up to `count`, newest first."""
        with self._lock:
            newest = list(reversed(self._pictures.values()))
        return newest[:count]

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return self._bytes

    @property
    def max_bytes(self) -> int:
        """Bytes held at most."""
        return self._max_bytes
