"""The clock ledger: a budget of days, what was used, when it stood still, hence the due date.

Nothing here is stored as "overdue": due date, state and the days of the ledger are computed anew
from facts (when the clock started, stood still, ended) and a calendar. The rules:

* the day on which a period begins is not counted (民法典第二百零一条);
* the agency's periods of administrative licensing count working days only (行政许可法第八十二条);
* a period of calendar days that would end on a day of rest ends on the next working day
  (民法典第二百零三条); this is a rule for longest periods, which all limits here are;
* days of a special procedure are not counted (行政许可法第四十五条): a day counts unless the clock
  stood still at its end, so the day of resumption counts and the day of suspension does not.

A due date is *provisional* while it rests on days whose official arrangement is not published, or
while the clock stands still.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal, Protocol

ClockKind = Literal["statutory", "promised", "step"]
ClockState = Literal["running", "suspended", "met", "breached"]
DueStatus = Literal["fixed", "provisional"]
CountUnit = Literal["working_day", "calendar_day"]
CalendarKind = Literal["working", "makeup", "weekend", "holiday"]
LedgerKind = Literal["start", "working", "makeup", "weekend", "holiday", "suspended"]

_ONE = timedelta(days=1)
MOST_BUDGET_DAYS = 400
_MOST_DAYS = 4000
"""Bound of every walk along the calendar; only a suspension of years could reach it."""
_MOST_CELLS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarDay:
    """What a date is. `provisional`: the State Council's notice for that year is not known yet."""

    kind: CalendarKind
    name: str = ""
    provisional: bool = False

    @property
    def is_working(self) -> bool:
        """Whether people work on it."""
        return self.kind in {"working", "makeup"}


class WorkCalendar(Protocol):
    """Says what a date is; `version` names its sources."""

    @property
    def version(self) -> str:
        """Sources and their versions, for the ledger."""
        ...

    def day(self, day: date) -> CalendarDay:
        """What a date is; never fails, at worst provisional."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspension:
    """A time in which clocks stand still. `to_day` None: still standing."""

    from_day: date
    to_day: date | None
    reason: str = ""
    notice_no: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The facts of one clock. `started` is the day that is not counted."""

    code: str
    name: str
    kind: ClockKind
    unit: CountUnit
    budget: int
    source: str
    started: date
    ended: date | None = None
    suspensions: tuple[Suspension, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerDay:
    """One day of a ledger; `count` is the running count after it, None when it does not count."""

    day: date
    kind: LedgerKind
    name: str
    count: int | None
    provisional: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reckoning:
    """What follows from a ledger on a certain day."""

    ledger: Ledger
    due: date
    status: DueStatus
    state: ClockState
    used: int
    left: int
    """Budget minus used; 0 on the last day; negative by the days counted after the due date."""


def reckon(ledger: Ledger, calendar: WorkCalendar, today: date) -> Reckoning:
    """Compute due date and state as of `today`."""
    due, provisional = _due(ledger, calendar, today)
    seen_until = min(today, ledger.ended) if ledger.ended is not None else today
    used = over = 0
    for cell in _walk(ledger, calendar, today):
        if cell.day > seen_until:
            break
        if cell.count is not None:
            used += 1
            over += cell.day > due
    left = -over if seen_until > due else max(0, ledger.budget - used)
    standing = _standing(ledger)
    return Reckoning(
        ledger=ledger,
        due=due,
        status="provisional" if provisional or standing else "fixed",
        state=_state(ledger, due, today, standing=standing),
        used=used,
        left=left,
    )


def ledger_days(ledger: Ledger, calendar: WorkCalendar, today: date) -> tuple[LedgerDay, ...]:
    """Every day from the start to the due date, or to the end or today when that is later."""
    due, _ = _due(ledger, calendar, today)
    last = max(due, min(today, ledger.ended or today))
    first = LedgerDay(
        day=ledger.started,
        kind="start",
        name=calendar.day(ledger.started).name,
        count=None,
        provisional=calendar.day(ledger.started).provisional,
    )
    days = [first]
    for cell in _walk(ledger, calendar, today):
        if cell.day > last or len(days) >= _MOST_CELLS:
            break
        days.append(cell)
    return tuple(days)


def add_days(start: date, days: int, unit: CountUnit, calendar: WorkCalendar) -> date:
    """The last day of a period of so many days that begins on `start`."""
    ledger = Ledger(code="", name="", kind="step", unit=unit, budget=days, source="", started=start)
    return _due(ledger, calendar, start)[0]


def _state(ledger: Ledger, due: date, today: date, *, standing: bool) -> ClockState:
    if ledger.ended is not None:
        return "met" if ledger.ended <= due else "breached"
    if standing:
        return "suspended"
    return "breached" if today > due else "running"


def _standing(ledger: Ledger) -> bool:
    return ledger.ended is None and any(item.to_day is None for item in ledger.suspensions)


def _due(ledger: Ledger, calendar: WorkCalendar, today: date) -> tuple[date, bool]:
    """Due date, and whether it rests on days that are not published yet."""
    provisional = False
    due = ledger.started
    if ledger.budget:
        for cell in _walk(ledger, calendar, today):
            if ledger.unit == "working_day":
                provisional |= cell.provisional
            due = cell.day
            if cell.count is not None and cell.count >= ledger.budget:
                break
    if ledger.unit == "calendar_day":
        while not calendar.day(due).is_working:
            provisional |= calendar.day(due).provisional
            due += _ONE
        provisional |= calendar.day(due).provisional
    return due, provisional


def _walk(ledger: Ledger, calendar: WorkCalendar, today: date) -> Iterator[LedgerDay]:
    """Days after the start with their running count. An open suspension is taken to end today."""
    count = 0
    day = ledger.started
    for _ in range(_MOST_DAYS):
        day += _ONE
        known = calendar.day(day)
        standing = _stands_still(ledger, day, today)
        counts = not standing and (ledger.unit == "calendar_day" or known.is_working)
        count += counts
        yield LedgerDay(
            day=day,
            kind="suspended" if standing else known.kind,
            name=known.name,
            count=count if counts else None,
            provisional=known.provisional,
        )


def _stands_still(ledger: Ledger, day: date, today: date) -> bool:
    for item in ledger.suspensions:
        end = item.to_day if item.to_day is not None else max(today, item.from_day)
        if item.from_day <= day < end:
            return True
    return False
