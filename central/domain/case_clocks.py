"""The clocks of a case: which run, since when, and the rules that made their dates."""

from dataclasses import dataclass
from datetime import date, timedelta

from central.domain.cases import Case
from central.domain.clocks import (
    Ledger,
    LedgerDay,
    Reckoning,
    Suspension,
    WorkCalendar,
    ledger_days,
    reckon,
)
from central.domain.flow_pack import FlowPack, Limit
from contracts.timestamps import CHINA, to_datetime

_UNITS = {"working_day": "个工作日", "calendar_day": "日"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule that made a due date; `pending`: something it needs is not known yet."""

    text: str
    source: str
    pending: bool = False


def day_of(wall_ns: int) -> date:
    """The date in China of a wall time."""
    return to_datetime(wall_ns).astimezone(CHINA).date()


def clocks_of(pack: FlowPack, case: Case) -> tuple[Ledger, ...]:
    """Every clock that has started, the case's before the steps'."""
    found = [_case_clock(pack, case, limit) for limit in pack.limits]
    ledgers = [ledger for ledger in found if ledger is not None]
    for progress in case.steps:
        limit = pack.steps[progress.seq - 1].limit
        if limit is None or progress.ready_ns is None:
            continue
        ended = progress.ended_ns if progress.state == "done" else None
        ledgers.append(
            Ledger(
                code=f"step-{progress.seq}",
                name=pack.steps[progress.seq - 1].name,
                kind="step",
                unit=limit.unit,
                budget=limit.days,
                source=limit.source,
                started=day_of(progress.ready_ns),
                ended=None if ended is None else day_of(ended),
                suspensions=_suspensions(case, ended),
            )
        )
    return tuple(ledgers)


def main_clock(reckonings: list[Reckoning]) -> Reckoning | None:
    """The clock to show in a list: of those that still run the first due, else the last one ended.

    Clocks of single steps are not shown, as a step's limit is not the applicant's.
    """
    cases = [item for item in reckonings if item.ledger.kind != "step"]
    running = [item for item in cases if item.ledger.ended is None]
    if running:
        return min(running, key=lambda item: item.due)
    return cases[-1] if cases else None


def rules_of(ledger: Ledger, calendar: WorkCalendar, today: date) -> tuple[Rule, ...]:
    """The rules that made the date, each with its source."""
    result = reckon(ledger, calendar, today)
    days = ledger_days(ledger, calendar, today)
    until_due = [cell for cell in days if cell.day <= result.due]
    rules = [
        Rule(text=f"期限 {ledger.budget} {_UNITS[ledger.unit]}", source=ledger.source),
        Rule(
            text=f"{_zh(ledger.started)}起算，当日不计入",
            source="《中华人民共和国民法典》第二百零一条",
        ),
    ]
    if ledger.unit == "working_day":
        rules.append(
            Rule(
                text="以工作日计算，不含法定节假日",
                source="《中华人民共和国行政许可法》第八十二条",
            )
        )
    else:
        rules.append(
            Rule(
                text="末日是休息日的，以其后第一个工作日为末日",
                source="《中华人民共和国民法典》第二百零三条",
            )
        )
    rules += _calendar_rules(until_due, calendar)
    rules += [_pause_rule(item) for item in ledger.suspensions]
    return tuple(rules)


def _calendar_rules(days: list[LedgerDay], calendar: WorkCalendar) -> list[Rule]:
    rules = []
    holidays = [cell for cell in days if cell.kind == "holiday"]
    makeups = [cell for cell in days if cell.kind == "makeup"]
    if holidays:
        names = "、".join(f"{_short(cell.day)} {cell.name}" for cell in holidays[:12])
        rules.append(Rule(text=f"放假 {len(holidays)} 天：{names}", source=calendar.version))
    if makeups:
        names = "、".join(_short(cell.day) for cell in makeups)
        rules.append(Rule(text=f"调休上班 {len(makeups)} 天：{names}", source=calendar.version))
    open_years = sorted({cell.day.year for cell in days if cell.provisional})
    rules.extend(
        Rule(
            text=f"{year} 年放假安排尚未公布，暂按周末和法定节假日推算，公布后自动重算",
            source="国务院办公厅关于当年部分节假日安排的通知",
            pending=True,
        )
        for year in open_years
    )
    return rules


def _pause_rule(item: Suspension) -> Rule:
    source = f"《中华人民共和国行政许可法》第四十五条；告知书 {item.notice_no}"
    if item.to_day is None:
        return Rule(
            text=f"{_zh(item.from_day)}起中止（{item.reason}），尚未恢复，暂按今天恢复推算",
            source=source,
            pending=True,
        )
    last = item.to_day - timedelta(days=1)
    if last < item.from_day:
        text = f"{_zh(item.from_day)}中止并于当日恢复，不影响期限（{item.reason}）"
    else:
        text = f"{_zh(item.from_day)}至{_zh(last)}中止，不计入（{item.reason}）"
    return Rule(text=text, source=source)


def _case_clock(pack: FlowPack, case: Case, limit: Limit) -> Ledger | None:
    start = case.at(pack.seq_of(limit.starts))
    ended_case = case.current is None
    if start.state != "done" or start.ended_ns is None:
        return None
    last_ns = max(step.ended_ns or 0 for step in case.steps)
    if ended_case and start.ended_ns == last_ns:
        return None  # the step that would have started the clock ended the case, e.g. 不予受理
    end = case.at(pack.seq_of(limit.ends))
    ended = end.ended_ns if end.state == "done" else None
    if ended is None and ended_case:
        ended = last_ns
    return Ledger(
        code=limit.code,
        name=limit.name,
        kind=limit.kind,
        unit=limit.unit,
        budget=limit.days,
        source=limit.source,
        started=day_of(start.ended_ns),
        ended=None if ended is None else day_of(ended),
        suspensions=_suspensions(case, ended),
    )


def _suspensions(case: Case, ended_ns: int | None) -> tuple[Suspension, ...]:
    return tuple(
        Suspension(
            from_day=day_of(pause.from_ns),
            to_day=None if pause.to_ns is None else day_of(pause.to_ns),
            reason=pause.reason,
            notice_no=pause.notice_no,
        )
        for pause in case.pauses
        if ended_ns is None or pause.from_ns < ended_ns
    )


def _zh(day: date) -> str:
    return f"{day.year}年{day.month}月{day.day}日"


def _short(day: date) -> str:
    return f"{day.month:02}-{day.day:02}"
