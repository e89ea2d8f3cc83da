"""A process that answers, and one that does not."""

import io
import sys

import pytest

from benchmarks.pipes import Worker, WorkerError, worker


class Broken(io.BytesIO):
    """A pipe whose reader is gone."""

    def flush(self) -> None:
        raise BrokenPipeError


def test_lines_are_answered() -> None:
    echo = "import sys\nfor line in sys.stdin: print(line.strip().upper(), flush=True)"
    with worker([sys.executable, "-c", echo]) as process:
        assert process.ask(b"one") == b"ONE\n"
        assert process.ask(b"two") == b"TWO\n"


def test_a_dead_worker_is_told_by_its_last_words_not_by_its_pipe() -> None:
    dead = Worker(Broken(), io.BytesIO(), io.BytesIO(b"Traceback\nImportError: no flex\n"))
    for _ in range(2):
        with pytest.raises(WorkerError, match=r"^ImportError: no flex$"):
            dead.ask(b"one")


def test_a_worker_that_says_nothing() -> None:
    with pytest.raises(WorkerError, match="it said nothing"):
        Worker(io.BytesIO(), io.BytesIO(), io.BytesIO()).answer()
