"""A process that answers lines with lines, and what its last words were if it does not."""

import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO

from hitfinder.errors import HitfinderError

_MOST = 200
"""Characters of last words."""


class WorkerError(HitfinderError):
    """A worker died; the text is the last line that it wrote to standard error."""


class Worker:
    """The process at the other end of two pipes; made by `worker`."""

    def __init__(self, to: IO[bytes], answers: IO[bytes], errors: IO[bytes]) -> None:
        self._to = to
        self._answers = answers
        self._errors = errors

    def ask(self, line: bytes) -> bytes:
        """Its answer to a line without a line's end. Raises WorkerError."""
        with suppress(BrokenPipeError):  # the answer that does not come tells it
            self._to.write(line + b"\n")
            self._to.flush()
        return self.answer()

    def answer(self) -> bytes:
        """The next line that it writes. Raises WorkerError."""
        answer = self._answers.readline()
        if not answer:
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace").strip()
            raise WorkerError(said.rpartition("\n")[2][:_MOST] or "it said nothing")
        return answer


@contextmanager
def worker(
    command: Sequence[str], environment: Mapping[str, str] | None = None
) -> Iterator[Worker]:
    """The command's process, ended whatever happens here."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
        )
        if process.stdin is None or process.stdout is None:
            raise WorkerError("it was started without pipes")
        try:
            yield Worker(process.stdin, process.stdout, errors)
        finally:
            process.kill()
            # What was not written any more is lost with it.
            with suppress(BrokenPipeError):
                process.stdin.close()
            process.stdout.close()
            process.wait()
