"""The clock ledger against the test vectors of the law."""

from datetime import date as D  # noqa: N812 - dates are all over this file

import pytest

from central.adapters.work_calendar import ChinaCalendar, Override, read_overrides
from central.domain.case_clocks import rules_of
from central.domain.clocks import (
    CountUnit,
    Ledger,
    Suspension,
    add_days,
    ledger_days,
    reckon,
)
from contracts.errors import InvalidInput

CALENDAR = ChinaCalendar()


def ledger(
    started: D,
    budget: int = 20,
    unit: CountUnit = "working_day",
    *,
    ended: D | None = None,
    suspensions: tuple[Suspension, ...] = (),
) -> Ledger:
    return Ledger(
        code="statutory",
        name="法定期限",
        kind="statutory",
        unit=unit,
        budget=budget,
        source="《中华人民共和国行政许可法》第四十二条",
        started=started,
        ended=ended,
        suspensions=suspensions,
    )


@pytest.mark.parametrize(
    ("started", "budget", "unit", "due", "status"),
    [
        (D(2026, 9, 15), 5, "working_day", D(2026, 9, 21), "fixed"),
        (D(2026, 9, 15), 20, "working_day", D(2026, 10, 19), "fixed"),
        (D(2026, 9, 15), 20, "calendar_day", D(2026, 10, 8), "fixed"),
        (D(2026, 9, 28), 5, "working_day", D(2026, 10, 10), "fixed"),
        (D(2026, 9, 28), 20, "working_day", D(2026, 10, 30), "fixed"),
        (D(2026, 9, 28), 20, "calendar_day", D(2026, 10, 19), "fixed"),
        (D(2026, 2, 5), 5, "working_day", D(2026, 2, 12), "fixed"),
        (D(2026, 2, 5), 20, "working_day", D(2026, 3, 11), "fixed"),
        (D(2026, 2, 5), 20, "calendar_day", D(2026, 2, 25), "fixed"),
        (D(2026, 4, 28), 5, "working_day", D(2026, 5, 8), "fixed"),
        (D(2026, 4, 28), 20, "working_day", D(2026, 5, 28), "fixed"),
        (D(2026, 4, 28), 20, "calendar_day", D(2026, 5, 18), "fixed"),
        (D(2026, 12, 3), 20, "working_day", D(2026, 12, 31), "fixed"),
        (D(2026, 12, 4), 20, "working_day", D(2027, 1, 4), "provisional"),
    ],
)
def test_due_dates(started: D, budget: int, unit: CountUnit, due: D, status: str) -> None:
    """Day one is not counted, make-up Saturdays are, calendar days roll, 2027 is provisional."""
    found = reckon(ledger(started, budget, unit), CALENDAR, started)
    assert (found.due, found.status) == (due, status)


@pytest.mark.parametrize(
    "day",
    [D(2026, 1, 4), D(2026, 2, 14), D(2026, 2, 28), D(2026, 5, 9), D(2026, 9, 20), D(2026, 10, 10)],
)
def test_make_up_days_are_working_days(day: D) -> None:
    """The six of 2026, all on a weekend."""
    found = CALENDAR.day(day)
    assert (found.kind, found.provisional) == ("makeup", False)
    assert day.weekday() >= 5


def test_both_sources_agree_on_every_day_they_know() -> None:
    """Fifteen published years: none is provisional, so the cross-check never objects."""
    days = (D.fromordinal(n) for n in range(D(2012, 1, 1).toordinal(), D(2027, 1, 1).toordinal()))
    assert [day for day in days if CALENDAR.day(day).provisional] == []


def test_a_site_own_notice_wins_and_makes_a_day_fixed() -> None:
    """With the notice for 2027 typed in, the due date of 2026-12-04 is no longer provisional."""
    notice = {
        D(2027, 1, n): Override(kind="rest", name="元旦", notice="国办发明电〔2026〕1号")
        for n in (1, 2, 3)
    } | {D(2027, 1, 4): Override(kind="work", name="", notice="国办发明电〔2026〕1号")}
    found = reckon(ledger(D(2026, 12, 4)), ChinaCalendar(notice), D(2026, 12, 4))
    assert (found.due, found.status) == (D(2027, 1, 4), "fixed")


