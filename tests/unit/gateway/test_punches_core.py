"""When a punch was: the terminal's word, corrected by what we know of its clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.timestamps import NS_PER_MS, WallTime
from contracts.wire.access import Punched
from gateway.core.punches import Whereabouts, punch_time

NINE_IN_SHANGHAI = 1_795_482_000_000_000_000
"""2026-11-24T09:00:00+08:00."""
OBSERVED = WallTime(NINE_IN_SHANGHAI + 3_000_000_000)


def record(time: str = "2026-11-24T09:00:00", *, origin="live", offset_ms=None) -> Punched:
    return Punched(
        key="k",
        terminal_user="1001",
        terminal_time=time,
        verify="finger",
        direction="in",
        origin=origin,
        terminal_offset_ms=offset_ms,
        raw="00",
    )


@given(st.integers(-86_400_000, 86_400_000), st.sampled_from(["live", "stored"]))
def test_the_measured_offset_is_taken_off(offset_ms: int, origin: str):
    """A terminal that runs ahead punched earlier than it says."""
    at = punch_time(
        record(origin=origin, offset_ms=offset_ms), observed=OBSERVED, known_offset_ms=7
    )
    assert at == NINE_IN_SHANGHAI - offset_ms * NS_PER_MS


def test_without_a_measurement():
    """Live: when we saw it. Stored: the terminal's word, or the last offset known."""
    assert punch_time(record(), observed=OBSERVED, known_offset_ms=None) == OBSERVED
    stored = record(origin="stored")
    assert punch_time(stored, observed=OBSERVED, known_offset_ms=None) == NINE_IN_SHANGHAI
    at = punch_time(stored, observed=OBSERVED, known_offset_ms=1000)
    assert at == NINE_IN_SHANGHAI - 1000 * NS_PER_MS


@pytest.mark.parametrize("time", ["2026-00-24T09:00:00", "2026-02-30T09:00:00", "", "9 o'clock"])
def test_an_impossible_time_is_dated_by_its_arrival(time: str):
    """A terminal with a flat battery still produced evidence."""
    at = punch_time(
        record(time, origin="stored", offset_ms=5), observed=OBSERVED, known_offset_ms=0
    )
    assert at == OBSERVED


def test_without_a_register_nobody_is_known():
    """Central can still tell by the terminal's user number."""
    where = Whereabouts.of(None)
    assert (dict(where.persons), dict(where.places)) == ({}, {})
