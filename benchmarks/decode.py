"""Decoding the rows that the hit model needs, against decoding the frame. Part of `make bench`.

The demo's frames as each codec and depth would carry them, compressed as the detectors do it. A
turn decodes band and frame of the same message one after the other; measured is processor time.
What this file does not know: the headers around the pixels, and what is done with them after.
"""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.material import Shots, shots
from benchmarks.record import Bar, Column, Row, Section, Tell, spread
from hitfinder.frame import Payload
from hitfinder.wire.compression import CODECS, encoded_payload

PART = "decode"
FRAMES = 8
TURNS = 40
BAND_ROWS = 350
TYPES = ("uint8", "uint16", "uint32")
ONE_BLOCK = "lz4"
"""Stream v1's codec without blocks: a band of it costs the frame, by its format."""
LEAST = 4.0


def measure(share: float, tell: Tell) -> list[Section]:
    """A row for each codec and depth."""
    tell("simulating frames")
    seen = shots(FRAMES)
    rows, least = [], dict[str, float]()
    for encoding in CODECS:
        if encoding == "raw":
            continue  # nothing to decode: a band of it is a view
        for name in TYPES:
            tell(f"{encoding} {name}")
            payloads = _payloads(seen, encoding, np.dtype(name))
            band, frame = _in_turns(payloads, max(2, round(share * TURNS)))
            ratio = spread(frame / band)
            size = sum(len(one.data) for one in payloads) / len(payloads) / 1e6
            cells = (size, spread(1e3 * band), spread(1e3 * frame), ratio)
            rows.append(Row(name=f"{encoding}, {name}", cells=cells))
            least[encoding] = min(least.get(encoding, np.inf), ratio.median)
    height, width = seen.pixels.shape[1:]
    return [
        Section(
            part=PART,
            title="Decoding a band of rows, and the frame",
            says=(
                f"Processor time of the middle {BAND_ROWS} rows of a frame of {height} × {width}, "
                f"hits and blanks, and of the whole frame in the same turn. {ONE_BLOCK} is one "
                "block, of which no band can be had for less."
            ),
            first="codec and pixels",
            columns=(
                Column(name="message", unit="MB"),
                Column(name="band", unit="ms"),
                Column(name="whole", unit="ms"),
                Column(name="whole / band"),
            ),
            rows=tuple(rows),
            bars=tuple(
                Bar(what=f"{encoding}: frame over band", value=value, least=LEAST)
                for encoding, value in least.items()
                if encoding != ONE_BLOCK
            ),
        )
    ]


def _payloads(seen: Shots, encoding: str, dtype: np.dtype[Any]) -> list[Payload]:
    """The frames as messages of this depth: flags stay the type's largest value."""
    highest = np.iinfo(dtype).max
    flagged = np.iinfo(seen.pixels.dtype).max
    wide = seen.pixels.astype(np.uint64)
    pixels = np.where(wide == flagged, highest, np.minimum(wide, highest))
    return [_payload(each, encoding) for each in pixels.astype(dtype)]


def _payload(pixels: NDArray[Any], encoding: str) -> Payload:
    data = CODECS[encoding].encode(pixels)
    return encoded_payload(data, dtype=pixels.dtype, shape=pixels.shape, encoding=encoding)


def _in_turns(
    payloads: list[Payload], turns: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Seconds of processor time of the band and of the frame, (turns,) each."""
    rows = payloads[0].shape[0]
    top = (rows - BAND_ROWS) // 2
    times = np.empty((turns, 2))
    for turn in range(-1, turns):  # the first is not kept
        payload = payloads[turn % len(payloads)]
        started = time.thread_time()
        payload.rows(top, top + BAND_ROWS)
        middle = time.thread_time()
        payload.whole()
        times[turn] = middle - started, time.thread_time() - middle
    return times[:, 0], times[:, 1]
