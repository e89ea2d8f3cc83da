"""Other projects' peak finders: where they live, and how they are asked.

OM and psana are installed from PyPI, each into an environment of its own under the user's cache
(`hitfinder/bench`), once; DIALS is Debian's package or whatever has `dials.python`. A peer that
cannot be had raises PeerError, whose text says why, and the remedy. What a peer measures:
`benchmarks.peer_worker`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.pipes import Worker, WorkerError, worker
from benchmarks.record import Tell
from hitfinder.errors import HitfinderError

_WORKER = Path(__file__).with_name("peer_worker.py")
_PYTHONS = (sys.executable, "python3.12", "python3.11", "python3.10", "python3.13", "python3")
_QUIET = ("--quiet", "--disable-pip-version-check", "--no-input")


class PeerError(HitfinderError):
    """A peer cannot be had, or broke down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """`name` as the worker knows it, `version` the one that is installed. `pip`: what to install, a
    pip run each; none for a peer that the system brings, which `remedy` installs.
    """

    name: str
    title: str
    remedy: str
    version: str = ""
    pip: tuple[tuple[str, ...], ...] = ()


PEERS = (
    Peer(
        name="om",
        title="OM",
        # OM was built against numpy 1; wheels for Python 3.10 and 3.11.
        version="23.8.3",
        pip=(("--only-binary=ondamonitor", "ondamonitor==23.8.3", "numpy<2"),),
        remedy="install Python 3.11 beside this one, or let pip reach PyPI, and run again",
    ),
    Peer(
        name="psana",
        title="psana",
        version="4.3.4",
        # Without what the framework around the finder needs (MPI, Kerberos to be compiled).
        pip=(("numpy>=2",), ("--only-binary=:all:", "--no-deps", "psana==4.3.4")),
        remedy="install Python 3.11 or 3.12 beside this one, or let pip reach PyPI, and run again",
    ),
    Peer(name="dials", title="DIALS", remedy="apt install dials, or put dials.python on the PATH"),
)


class Found(msgspec.Struct, frozen=True):
    """What a search of one frame took, and found."""

    ms: float
    peaks: int


class PeerFinders:
    """A worker in a peer's Python; made by `peer_finders`."""

    def __init__(self, peer: Peer, process: Worker, folder: Path) -> None:
        self._peer = peer
        self._process = process
        self._folder = folder
        self.version = msgspec.json.decode(self._said(process.answer), type=str)

    def load(self, frames: NDArray[np.float32], radius_px: NDArray[np.float32]) -> tuple[str, ...]:
        """Hand over frames (n, rows, cols), NaN = no measurement, and radii (rows, cols); the
        names of the finders that will search them. Raises PeerError.
        """
        request: dict[str, str | int] = {}
        for name, array in (("frames", frames), ("radius", radius_px)):
            place = self._folder / f"{name}.npy"
            np.save(place, array)
            request[name] = str(place)
        return msgspec.json.decode(self._ask(request), type=tuple[str, ...])

    def find(self, finder: str, frame: int) -> Found:
        """One frame through one finder. Raises PeerError."""
        return msgspec.json.decode(self._ask({"finder": finder, "frame": frame}), type=Found)

    def _ask(self, request: dict[str, str | int]) -> bytes:
        return self._said(lambda: self._process.ask(msgspec.json.encode(request)))

    def _said(self, answer: Callable[[], bytes]) -> bytes:
        try:
            return answer()
        except WorkerError as error:
            raise PeerError(f"its process died ({error}): {self._peer.remedy}") from error


@contextmanager
def peer_finders(peer: Peer, tell: Tell) -> Iterator[PeerFinders]:
    """A worker in the peer's own Python, on one core. Raises PeerError."""
    python = _python_of(peer, tell)
    # Nothing of this project's environment, which may be of another Python.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["OMP_NUM_THREADS"] = "1"
    command = [str(python), str(_WORKER), peer.name]
    with (
        tempfile.TemporaryDirectory(prefix="hitfinder-bench-") as folder,
        worker(command, environment) as process,
    ):
        yield PeerFinders(peer, process, Path(folder))


def cache_folder() -> Path:
    """Where what is made once is kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "hitfinder" / "bench"


def _python_of(peer: Peer, tell: Tell) -> Path:
    """A Python that has the peer. Raises PeerError."""
    if peer.pip:
        return _environment(peer, tell)
    for name in ("dials.python", "/usr/bin/python3"):
        python = shutil.which(name)
        if python is not None and _runs([python, "-c", f"import {peer.name}"]):
            return Path(python)
    raise PeerError(f"not installed: {peer.remedy}")


def _environment(peer: Peer, tell: Tell) -> Path:
    """The peer's environment, made where it is not there yet. Raises PeerError."""
    folder = cache_folder() / f"{peer.name}-{peer.version}"
    python = folder / "bin" / "python"
    if python.exists():
        return python
    said = "no Python with venv and pip was found"
    for name in dict.fromkeys(_PYTHONS):
        base = shutil.which(name)
        if base is None or not _runs([base, "-c", "import venv, ensurepip"]):
            continue
        tell(f"installing {peer.title} once, into {folder}")
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        problem = _install(base, partial, peer)
        if problem is None:
            # Its scripts name the old place, but none of them is used.
            partial.rename(folder)
            return python
        said = f"{Path(base).name}: {problem}"
    raise PeerError(f"not installed ({said}): {peer.remedy}")


def _install(base: str, folder: Path, peer: Peer) -> str | None:
    """Make the environment; why not, where that failed."""
    python = str(folder / "bin" / "python")
    commands = [[base, "-m", "venv", str(folder)]]
    commands += [[python, "-m", "pip", "install", *_QUIET, *each] for each in peer.pip]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            return lines[-1][:200] if lines else f"{command[1:3]} failed"
    return None


def _runs(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
