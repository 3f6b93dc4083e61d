"""Laws of the clock ledger, for any dates, budgets and suspensions."""

from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise

from hypothesis import assume, given
from hypothesis import strategies as st

from central.adapters.work_calendar import ChinaCalendar
from central.domain.case_json import ledger_from_json, ledger_to_json
from central.domain.clocks import Ledger, Suspension, ledger_days, reckon

CALENDAR = ChinaCalendar()
DAYS = st.dates(date(2024, 1, 1), date(2028, 12, 31))


@st.composite
def suspensions(draw: st.DrawFn, since: date) -> tuple[Suspension, ...]:
    found = []
    day = since
    for _ in range(draw(st.integers(0, 3))):
        start = day + timedelta(days=draw(st.integers(0, 30)))
        end = start + timedelta(days=draw(st.integers(0, 40)))
        found.append(Suspension(from_day=start, to_day=end))
        day = end
    return tuple(found)


@st.composite
def ledgers(draw: st.DrawFn) -> Ledger:
    started = draw(DAYS)
    return Ledger(
        code="c",
        name="n",
        kind="statutory",
        unit=draw(st.sampled_from(["working_day", "calendar_day"])),
        budget=draw(st.integers(1, 60)),
        source="s",
        started=started,
        suspensions=draw(suspensions(started)),
    )


@given(ledgers(), st.integers(0, 60), st.integers(0, 40))
def test_suspending_and_resuming_never_shortens(clock: Ledger, after: int, length: int) -> None:
    start = clock.started + timedelta(days=after)
    more = Suspension(from_day=start, to_day=start + timedelta(days=length))
    longer = replace(clock, suspensions=(*clock.suspensions, more))
    today = clock.started
    assert reckon(longer, CALENDAR, today).due >= reckon(clock, CALENDAR, today).due


@given(ledgers(), st.integers(0, 200))
def test_an_open_suspension_never_shortens_when_it_lasts(clock: Ledger, days: int) -> None:
    opened = replace(clock, suspensions=(Suspension(from_day=clock.started, to_day=None),))
    today = clock.started + timedelta(days=days)
    first = reckon(opened, CALENDAR, today).due
    assert reckon(opened, CALENDAR, today + timedelta(days=1)).due >= first >= today


@given(ledgers(), st.integers(0, 200), st.integers(0, 200))
def test_recomputing_is_idempotent(clock: Ledger, one: int, other: int) -> None:
    """The due date does not depend on the day on which it is computed."""
    first = reckon(clock, CALENDAR, clock.started + timedelta(days=one))
    second = reckon(clock, CALENDAR, clock.started + timedelta(days=other))
    assert (first.due, first.status) == (second.due, second.status)
    stored = ledger_from_json(ledger_to_json(clock))
    assert reckon(stored, CALENDAR, clock.started).due == first.due


@given(ledgers())
def test_the_due_day_works_and_a_bigger_budget_never_ends_sooner(clock: Ledger) -> None:
    due = reckon(clock, CALENDAR, clock.started).due
    assert due > clock.started
    assert CALENDAR.day(due).is_working
    more = replace(clock, budget=clock.budget + 1)
    assert reckon(more, CALENDAR, clock.started).due >= due


@given(ledgers(), st.integers(0, 150))
def test_the_days_of_the_ledger_add_up(clock: Ledger, after: int) -> None:
    today = clock.started + timedelta(days=after)
    found = reckon(clock, CALENDAR, today)
    days = ledger_days(clock, CALENDAR, today)
    counts = [cell.count for cell in days if cell.count is not None]
    assert counts == list(range(1, len(counts) + 1))
    assert [b.day - a.day for a, b in pairwise(days)] == [timedelta(days=1)] * (len(days) - 1)
    assume(len(days) < 400)
    assert found.used == sum(1 for cell in days if cell.count is not None and cell.day <= today)
    assert sum(1 for c in days if c.count is not None and c.day <= found.due) >= clock.budget
