"""China's working days: ``chinesecalendar``, cross-checked by ``holidays``, overridden by a table.

Each library is a copy of the State Council's yearly notice. Where both know a date and disagree,
and in years for which the notice is not in ``chinesecalendar`` yet, the day is provisional. The
override table (a site's own transcript of a notice) wins over both.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import chinese_calendar
import holidays
from chinese_calendar.constants import Holiday

from central.domain.clocks import CalendarDay
from contracts.errors import InvalidInput

_SATURDAY = 5
_MOST_CACHED = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """What a notice says about one date."""

    kind: Literal["work", "rest"]
    name: str
    notice: str


class ChinaCalendar:
    """The working calendar of the mainland; see the module."""

    def __init__(self, overrides: Mapping[date, Override] | None = None) -> None:
        self._overrides = dict(overrides or {})
        self._names = {item.value: item.chinese for item in Holiday}
        self._check = holidays.country_holidays("CN", language="zh_CN")
        self._days: dict[date, CalendarDay] = {}

    @property
    def version(self) -> str:
        """Sources and their versions, for the ledger."""
        own = f" + 本地通知 {len(self._overrides)} 日" if self._overrides else ""
        return (
            f"国务院办公厅节假日安排（chinesecalendar {version('chinesecalendar')}，"
            f"holidays {version('holidays')} 核对{own}）"
        )

    def day(self, day: date) -> CalendarDay:
        """What a date is; never fails, at worst provisional."""
        known = self._days.get(day)
        if known is None:
            known = self._look_up(day)
            if len(self._days) < _MOST_CACHED:
                self._days[day] = known
        return known

    def _look_up(self, day: date) -> CalendarDay:
        own = self._overrides.get(day)
        if own is not None:
            return _classify(day, works=own.kind == "work", name=own.name, provisional=False)
        checked = bool(self._check.is_working_day(day))
        try:
            rests, name = chinese_calendar.get_holiday_detail(day)
        except NotImplementedError:
            name = str(self._check.get(day) or "")
            return _classify(day, works=checked, name=name, provisional=True)
        works = not rests
        zh = self._names.get(name, "") if name else ""
        return _classify(day, works=works, name=zh, provisional=works != checked)


def _classify(day: date, *, works: bool, name: str, provisional: bool) -> CalendarDay:
    weekend = day.weekday() >= _SATURDAY
    if works:
        if weekend:
            label = f"调休上班（{name}）" if name else "调休上班"
            return CalendarDay(kind="makeup", name=label, provisional=provisional)
        return CalendarDay(kind="working", provisional=provisional)
    if weekend and not name:
        return CalendarDay(kind="weekend", provisional=provisional)
    return CalendarDay(kind="holiday", name=name, provisional=provisional)


def read_overrides(path: Path) -> dict[date, Override]:
    """Read an override table: TOML with ``[[days]]`` of date, kind (work, rest), name, notice.

    Raises:
        InvalidInput: not readable, or a day is wrong; names it.
    """
    try:
        rows = tomllib.loads(path.read_text("utf-8")).get("days", [])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise InvalidInput(f"读不了工作日历 {path}：{exc}", field="calendar") from exc
    found: dict[date, Override] = {}
    for index, row in enumerate(rows):
        field = f"days[{index}]"
        day, kind = row.get("date"), row.get("kind")
        if not isinstance(day, date):
            raise InvalidInput("应为日期，如 2027-01-04", field=f"{field}.date")
        if kind not in {"work", "rest"}:
            raise InvalidInput("应为 work 或 rest", field=f"{field}.kind")
        notice = row.get("notice")
        if not notice:
            raise InvalidInput("缺少通知文号", field=f"{field}.notice")
        found[day] = Override(kind=kind, name=str(row.get("name", "")), notice=str(notice))
    return found
