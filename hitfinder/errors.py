"""The whole error tree.

    HitfinderError               one clear line: the thing, the place, the remedy
    ├── BrokenWorldError         the service or command cannot start or go on; non-zero exit
    │   ├── ConfigError          a setting is wrong, or two settings contradict each other
    │   ├── ArtifactError        a model folder is missing, damaged, or does not match its card
    │   ├── DeviceError          a device was asked for and is absent
    │   ├── EndpointError        a socket address is taken, malformed or refused
    │   └── LedgerError          the ledger's file cannot be opened, read or written
    ├── DataFileError            a data file cannot be read, or holds no frames
    ├── BadMessageError          one message breaks its protocol; counted by kind, never fatal
    └── PayloadError             a frame's pixels cannot be decoded; the frame goes on unjudged

Overload is not an error: it is an outcome (`hitfinder.verdict.Reason`).
"""


class HitfinderError(Exception):
    """Base of every error that hitfinder raises on purpose; its text is one line for a person."""


class BrokenWorldError(HitfinderError):
    """The command cannot start or go on; the process exits non-zero with this line."""


class ConfigError(BrokenWorldError):
    """A setting is wrong, unknown, or contradicts another."""


class ArtifactError(BrokenWorldError):
    """A model artifact is missing, damaged, or does not match its card."""


class DeviceError(BrokenWorldError):
    """The device asked for is absent, or its runtime is installed wrongly."""


class EndpointError(BrokenWorldError):
    """A socket address is taken, malformed or refused."""


class LedgerError(BrokenWorldError):
    """The ledger's file cannot be opened, read or written."""


class DataFileError(HitfinderError):
    """A data file cannot be read, or holds no frames."""


BAD_MESSAGE_KINDS = ("cbor", "header", "json", "parts", "size", "type")
"""What can be wrong with a message as a whole: its CBOR or JSON, the ids that name its series and
frame, the number of its parts, its size, or what it says it is."""


class BadMessageError(HitfinderError):
    """One message breaks its protocol.

    `kind` is a label for metrics, one of BAD_MESSAGE_KINDS, never text from the message itself.
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind


class PayloadError(HitfinderError):
    """A frame's pixels cannot be decoded: truncated, lying about its size, or corrupt."""
