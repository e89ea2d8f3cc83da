"""A model artifact on disk: a folder with `model.onnx` and the `card.json` that vouches for it.

A card that does not match its file is refused: nobody can say what such a model would do. Reads
JSON and hashes bytes; opens no session, and knows nothing of devices.
"""

import hashlib
from pathlib import Path
from typing import Literal

import msgspec

import hitfinder
from hitfinder.errors import ArtifactError

BINNED = "binned"
"""Name of a graph's input that says whether `image` is binned; see `ModelCard.binning`."""

GRAPH = "model.onnx"
CARD = "card.json"

Task = Literal["hit", "diffuse"]
"""What a high score means: Bragg peaks of a crystal, or structured diffuse scattering."""


Precision = Literal["fp32", "fp16", "int8"]
"""What most of the graph computes in, float32, float16 or 8-bit integers."""


class Measured(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the model did on one run (or one simulated condition) that it was not trained on.

    sensitivity is the share of true hits at or above the threshold, specificity the share of
    true misses below it; None where the run has no hits, or no misses.
    """

    run: str
    hits: int
    misses: int
    sensitivity: float | None = None
    specificity: float | None = None
    area_under_curve: float | None = None


class ModelCard(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a person must know of a model before using it. Keys it does not know are ignored, so
    that newer cards load in older releases.

    region says in words what the model was made for; data, what it was trained on; outputs maps
    each output of the graph to its meaning. A GPU's tensor cores are used with precision "fp16"
    only: they would round a float32 graph.

    binning is the side of the squares of pixels whose means are the first thing that the graph
    makes of an image, NaN where a pixel of a square is; 1 where it does no such thing. Where it is
    more, the graph has an optional input `binned` (), bool: true says that `image` is those means.
    """

    name: str
    version: str
    task: Task
    description: str
    region: str
    threshold: float
    threshold_from: str
    outputs: dict[str, str]
    onnx_sha256: str
    weights_origin: str
    data: str
    created_by: str
    data_sha256: str | None = None
    seed: int | None = None
    confidence: str | None = None
    precision: Precision = "fp32"
    binning: int = 1
    metrics: tuple[Measured, ...] = ()

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold <= 1.0:
            raise ValueError(f"threshold is {self.threshold}, outside 0 to 1")
        if self.binning < 1:
            raise ValueError(f"binning is {self.binning}, less than 1")


def sha256(content: bytes) -> str:
    """SHA-256 as on a card, in lower-case hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def write_card(folder: Path, card: ModelCard) -> None:
    """Write `card.json` for people and machines: indented, keys in the card's order."""
    text = msgspec.json.format(msgspec.json.encode(card), indent=2)
    (folder / CARD).write_bytes(text + b"\n")


def load_card(folder: Path) -> ModelCard:
    """The card in `folder`, whatever the graph beside it. Raises ArtifactError."""
    content = _read(folder, CARD)
    try:
        return msgspec.json.decode(content, type=ModelCard)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(
            f"model card {folder / CARD} is not valid: {error}; restore the folder from where the "
            "model was made"
        ) from error


def read_artifact(folder: Path) -> tuple[ModelCard, bytes]:
    """The card and the very bytes of the graph that were checked against it: what is run is what
    was verified, even when someone replaces the file meanwhile. Raises ArtifactError.
    """
    card = load_card(folder)
    graph = _read(folder, GRAPH)
    if sha256(graph) != card.onnx_sha256:
        raise ArtifactError(
            f"{folder / GRAPH} is not the file that its card vouches for (SHA-256 "
            f"{sha256(graph)[:12]}…, the card says {card.onnx_sha256[:12]}…); restore both files "
            "together"
        )
    return card, graph


def shipped_models() -> Path:
    """The folder of the models that come with hitfinder: in the package when installed, beside
    it in a checkout.
    """
    package = Path(hitfinder.__file__).parent
    installed = package / "models"
    return installed if installed.is_dir() else package.parent / "models"


def list_artifacts() -> tuple[str, ...]:
    """Names of the models that come with hitfinder, sorted."""
    folder = shipped_models()
    return tuple(sorted(each.parent.name for each in folder.glob(f"*/{CARD}")))


def find_artifact(name_or_path: str, base: Path) -> Path:
    """The folder meant by a path relative to `base`, or else by the name of a shipped model.

    Raises ArtifactError, with the shipped names, when there is neither.
    """
    for folder in (base / name_or_path, shipped_models() / name_or_path):
        if (folder / CARD).is_file():
            return folder
    raise ArtifactError(
        f"no model {name_or_path!r}: neither {base / name_or_path} nor a shipped model has a "
        f"{CARD}; shipped are {', '.join(list_artifacts()) or 'none'}"
    )


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"cannot read {folder / name}: {error.strerror}; a model is a folder with {GRAPH} "
            f"and {CARD}"
        ) from error
