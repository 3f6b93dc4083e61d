from contracts.timestamps import NS, NS_PER_MS
from edge_agent.core.zk_clock import TerminalClock
from edge_agent.core.zk_facts import ClockRead
from edge_agent.core.zk_records import local_time

START = 1_790_000_000 * NS
"""Our wall time at monotonic 0."""


def ask(clock, *, at_ns, offset_ns, trip_ns=2 * NS_PER_MS, zone=480):
    """Ask a terminal with this offset at a monotonic time; it reads its clock half-way."""
    shown = START + at_ns + trip_ns // 2 + offset_ns
    read = ClockRead(
        time=local_time(shown, utc_offset_minutes=zone),
        asked_ns=at_ns,
        answered_ns=at_ns + trip_ns,
    )
    now = at_ns + trip_ns + 3 * NS_PER_MS
    clock.take(read, now=START + now, monotonic_ns=now, utc_offset_minutes=zone)


def test_nothing_is_stated_before_the_first_reading():
    clock = TerminalClock()
    assert (clock.offset_ms, clock.error_ms, clock.telling_delay_ns(START)) == (None, None, 0)


def test_one_reading_is_half_a_second_and_half_the_round_trip_wrong_at_most():
    clock = TerminalClock()
    ask(clock, at_ns=0, offset_ns=0, trip_ns=2 * NS)
    assert (clock.offset_ms, clock.error_ms) == (500, 1500)
    clock = TerminalClock()
    ask(clock, at_ns=0, offset_ns=-90 * NS, zone=0)
    assert (clock.offset_ms, clock.error_ms) == (-89_501, 501)


def test_readings_at_the_telling_moments_find_the_offset_to_the_round_trip():
    clock, at = TerminalClock(), 0
    for _ in range(12):
        ask(clock, at_ns=at, offset_ns=7_654_321_000, trip_ns=2 * NS_PER_MS)
        at += 15 * NS
        at += clock.telling_delay_ns(START + at)
    assert abs(clock.offset_ms - 7_654) <= clock.error_ms <= 15


def test_the_value_rests_once_it_is_good():
    clock, at, stated = TerminalClock(), 0, []
    for _ in range(200):
        ask(clock, at_ns=at, offset_ns=-1_234_567_890)
        stated.append(clock.offset_ms)
        at += 15 * NS
        at += clock.telling_delay_ns(START + at)
    assert len(set(stated[12:])) == 1


def test_a_clock_that_was_set_is_measured_anew():
    clock = TerminalClock()
    for second in range(5):
        ask(clock, at_ns=second * 15_200 * NS_PER_MS, offset_ns=120 * NS)
    assert abs(clock.offset_ms - 120_000) <= clock.error_ms < 501
    ask(clock, at_ns=90 * NS, offset_ns=0)
    assert abs(clock.offset_ms) <= clock.error_ms == 501


def test_a_drifting_clock_is_followed():
    clock, at = TerminalClock(), 0
    for _ in range(500):
        truth = at * 40 // 1_000_000  # 40 ppm
        ask(clock, at_ns=at, offset_ns=truth)
        assert abs(clock.offset_ms * NS_PER_MS - truth) <= clock.error_ms * NS_PER_MS
        at += 15 * NS
        at += clock.telling_delay_ns(START + at)
    assert clock.offset_ms > 200
    assert clock.error_ms < 25


def test_what_is_forgotten_bounds_nothing():
    clock = TerminalClock()
    ask(clock, at_ns=0, offset_ns=3 * NS)
    clock.forget()
    assert clock.offset_ms is None
    ask(clock, at_ns=NS, offset_ns=300 * NS_PER_MS)
    assert clock.error_ms == 501
