"""Memory that is freed stays, in a process that asks for it."""

import platform
import subprocess
import sys

import pytest

FREE_AND_TAKE = """
import resource, sys
from hitfinder.transport.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
held = [bytearray(40_000_000) for _ in range(3)]
del held
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
again = bytearray(b"x") * 40_000_000
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    command = [sys.executable, "-c", FREE_AND_TAKE, how]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_a_freed_message_leaves_its_pages_to_the_next() -> None:
    assert faults("keep") < 100 < faults("give back")
