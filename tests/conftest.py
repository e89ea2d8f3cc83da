"""Fixtures that every room uses."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def wire_samples() -> Path:
    """Recordings of real detectors' messages, beside the checkout."""
    path = SHARED / "wire_samples"
    if not path.is_dir():
        pytest.skip(f"recordings not found at {path}: lay shared/ beside the checkout")
    return path


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Real detector frames, beside the checkout."""
    path = SHARED / "realdata"
    if not path.is_dir():
        pytest.skip(f"real frames not found at {path}: lay shared/ beside the checkout")
    return path
