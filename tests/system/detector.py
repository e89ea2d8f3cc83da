"""A detector that sends hits and misses, in any protocol."""

from collections.abc import Iterator

import numpy as np

from hitfinder.frame import Frame, Part, Payload, SeriesEnded, SeriesStarted, array_payload
from hitfinder.wire import PROTOCOLS
from hitfinder.wire.compression import recoded
from tests.wire.messages import ENCODINGS

SHAPE = (256, 256)


def payload(protocol: str, spots: int, shape: tuple[int, int] = SHAPE) -> Payload:
    """Poisson background, and so many spots of one bright and a few dim pixels."""
    rng = np.random.default_rng(spots)
    pixels = rng.poisson(2.0, shape).astype(np.uint16)
    for at in range(spots):
        row, col = 15 + 30 * (at // 8), 15 + 30 * (at % 8)
        pixels[row : row + 2, col : col + 2] += np.array([[200, 80], [80, 30]], np.uint16)
    return recoded(array_payload(pixels), carried=(), encoding=ENCODINGS[protocol])


class Detector:
    """Encodes a series as a detector would."""

    def __init__(self, protocol: str, series: str = "99") -> None:
        self.encoder = PROTOCOLS[protocol].encoder()
        self.series = series
        self.hit, self.miss = payload(protocol, 30), payload(protocol, 0)

    def start(self, announced: int | None = None) -> list[tuple[Part, ...]]:
        return list(self.encoder.start(SeriesStarted(series=self.series, announced=announced)))

    def frame(self, number: int, pixels: Payload | None = None) -> list[tuple[Part, ...]]:
        """Even frames are hits."""
        chosen = pixels or (self.miss if number % 2 else self.hit)
        frame = Frame(series=self.series, number=number, payload=chosen)
        return list(self.encoder.frame(frame))

    def frames(self, start: int, stop: int) -> list[tuple[Part, ...]]:
        return [parts for number in range(start, stop) for parts in self.frame(number)]

    def end(self) -> list[tuple[Part, ...]]:
        return list(self.encoder.end(SeriesEnded(series=self.series)))

    def burst(self, count: int, pixels: Payload) -> Iterator[tuple[Part, ...]]:
        """A series of large frames, each made when it is sent."""
        yield from self.start(count)
        for number in range(count):
            yield from self.frame(number, pixels)
        yield from self.end()
