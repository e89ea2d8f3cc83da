"""Good messages of every protocol, small, for tests that need one now and then."""

import numpy as np

from hitfinder.frame import Detector, Frame, SeriesEnded, SeriesStarted, array_payload
from hitfinder.wire import PROTOCOLS
from hitfinder.wire.compression import recoded
from tests.wire.oracle import pixels

ENCODINGS = {"dectris-v1": "bslz4", "dectris-v2": "bslz4", "array-1.0": "raw"}
SHAPE = (48, 67)
PIXELS = pixels("<u2", SHAPE)

DETECTOR = Detector(
    shape=SHAPE,
    mask=np.random.default_rng(3).random(SHAPE) < 0.1,
    saturation=21517.0,
    underload=0.0,
    beam_x_px=33.25,
    beam_y_px=20.5,
    pixel_x_mm=0.075,
    pixel_y_mm=0.1,
    distance_mm=150.0,
    wavelength_angstrom=1.03,
)


def whole(messages: object) -> tuple[bytes, ...]:
    """The one message among `messages`, its parts as bytes."""
    assert isinstance(messages, tuple)
    (message,) = messages
    return tuple(bytes(part) for part in message)


def start(protocol: str, series: str = "7", announced: int = 3) -> tuple[bytes, ...]:
    """A series start with mask; a protocol without one has no such message."""
    event = SeriesStarted(series=series, announced=announced, detector=DETECTOR)
    return whole(PROTOCOLS[protocol].encoder().start(event))


def frame(protocol: str, number: int = 0, series: str = "7") -> tuple[bytes, ...]:
    """A frame that holds PIXELS."""
    payload = recoded(array_payload(PIXELS), carried=(), encoding=ENCODINGS[protocol])
    event = Frame(series=series, number=number, payload=payload)
    return whole(PROTOCOLS[protocol].encoder().frame(event))


def end(protocol: str, series: str = "7") -> tuple[bytes, ...]:
    """A series end; a protocol without one has no such message."""
    return whole(PROTOCOLS[protocol].encoder().end(SeriesEnded(series=series)))
