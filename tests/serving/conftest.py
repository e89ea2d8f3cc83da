"""Closes what the benches of a test opened."""

from collections.abc import Iterator

import pytest

from tests.serving.bench import OPEN


@pytest.fixture(autouse=True)
def _closed_afterwards() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().let_die()
