import pytest

from contracts.timestamps import NS, WallTime
from edge_agent.core.spool_policy import SpoolLevel, SpoolLimits, has_room, judge

LIMITS = SpoolLimits(most_bytes=1000, warn_age_s=3600)
NOW = 10_000 * NS


def level(size: int, *, age_s: int | None = None) -> SpoolLevel:
    oldest = None if age_s is None else WallTime(NOW - age_s * NS)
    return SpoolLevel(pending=size // 10, pending_bytes=size, oldest_ns=oldest)


@pytest.mark.parametrize(
    ("size", "accepts", "cause"),
    [
        (0, True, "ok"),
        (699, True, "ok"),
        (700, True, "spool_full"),
        (899, True, "spool_full"),
        (900, False, "spool_full"),
        (5000, False, "spool_full"),
    ],
)
def test_warns_at_70_and_refuses_at_90_percent(size, accepts, cause):
    verdict = judge(level(size), LIMITS, now=NOW)
    assert (verdict.accepts, verdict.cause) == (accepts, cause)
    assert has_room(size, LIMITS) == accepts
    assert (verdict.health == "online") == (cause == "ok")


def test_says_how_much_waits_and_what_to_do():
    assert "75 条" in judge(level(750), LIMITS, now=NOW).detail
    assert "网络" in judge(level(950), LIMITS, now=NOW).detail


def test_events_that_wait_too_long_are_reported_and_still_taken():
    verdict = judge(level(10, age_s=3601), LIMITS, now=NOW)
    assert (verdict.accepts, verdict.cause) == (True, "gateway_unreachable")
    assert judge(level(10, age_s=3600), LIMITS, now=NOW).cause == "ok"
