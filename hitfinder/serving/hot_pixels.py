"""Hot pixels, learned from the frames that are judged: told, saved, and masked if that is wanted.

The judge shows every region (`see`) and, once its verdicts are out, gives time to learn (`learn`);
the main thread saves. Nothing that fails here reaches the judge: it is counted and told once, and
learning begins anew with the next series.
What this file does not know: how hot pixels are found (`images.hot_pixels`).
"""

import logging
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import DataFileError
from hitfinder.images.hot_pixel_file import HotPixelMap, load_hot_pixels, save_hot_pixels
from hitfinder.images.hot_pixels import LARGEST_SHARE, HotPixels
from hitfinder.images.reader import RegionReader
from hitfinder.serving.metrics import Metrics
from hitfinder.serving.reports import Reports

LOOK_EACH_NS = 100_000_000
"""Between looks at a frame: of the judge's time they then take 2 % with a 350 x 350 region and 5 %
with 16M pixels, whatever the rate. The first mask takes 5 s there and 6 minutes here."""

SAVE_EACH_NS = 60_000_000_000
"""Between two writes of a file that changes: it is for the next start, which can wait."""

NOTABLE = 0.1
"""Share of the pixels last told that must have changed before it is told again."""


class HotPixelMask:
    """`see` and `learn` belong to the judge's threads, which take turns at learning; `load` and
    `save` to the main thread.
    """

    def __init__(
        self,
        *,
        masks: bool,
        file: Path | None,
        metrics: Metrics,
        clock: Callable[[], int],
        reports: Reports,
    ) -> None:
        self._masks = masks
        self._file = file
        self._metrics = metrics
        self._clock = clock
        self._reports = reports
        self._learns = threading.Lock()
        self._pixels: HotPixels | None = None
        self._payload_shape: tuple[int, ...] = ()
        self._places: NDArray[np.int32]  # (H, W) from the region to the flat payload
        self._known: HotPixelMap | None = None
        self._beyond: HotPixelMap  # what is known outside the region
        self._told = np.zeros(0, np.intp)
        self._told_too_many = False
        self._next_look_ns = 0
        self._next_save_ns = 0
        self._unsaved = threading.Event()
        self._told_unsaved = False
        self._failed = False

    def load(self) -> None:
        """Begin with what an earlier run saved, if there is something."""
        self._safely(self._load)

    def begin(self, reader: RegionReader, payload_shape: tuple[int, ...]) -> None:
        """Frames will be read by this reader. What was learned stays while the pixels do."""
        with self._learns:
            self._safely(self._begin, reader, payload_shape)

    def see(self, region: NDArray[np.float32]) -> None:
        """A frame's region (H, W) float32: looked at now and then; hot pixels become NaN in it."""
        self._safely(self._see, region)

    def learn(self) -> None:
        """Learn from the last look, if there was one, and nobody is at it."""
        if self._learns.acquire(blocking=False):
            try:
                self._safely(self._learn)
            finally:
                self._learns.release()

    def save(self, *, now: bool = False) -> None:
        """Write the file if there is something new and the last time is long ago, or `now`."""
        self._safely(self._save, now)

    def _safely(self, act: Callable[..., None], *arguments: Any) -> None:
        """The one guard: a mask is a convenience, a frame is not."""
        try:
            act(*arguments)
        except Exception as error:
            self._pixels = None
            self._metrics.hot_pixels.set(0)
            self._metrics.hot_pixel_errors.inc()
            if not self._failed:
                self._failed = True
                text = f"{error!r}; frames are judged without, until the next series"
                self._reports.add("hot pixels failed", text)
                logging.getLogger("hitfinder.judge").exception("where hot pixels failed")

    def _load(self) -> None:
        if self._file is None or not self._file.exists():
            return
        try:
            self._known = load_hot_pixels(self._file)
        except DataFileError as error:
            self._reports.add("hot pixels ignored", str(error))

    def _begin(self, reader: RegionReader, payload_shape: tuple[int, ...]) -> None:
        places = reader.places()
        same = self._pixels is not None and payload_shape == self._payload_shape
        if same and np.array_equal(places, self._places):
            return
        known = self._known
        if known is None or known.payload_shape != payload_shape:
            if known is not None:
                self._reports.add(
                    "hot pixels ignored",
                    f"they were learned from frames of shape {known.payload_shape}, these have "
                    f"{payload_shape}; learning anew",
                )
            nothing = np.zeros(0, np.intp)
            known = HotPixelMap(
                payload_shape=payload_shape, places=nothing, shares=nothing.astype(np.float32)
            )
        self._payload_shape, self._places = payload_shape, places
        seed = np.zeros(0, np.intp)
        if known.places.size:  # else a shape that only a damaged header has would cost memory
            is_known = np.zeros(math.prod(payload_shape), np.bool_)
            is_known[known.places] = True
            seed = np.flatnonzero((places >= 0) & is_known.take(places))
        beyond = ~np.isin(known.places, places.flat[seed])
        self._beyond = HotPixelMap(
            payload_shape=payload_shape, places=known.places[beyond], shares=known.shares[beyond]
        )
        self._pixels = HotPixels(reader.shape, seed)
        self._told = self._pixels.hot
        self._metrics.hot_pixels.set(self._told.size)
        if self._told.size:
            self._tell(self._pixels, "from before")

    def _see(self, region: NDArray[np.float32]) -> None:
        pixels = self._pixels
        if pixels is None or pixels.shape != region.shape:
            return  # or another thread has begun the next series meanwhile
        now_ns = self._clock()
        if now_ns >= self._next_look_ns and self._learns.acquire(blocking=False):
            try:
                self._next_look_ns = now_ns + LOOK_EACH_NS
                pixels.look(region)
                self._metrics.hot_pixel_looks.inc()
            finally:
                self._learns.release()
        if self._masks:
            region.put(pixels.hot, np.nan)

    def _learn(self) -> None:
        pixels = self._pixels
        if pixels is None:
            return
        before = pixels.hot
        if not pixels.learn():
            return
        self._metrics.hot_pixels.set(pixels.hot.size)
        if pixels.too_many:
            self._tell_too_many(pixels)
            return
        self._told_too_many = False
        if not np.array_equal(before, pixels.hot):
            self._metrics.hot_pixel_changes.inc()
            self._known = self._everything(pixels)
            self._unsaved.set()
        new = np.setdiff1d(pixels.hot, self._told).size
        gone = np.setdiff1d(self._told, pixels.hot).size
        if new + gone > NOTABLE * self._told.size:
            self._told = pixels.hot
            self._tell(pixels, f"{new} new, {gone} gone")

    def _everything(self, pixels: HotPixels) -> HotPixelMap:
        """In the region and beyond it. A geometry may show one pixel of the payload twice."""
        places = np.concatenate([self._places.flat[pixels.hot], self._beyond.places])
        shares = np.concatenate([pixels.shares, self._beyond.shares])
        places, first = np.unique(places.astype(np.intp), return_index=True)
        return HotPixelMap(payload_shape=self._payload_shape, places=places, shares=shares[first])

    def _tell(self, pixels: HotPixels, how: str) -> None:
        use = "the model does not see them" if self._masks else "the model sees them"
        rows, cols = pixels.shape
        text = f"{pixels.hot.size} in the region of {rows} x {cols}, {how}; {use}"
        self._reports.add("hot pixels", text, logging.INFO)

    def _tell_too_many(self, pixels: HotPixels) -> None:
        if self._told_too_many:
            return
        self._told_too_many = True
        self._told = pixels.hot
        self._reports.add(
            "too many hot pixels",
            f"{pixels.too_many} pixels stand out in most frames, more than {LARGEST_SHARE:.0%} of "
            "those measured: none is taken for hot; is the stream's data type right?",
        )

    def _save(self, now: bool) -> None:
        if self._file is None or not self._unsaved.is_set():
            return
        if not now and self._clock() < self._next_save_ns:
            return
        self._next_save_ns = self._clock() + SAVE_EACH_NS
        self._unsaved.clear()  # before reading: what is found meanwhile counts as new
        if self._known is None:
            return
        try:
            save_hot_pixels(self._file, self._known)
        except OSError as error:
            self._unsaved.set()
            self._metrics.hot_pixel_errors.inc()
            if not self._told_unsaved:
                self._told_unsaved = True
                text = f"cannot write {self._file}: {error.strerror}; set [hot_pixels] file"
                self._reports.add("hot pixels not saved", text)
            return
        self._told_unsaved = False
