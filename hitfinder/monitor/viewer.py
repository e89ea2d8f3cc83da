"""Samples to pictures: the region's pixels as live, and the spots that the model sees in them.

One message at a time, in a thread of its own: while it works, the socket drops what is too much.
What this file does not know: sockets, and how the page looks.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hitfinder.errors import BadMessageError, HitfinderError, PayloadError
from hitfinder.frame import Detector, Frame, Part, SeriesEnded, SeriesStarted
from hitfinder.images.reader import RegionReader
from hitfinder.monitor.gallery import Gallery, Picture, SpotMap
from hitfinder.monitor.powder import Powder
from hitfinder.monitor.raster import raster
from hitfinder.monitor.rings import View, view_of
from hitfinder.verdict import Outcome
from hitfinder.wire.protocol import Decoder
from hitfinder.wire.samples import SeriesMark, split
from hitfinder.wire.verdicts import VerdictMessage


class Model(Protocol):
    """Runs the artifact's whole graph."""

    def outputs(self, batch: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """(N, H, W) float32 with NaN = no measurement → each output by name."""
        ...


Plan = Callable[[tuple[int, ...], Detector], RegionReader]
"""Makes a reader for payloads of a shape from a detector. Raises ConfigError."""

Override = Callable[[Detector], Detector]
"""Puts what the settings say in place of what the stream says. Raises ConfigError."""


class Viewer:
    """`take` every message of the sample stream. `detector` is what frames are read by before a
    series' start was seen.
    """

    def __init__(
        self,
        *,
        decoder: Decoder,
        plan: Plan,
        override: Override,
        model: Model,
        gallery: Gallery,
        powder: Powder,
        detector: Detector,
    ) -> None:
        self._decoder = decoder
        self._plan = plan
        self._override = override
        self._model = model
        self._gallery = gallery
        self._powder = powder
        self.ended = False
        """Whether the last series is known to be over, and no frame of another was seen yet: a
        detector that is armed may wait for long.
        """
        self._detector = detector
        self._planned: tuple[tuple[int, ...], RegionReader, View] | None = None

    def take(self, message: tuple[Part, ...], now_ns: int) -> None:
        """Take one message in. Raises BadMessageError for one that is no sample."""
        head, parts = split(message)
        event = self._decoder.decode(parts, now_ns)
        if isinstance(head, SeriesMark):
            if isinstance(event, SeriesStarted):
                if self.ended:
                    self._powder.forget()  # it may have the number of the one before
                self._detector, self._planned = event.detector, None
            elif isinstance(event, SeriesEnded):
                self.ended = True
        elif isinstance(event, Frame):
            self.ended = False
            self._gallery.add(self._picture(head, event, now_ns))
        else:
            raise BadMessageError("type", "a sample without a frame")

    def _picture(self, verdict: VerdictMessage, frame: Frame, now_ns: int) -> Picture:
        view = view_of((0, 0), None, Detector())
        try:
            reader, view = self._prepared(frame)
            pixels = np.empty(reader.shape, np.float32)  # (H, W)
            reader.read(frame.payload, pixels)
            spots = self._spots(pixels)
        except (HitfinderError, MemoryError) as error:
            return Picture(
                verdict=verdict, at_ns=now_ns, view=view, image=None, spots=None, trouble=str(error)
            )
        if verdict.outcome is Outcome.KEPT:
            self._powder.add(verdict.series, pixels, view)
        return Picture(verdict=verdict, at_ns=now_ns, view=view, image=raster(pixels), spots=spots)

    def _prepared(self, frame: Frame) -> tuple[RegionReader, View]:
        shape = frame.payload.shape
        if self._planned is None or self._planned[0] != shape:
            reader = self._plan(shape, self._detector)
            view = view_of(reader.shape, reader.beam_px, self._override(self._detector))
            self._planned = shape, reader, view
        return self._planned[1], self._planned[2]

    def _spots(self, pixels: NDArray[np.float32]) -> SpotMap | None:
        if not np.isfinite(pixels).any():
            raise PayloadError("no pixel of the region was measured; is the mask right?")
        spots = self._model.outputs(pixels[np.newaxis]).get("spots")  # (1, rows, cols)
        if spots is None:
            return None
        # A map reaches beyond the image by less than a cell, so the longer side tells best.
        side = int(np.argmax(pixels.shape))
        cell_px = round(pixels.shape[side] / spots.shape[1 + side])
        return SpotMap(map=raster(spots[0].astype(np.float32)), cell_px=cell_px)
