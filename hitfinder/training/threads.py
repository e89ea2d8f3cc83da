"""How many threads torch takes. Knows nothing of what is computed."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """The maps are small: a second thread gains little on an idle machine, and costs ten times as
    much where it waits for a core that others use. And sums come out the same everywhere.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
