"""`hitfinder simulate` with several processes."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hitfinder.commands import simulate
from hitfinder.errors import DataFileError


def test_a_run_that_fails_ends_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled = threading.Event()
    made: list[Path] = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, processes: int, mp_context: object) -> None:
            super().__init__(1)

        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            future = super().submit(fn, *args, **kwargs)
            future.add_done_callback(lambda done: cancelled.set() if done.cancelled() else None)
            return future

    def fail() -> None:
        raise DataFileError("the disk is full")

    def wait() -> None:
        assert cancelled.wait(10.0)

    monkeypatch.setattr(simulate, "ProcessPoolExecutor", Pool)
    jobs: dict[Path, simulate.Write] = {tmp_path / "0": fail, tmp_path / "1": wait}
    for name in "23":
        jobs[tmp_path / name] = partial(made.append, tmp_path / name)
    with pytest.raises(DataFileError, match="full"):
        list(simulate._written(jobs, 2))
    assert made == []
