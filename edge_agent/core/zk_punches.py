"""Scans of a terminal to punches, so that the live and the stored form of one scan are one punch.

The key counts equal scans (same user, second, way and direction). The terminal's store is the
authority on how many there are: `number_stored` counts them in its order. A live event is always
taken for the first, because a terminal repeats an event whose acknowledgement was lost; a true
second scan within the same second arrives with the next back-fill.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from contracts.timestamps import NS, NS_PER_MS
from contracts.wire.access import Punched
from edge_agent.core.zk_facts import ClockRead
from edge_agent.core.zk_records import Attendance

Origin = Literal["live", "stored"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbered:
    """A scan with the key under which it is taken once."""

    key: str
    record: Attendance


def number_live(record: Attendance) -> Numbered:
    """Key of a live event."""
    return Numbered(key=f"{_base(record)}|0", record=record)


def number_stored(records: Iterable[Attendance]) -> list[Numbered]:
    """Keys of a whole table, in its order."""
    counts: Counter[str] = Counter()
    numbered = []
    for record in records:
        base = _base(record)
        numbered.append(Numbered(key=f"{base}|{counts[base]}", record=record))
        counts[base] += 1
    return numbered


def punch(scan: Numbered, *, origin: Origin, offset_ms: int | None) -> Punched:
    """The wire form of a scan; `offset_ms`: the terminal's clock minus ours, when known."""
    record = scan.record
    return Punched(
        key=scan.key,
        terminal_user=record.user,
        terminal_time=record.time.text(),
        verify=record.verify,
        direction=record.direction,
        origin=origin,
        terminal_offset_ms=offset_ms,
        raw=record.raw.hex(),
    )


def round_trip_ms(read: ClockRead) -> int:
    """How long the terminal took to answer."""
    return (read.answered_ns - read.asked_ns) // NS_PER_MS


def describe_offset(offset_ms: int) -> str:
    """``快 120 秒`` or ``慢 3 分钟``."""
    seconds = round(abs(offset_ms) / (NS / NS_PER_MS))
    size = f"{seconds} 秒" if seconds < 300 else f"{round(seconds / 60)} 分钟"  # noqa: PLR2004 - reads better
    return f"{'快' if offset_ms > 0 else '慢'} {size}"


def _base(record: Attendance) -> str:
    return f"{record.user}|{record.time.text()}|{record.verify}|{record.direction}"
