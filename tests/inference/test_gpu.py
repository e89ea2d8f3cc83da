"""The way of a batch to a GPU, with the CPU in the GPU's place and a CUDA runtime that counts."""

import errno
import gc
import logging
import mmap
from typing import Any

import numpy as np
import pytest

from hitfinder.inference import gpu
from hitfinder.inference.gpu import MOST_SHAPES, NO_CAPTURE, TO_GPU, TO_HOST, Uploads, page_locked
from hitfinder.inference.sessions import cpu_session
from tests.inference.artifacts import first_pixel
from tests.inference.cuda import Runtime, on_cpu


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    made = Runtime()
    monkeypatch.setattr(gpu, "_cuda_runtime", lambda: made)
    return made


def test_a_buffer_is_locked_as_long_as_anyone_sees_it(runtime: Runtime) -> None:
    buffer = page_locked((2, 3, 5))
    ((address, size),) = runtime.locked.items()
    assert address == buffer.ctypes.data
    assert address % 4096 == 0
    assert size == buffer.nbytes == 2 * 3 * 5 * 4
    assert buffer.dtype == np.float32
    assert buffer.flags.writeable
    assert not buffer.any()
    part = buffer[1:, :2]
    del buffer
    gc.collect()
    assert runtime.locked
    part[:] = 7
    del part
    gc.collect()
    assert not runtime.locked


def test_memory_that_cannot_be_locked_is_ordinary_memory(
    runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    runtime.status = 2
    with caplog.at_level(logging.WARNING):
        buffer = page_locked((1, 2, 2))
    assert buffer.shape == (1, 2, 2)
    assert runtime.cleared == 1
    assert "CUDA locks no memory (error 2)" in caplog.text
    del buffer
    gc.collect()


def test_without_a_cuda_runtime_it_is_ordinary_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_cuda_runtime", lambda: None)
    assert page_locked((4, 2, 3)).shape == (4, 2, 3)
    assert page_locked((0, 2, 3)).shape == (0, 2, 3)


def test_no_memory_at_all_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", full)
    with pytest.raises(MemoryError, match=r"no 96 bytes for a batch of shape \(4, 2, 3\)"):
        page_locked((4, 2, 3))


class Session:
    """A session on the CPU that notes the graph's number of each run."""

    def __init__(self) -> None:
        self._real = cpu_session(first_pixel().SerializeToString())
        self.graphs: list[str] = []

    def io_binding(self) -> Any:
        return self._real.io_binding()

    def run_with_iobinding(self, binding: Any, options: Any) -> None:
        self.graphs.append(options.get_run_config_entry("gpu_graph_id"))
        self._real.run_with_iobinding(binding, options)


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch, runtime: Runtime) -> Session:
    monkeypatch.setattr(gpu, "_on_gpu", on_cpu)
    return Session()


def images(n: int, rows: int = 2) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(n).random((n, rows, 3), np.float32)


def test_each_shape_keeps_its_graph(session: Session) -> None:
    uploads = Uploads(session, captures=True)
    for n in (1, 2, 1, 4, 2):
        np.testing.assert_array_equal(uploads.score(images(n)), images(n)[:, 0, 0])
    assert session.graphs == ["1", "2", "1", "3", "2"]


def test_nothing_is_captured_unasked(session: Session) -> None:
    uploads = Uploads(session, captures=False)
    for n in (1, 2, 1):
        uploads.score(images(n))
    assert session.graphs == [NO_CAPTURE] * 3


def test_places_are_few_and_a_graph_s_number_is_never_used_again(session: Session) -> None:
    uploads = Uploads(session, captures=True)
    for rows in range(1, MOST_SHAPES + 2):
        uploads.score(images(1, rows))
    assert len(uploads._places) == MOST_SHAPES
    scores = uploads.score(images(1, 1))
    assert scores.tolist() == images(1, 1)[:, 0, 0].tolist()
    assert session.graphs[-1] == str(MOST_SHAPES + 2)


def test_a_batch_in_another_layout_or_type_arrives_the_same(session: Session) -> None:
    uploads = Uploads(session, captures=False)
    wide = images(4).transpose(0, 2, 1)[::2]
    np.testing.assert_array_equal(uploads.score(wide), wide[:, 0, 0])
    doubled = images(2).astype(np.float64)
    np.testing.assert_array_equal(uploads.score(doubled), images(2)[:, 0, 0])  # type: ignore[arg-type]


def test_a_batch_is_one_copy_there_and_one_back(session: Session, runtime: Runtime) -> None:
    uploads = Uploads(session, captures=False)
    for _ in range(2):
        uploads.score(images(4))
    assert runtime.copied == [(4 * 2 * 3 * 4, TO_GPU), (4 * 4, TO_HOST)] * 2


def test_a_copy_that_fails_says_what_cuda_says(session: Session, runtime: Runtime) -> None:
    uploads = Uploads(session, captures=False)
    runtime.status = 700
    with pytest.raises(RuntimeError, match=r"^CUDA failure 700: an illegal memory access"):
        uploads.score(images(1))


def test_without_the_runtime_no_batch_is_scored(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "_cuda_runtime", lambda: None)
    with pytest.raises(RuntimeError, match="cannot be found"):
        Uploads(session, captures=False).score(images(1))
