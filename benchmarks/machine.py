"""What a benchmark ran on: processor, memory, versions, commit, load. Reads; measures nothing."""

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from benchmarks.record import Taken

_ROOT = Path(__file__).resolve().parents[1]
_WRITTEN_HERE = ("benchmarks/results", "benchmarks/RESULTS.md")
_PACKAGES = ("numpy", "onnxruntime", "onnxruntime-gpu", "imagecodecs", "pyzmq")


def processor() -> str:
    """Its name, as Linux tells it."""
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*: (.*)$", told, re.MULTILINE)
    name = found[1] if found else platform.machine()
    return re.sub(r"\s+", " ", re.sub(r"\((R|TM|r|tm)\)", "", name)).strip()


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def about() -> str:
    """Processor, cores, memory and system in a line."""
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.machine()}"
    return f"{processor()}, {cores()} cores, {gib:.0f} GiB, {system}"


def name() -> str:
    """For a file: processor and cores."""
    plain = re.sub(r"[^a-z0-9]+", "-", processor().lower()).strip("-")
    return f"{plain}-{cores()}-cores"


def versions() -> dict[str, str]:
    """Of Python and of the packages that the hot path runs in."""
    found = {"Python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def taken(*, load: float, seconds: float) -> Taken:
    """Now, of this checkout."""
    commit = _git("rev-parse", "--short", "HEAD") or "unknown"
    changed = _git("status", "--porcelain", "--", ".", *(f":!{path}" for path in _WRITTEN_HERE))
    return Taken(
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        commit=commit + ("+" if changed else ""),
        load=load,
        seconds=seconds,
    )


def load() -> float:
    """Processes that ran or wanted to, on average over the last minute."""
    return os.getloadavg()[0]


def memory_bytes(process: int) -> int:
    """Resident, of a process (Linux); 0 where the system does not tell."""
    try:
        told = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    found = re.search(r"^VmRSS:\s*(\d+) kB", told, re.MULTILINE)
    return 1024 * int(found[1]) if found else 0


def _git(*words: str) -> str:
    command: Sequence[str] = ("git", "-C", str(_ROOT), *words)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()
