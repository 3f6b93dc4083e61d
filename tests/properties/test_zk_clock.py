"""Whatever the offset and the moments of asking: truth within the bound, punches in order."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from contracts.timestamps import NS, NS_PER_MS
from edge_agent.core.zk_clock import TerminalClock
from edge_agent.core.zk_facts import ClockRead
from edge_agent.core.zk_records import local_time

START = 1_790_000_000_123_456_789
offsets = st.integers(-40 * 86_400 * NS, 40 * 86_400 * NS)
pauses = st.integers(0, 60 * NS)
trips = st.integers(0, 900 * NS_PER_MS)
portions = st.floats(0, 1)
readings = st.lists(st.tuples(pauses, trips, portions), min_size=1, max_size=30)


def estimates(offset_ns, asked):
    """(monotonic time, stated offset, stated error), each in milliseconds but the time."""
    clock, at, stated = TerminalClock(), 0, []
    for pause, trip, portion in asked:
        at += pause
        looked = at + int(trip * portion)
        read = ClockRead(
            time=local_time(START + looked + offset_ns, utc_offset_minutes=480),
            asked_ns=at,
            answered_ns=at + trip,
        )
        at += trip
        clock.take(read, now=START + at, monotonic_ns=at, utc_offset_minutes=480)
        stated.append((at, clock.offset_ms, clock.error_ms))
    return stated


@given(offsets, readings)
def test_the_true_offset_is_always_within_the_bound(offset_ns, asked):
    for _, offset_ms, error_ms in estimates(offset_ns, asked):
        assert abs(offset_ms * NS_PER_MS - offset_ns) <= error_ms * NS_PER_MS


@given(offsets, readings)
def test_the_estimate_moves_by_no_more_than_the_bound(offset_ns, asked):
    stated = estimates(offset_ns, asked)
    for (before_ns, before_ms, error_ms), (after_ns, after_ms, _) in pairwise(stated):
        drift_ms = (after_ns - before_ns) / 10_000 / NS_PER_MS
        assert abs(after_ms - before_ms) <= error_ms + drift_ms + 1


@given(offsets, readings)
def test_punches_a_second_apart_keep_their_order(offset_ns, asked):
    stated = estimates(offset_ns, asked)
    for (before_ns, before_ms, _), (after_ns, after_ms, _) in pairwise(stated):
        first = (START + before_ns + offset_ns) // NS * NS
        second = max(first + NS, (START + after_ns + offset_ns) // NS * NS)
        assert first - before_ms * NS_PER_MS < second - after_ms * NS_PER_MS
