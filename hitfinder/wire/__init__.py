"""Bytes to events and back, without sockets, clocks or threads."""

from collections.abc import Mapping
from typing import Final

from hitfinder.frame import Detector
from hitfinder.wire.array1 import Array1Decoder, Array1Encoder
from hitfinder.wire.dectris_v1 import DectrisV1Decoder, DectrisV1Encoder
from hitfinder.wire.dectris_v2 import DectrisV2Decoder, DectrisV2Encoder
from hitfinder.wire.fields import COUNTING
from hitfinder.wire.protocol import WireProtocol

PROTOCOLS: Final[Mapping[str, WireProtocol]] = {
    "dectris-v1": WireProtocol(
        decoder=DectrisV1Decoder, encoder=DectrisV1Encoder, detector=COUNTING
    ),
    "dectris-v2": WireProtocol(
        decoder=DectrisV2Decoder, encoder=DectrisV2Encoder, detector=COUNTING
    ),
    "array-1.0": WireProtocol(decoder=Array1Decoder, encoder=Array1Encoder, detector=Detector()),
}
"""Every protocol by the name that settings use."""
