"""Closes what the benches of a test opened."""

from collections.abc import Iterator

import pytest

from tests.serving.bench import OPEN, PIPELINES


@pytest.fixture(autouse=True)
def _closed_afterwards() -> Iterator[None]:
    yield
    while PIPELINES:
        if (pipeline := PIPELINES.pop()).hangs:
            pipeline.drain(0.0)
    while OPEN:
        OPEN.pop().let_die()
