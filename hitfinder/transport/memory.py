"""Keeps the memory of messages that are done for the next ones, rather than give it back each time.

libzmq takes a new block for every message. With glibc's defaults a frame's block goes back to the
kernel when the frame has left, and the next frame pays for every page anew: for 6 MB that is half
as much as receiving them. What this file does not know: messages, and libraries other than glibc.
"""

import ctypes
import platform

_TRIM_THRESHOLD = -1
_MMAP_MAX = -4
_ARENA_MAX = -8
"""Names of mallopt(3)."""

_NEVER = -1


def keep_freed_memory() -> bool:
    """From now on this process keeps what it frees, up to the most that it ever held. Call it
    before other threads start. False where the C library is not glibc, and nothing changes.

    One arena for all threads: others are bounded to 64 MB, give back what is free, and a block
    freed by one thread serves none that belongs to another arena.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    wanted = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER))
    done = [bool(mallopt(name, value)) for name, value in wanted]
    return all(done)