def test_an_override_table_names_its_mistakes(tmp_path) -> None:
    """A day without its notice number is refused by field."""
    path = tmp_path / "days.toml"
    path.write_text('[[days]]\ndate = 2027-01-04\nkind = "work"\nnotice = "1号"\n')
    assert read_overrides(path)[D(2027, 1, 4)].kind == "work"
    path.write_text('[[days]]\ndate = 2027-01-04\nkind = "work"\n')
    with pytest.raises(InvalidInput) as wrong:
        read_overrides(path)
    assert wrong.value.field == "days[0].notice"


def test_used_and_left_along_the_days() -> None:
    """Five days from Tuesday 2026-09-15: make-up Sunday the 20th counts."""
    clock = ledger(D(2026, 9, 15), 5)
    seen = [
        (found.used, found.left, found.state)
        for day in (15, 16, 19, 20, 21, 22, 23)
        if (found := reckon(clock, CALENDAR, D(2026, 9, day)))
    ]
    assert seen == [
        (0, 5, "running"),
        (1, 4, "running"),
        (3, 2, "running"),
        (4, 1, "running"),
        (5, 0, "running"),
        (6, -1, "breached"),
        (7, -2, "breached"),
    ]


def test_a_clock_that_has_ended_stands() -> None:
    """Met on the last day, breached after it, whatever the date is today."""
    for ended, state in ((D(2026, 9, 21), "met"), (D(2026, 9, 22), "breached")):
        found = reckon(ledger(D(2026, 9, 15), 5, ended=ended), CALENDAR, D(2026, 12, 31))
        assert found.state == state


def test_days_of_a_suspension_are_not_counted() -> None:
    """Suspended on the 16th, resumed on the 18th: two working days more; the 18th counts."""
    pause = Suspension(from_day=D(2026, 9, 16), to_day=D(2026, 9, 18), notice_no="告字1号")
    clock = ledger(D(2026, 9, 15), 5, suspensions=(pause,))
    assert reckon(clock, CALENDAR, D(2026, 9, 30)).due == D(2026, 9, 23)
    kinds = [(c.day.day, c.kind, c.count) for c in ledger_days(clock, CALENDAR, D(2026, 9, 16))]
    assert kinds == [
        (15, "start", None),
        (16, "suspended", None),
        (17, "suspended", None),
        (18, "working", 1),
        (19, "weekend", None),
        (20, "makeup", 2),
        (21, "working", 3),
        (22, "working", 4),
        (23, "working", 5),
    ]


def test_an_open_suspension_is_provisional_and_grows() -> None:
    """While it lasts the due date moves a working day each working day."""
    pause = Suspension(from_day=D(2026, 9, 16), to_day=None, notice_no="告字1号", reason="检验")
    clock = ledger(D(2026, 9, 15), 5, suspensions=(pause,))
    first, second = (reckon(clock, CALENDAR, D(2026, 9, day)) for day in (17, 18))
    assert (first.state, first.status) == ("suspended", "provisional")
    assert (first.due, second.due) == (D(2026, 9, 22), D(2026, 9, 23))
    assert any(rule.pending for rule in rules_of(clock, CALENDAR, D(2026, 9, 17)))


def test_the_rules_name_their_sources() -> None:
    """为什么是这一天: budget, first day, working days, holidays, make-up days."""
    rules = rules_of(ledger(D(2026, 9, 28)), CALENDAR, D(2026, 9, 28))
    texts = [rule.text for rule in rules]
    assert texts[:3] == [
        "期限 20 个工作日",
        "2026年9月28日起算，当日不计入",
        "以工作日计算，不含法定节假日",
    ]
    assert "10-01 国庆节" in texts[3]
    assert texts[4] == "调休上班 1 天：10-10"
    assert rules[1].source == "《中华人民共和国民法典》第二百零一条"


def test_a_zero_day_never_hangs() -> None:
    """The walk along the calendar is bounded even if nothing ever counts."""
    pause = Suspension(from_day=D(2026, 1, 1), to_day=D(2126, 1, 1))
    clock = ledger(D(2026, 1, 5), 5, suspensions=(pause,))
    assert reckon(clock, CALENDAR, D(2026, 1, 6)).used == 0
    assert add_days(D(2026, 9, 15), 1, "working_day", CALENDAR) == D(2026, 9, 16)
