"""The machine's clock is set while the page runs."""

from hitfinder.monitor.wall_clock import STEP_NS, WallClock
from hitfinder.testing.fakes import FakeClock


def test_times_follow_a_clock_that_is_set_and_do_not_tremble() -> None:
    monotonic, unix = FakeClock(0), FakeClock(1000)
    wall = WallClock(monotonic, unix)
    assert wall(5) == 1005
    unix.pass_ms(0.5 * STEP_NS / 1e6)
    assert wall(5) == 1005
    unix.pass_ms(3_600_000)
    assert wall(5) == 1005 + STEP_NS // 2 + 3600 * 10**9
