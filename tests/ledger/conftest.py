"""Where ledgers are, and who closes them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ledger.harness import OPEN


@pytest.fixture(autouse=True)
def _closed_afterwards() -> Iterator[None]:
    yield
    while OPEN:
        # As a killed process would leave it; one whose opening failed has nothing to close.
        db = getattr(OPEN.pop(), "_db", None)
        if db is not None:
            db.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "ledger.sqlite"
