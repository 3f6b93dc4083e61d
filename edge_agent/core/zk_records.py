"""Records of ZKTeco terminals: attendance, users, live events, counters and their clock.

Terminals differ in record width and say it nowhere; the width is the body's length divided by the
count that they state, and a body that does not divide is refused rather than guessed at (28 and 72
share multiples of 504, so eighteen small users can be read as seven invented large ones).

The terminal's clock is local time without a zone.
"""

import calendar
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Final, NamedTuple

from contracts.errors import ProtocolError
from contracts.timestamps import WallTime, from_datetime, to_datetime
from contracts.wire.access import Direction, Verify

ATTENDANCE_WIDTHS: Final = (40, 16, 8)
USER_WIDTHS: Final = (72, 28)
EVENT_WIDTHS: Final = (52, 37, 36, 32, 14, 12, 10)
MOST_RECORDS: Final = 1_000_000

_VERIFY: Final[dict[int, Verify]] = {0: "password", 1: "finger", 2: "card", 4: "face", 15: "face"}
_DIRECTION: Final[dict[int, Direction]] = {
    0: "in",
    1: "out",
    2: "break_out",
    3: "break_in",
    4: "overtime_in",
    5: "overtime_out",
}
_FIRST_YEAR: Final = 2000
_DAY: Final = 86_400
_U32 = struct.Struct("<I")


class TerminalTime(NamedTuple):
    """A terminal's local time."""

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int

    def text(self) -> str:
        """``YYYY-MM-DDTHH:MM:SS``."""
        return (
            f"{self.year:04}-{self.month:02}-{self.day:02}"
            f"T{self.hour:02}:{self.minute:02}:{self.second:02}"
        )

    def wall(self, *, utc_offset_minutes: int) -> WallTime:
        """Wall time of the beginning of this second in the terminal's zone."""
        zone = timezone(timedelta(minutes=utc_offset_minutes))
        return from_datetime(datetime(*self, tzinfo=zone))


@dataclass(frozen=True, slots=True, kw_only=True)
class Attendance:
    """One scan, live or stored.

    Attributes:
        user: the id that people type, up to 24 characters; empty when only `uid` is known.
        uid: the terminal's internal user number, when the record carries it.
        raw: the record as the terminal sent it.
    """

    user: str
    uid: int | None
    verify: Verify
    direction: Direction
    time: TerminalTime
    raw: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A record that makes no sense; kept apart so that it costs no other record."""

    reason: str
    raw: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """What we need of a terminal's user record."""

    uid: int
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What the terminal holds (reply to command 50)."""

    users: int
    attendances: int
    attendance_capacity: int


def encode_time(time: TerminalTime) -> int:
    """The terminal's u32: every month has 31 days."""
    days = (time.year - _FIRST_YEAR) * 372 + (time.month - 1) * 31 + time.day - 1
    return days * _DAY + time.hour * 3600 + time.minute * 60 + time.second


def decode_time(value: int) -> TerminalTime:
    """Read the terminal's u32.

    Raises:
        ProtocolError: a day that the month has not.
    """
    days, rest = divmod(value, _DAY)
    years, day_of_year = divmod(days, 372)
    month, day = divmod(day_of_year, 31)
    hour, rest = divmod(rest, 3600)
    minute, second = divmod(rest, 60)
    return _checked(
        TerminalTime(_FIRST_YEAR + years, month + 1, day + 1, hour, minute, second), "time"
    )


def local_time(wall: int, *, utc_offset_minutes: int) -> TerminalTime:
    """What a terminal in this zone shows at a wall time, second and all."""
    moment = to_datetime(wall).astimezone(timezone(timedelta(minutes=utc_offset_minutes)))
    return TerminalTime(*moment.timetuple()[:6])


def parse_event(data: bytes, *, width: int | None = None) -> list[Attendance | Unreadable]:
    """Read the data of an EF_ATTLOG event: one scan, or several of one width.

    Args:
        data: the frame's data.
        width: the width that the device's profile pins down, if it does.

    Raises:
        ProtocolError: no known width fits, or more than one does.
    """
    if width is None and len(data) in EVENT_WIDTHS:
        width = len(data)
    if width is not None:
        if not data or len(data) % width:
            raise ProtocolError(
                f"{len(data)} bytes are no multiple of the profile's {width}", field="event"
            )
        return [_event(data[at : at + width]) for at in range(0, len(data), width)]
    fits = []
    for candidate in EVENT_WIDTHS:
        if data and len(data) % candidate == 0:
            records = parse_event(data, width=candidate)
            if all(isinstance(record, Attendance) for record in records):
                fits.append(records)
    if len(fits) != 1:
        raise ProtocolError(f"{len(data)} bytes are no attendance event", field="event")
    return fits[0]


def attendance_width(body: bytes, *, count: int, width: int | None = None) -> int:
    """The width of a table's records.

    Args:
        body: u32 length, then the records.
        count: how many the terminal says there are.
        width: the width that the device's profile pins down, if it does.

    Raises:
        ProtocolError: lengths that do not agree.
    """
    length = len(_table(body, "attendance"))
    return record_width(length, count, ATTENDANCE_WIDTHS, pinned=width, field="attendance")


def parse_attendance(body: bytes, *, width: int) -> list[Attendance | Unreadable]:
    """Read a table of stored scans, in the terminal's order; `width` as found above.

    Raises:
        ProtocolError: lengths that do not agree.
    """
    table = _table(body, "attendance")
    if len(table) % width:
        raise ProtocolError(f"{len(table)} bytes are no multiple of {width}", field="attendance")
    reader = _ATTENDANCE_READERS[width]
    return [_guarded(reader, table[at : at + width]) for at in range(0, len(table), width)]


def with_user(record: Attendance | Unreadable, users: Mapping[int, str]) -> Attendance | Unreadable:
    """Put the user's id where the record has only the terminal's internal number."""
    if isinstance(record, Unreadable) or record.user or record.uid is None:
        return record
    return replace(record, user=users.get(record.uid, str(record.uid)))


def parse_users(body: bytes, *, count: int, width: int | None = None) -> list[User]:
    """Read the table of users; see `attendance_width`.

    Raises:
        ProtocolError: lengths that do not agree.
    """
    table = _table(body, "users")
    found = record_width(len(table), count, USER_WIDTHS, pinned=width, field="users")
    users = []
    for at in range(0, len(table), found):
        record = table[at : at + found]
        (uid,) = struct.unpack_from("<H", record)
        if found == USER_WIDTHS[1]:
            user = str(_U32.unpack_from(record, 24)[0])
        else:
            user = record[48:72].split(b"\0")[0].decode("utf-8", errors="replace")
        users.append(User(uid=uid, user=user))
    return users


def parse_counters(data: bytes) -> Counters:
    """Read the reply to command 50: little-endian i32 at fixed places, 80 bytes or more.

    Raises:
        ProtocolError: too short, or counts that cannot be.
    """
    if len(data) < 68:  # noqa: PLR2004 - the end of the last field that we read
        raise ProtocolError(f"{len(data)} bytes are too few", field="counters")
    users, attendances, capacity = (struct.unpack_from("<i", data, at)[0] for at in (16, 32, 64))
    for name, value in (("users", users), ("attendances", attendances)):
        if not 0 <= value <= MOST_RECORDS:
            raise ProtocolError(f"{value} cannot be", field=f"counters.{name}")
    return Counters(users=users, attendances=attendances, attendance_capacity=capacity)


def record_width(
    length: int, count: int, widths: tuple[int, ...], *, pinned: int | None, field: str
) -> int:
    """Derive the width of a table's records.

    Raises:
        ProtocolError: the length is no multiple, or the width is none of `widths`.
    """
    if pinned is not None:
        if length % pinned:
            raise ProtocolError(
                f"{length} bytes are no multiple of the profile's {pinned}", field=field
            )
        return pinned
    if count <= 0 or length % count or length // count not in widths:
        known = ", ".join(map(str, sorted(widths)))
        raise ProtocolError(f"{length} bytes are not {count} records of {known} bytes", field=field)
    return length // count


def _table(body: bytes, field: str) -> bytes:
    if len(body) < _U32.size:
        raise ProtocolError(f"{len(body)} bytes are too few", field=field)
    (length,) = _U32.unpack_from(body)
    if length != len(body) - _U32.size:
        raise ProtocolError(f"states {length} bytes, holds {len(body) - _U32.size}", field=field)
    return body[_U32.size :]


def _guarded(reader: Callable[[bytes], Attendance], raw: bytes) -> Attendance | Unreadable:
    try:
        return reader(raw)
    except ProtocolError as exc:
        return Unreadable(reason=str(exc), raw=raw)


def _event(raw: bytes) -> Attendance | Unreadable:
    return _guarded(_read_event, raw)


def _read_event(raw: bytes) -> Attendance:
    width = len(raw)
    if width in (10, 14):
        (uid,) = struct.unpack_from("<H", raw)
        user, after = "", 2
    elif width == 12:  # noqa: PLR2004 - a width
        (number,) = _U32.unpack_from(raw)
        uid, user, after = None, str(number), 4
    else:
        uid, user, after = None, _user_text(raw[:24]), 24
    verify, state = raw[after], raw[after + 1]
    year, month, day, hour, minute, second = raw[after + 2 : after + 8]
    time = TerminalTime(_FIRST_YEAR + year, month, day, hour, minute, second)
    return _attendance(raw, user, uid, (verify, state), _checked(time, "event.time"))


def _read_attendance_40(raw: bytes) -> Attendance:
    uid, user, verify, time, state = struct.unpack_from("<H24sBIB", raw)
    return _attendance(raw, _user_text(user), uid, (verify, state), decode_time(time))


def _read_attendance_16(raw: bytes) -> Attendance:
    number, time, verify, state = struct.unpack_from("<IIBB", raw)
    return _attendance(raw, str(number), None, (verify, state), decode_time(time))


def _read_attendance_8(raw: bytes) -> Attendance:
    uid, verify, time, state = struct.unpack("<HBIB", raw)
    return _attendance(raw, "", uid, (verify, state), decode_time(time))


_ATTENDANCE_READERS: Final = {
    40: _read_attendance_40,
    16: _read_attendance_16,
    8: _read_attendance_8,
}


def _attendance(
    raw: bytes, user: str, uid: int | None, codes: tuple[int, int], time: TerminalTime
) -> Attendance:
    verify, state = codes
    return Attendance(
        user=user,
        uid=uid,
        verify=_VERIFY.get(verify, "other"),
        direction=_DIRECTION.get(state, "unknown"),
        time=time,
        raw=raw,
    )


def _user_text(field: bytes) -> str:
    text = field.split(b"\0")[0].decode("utf-8", errors="replace")
    if not text or not text.isprintable() or "\ufffd" in text or "|" in text:
        raise ProtocolError(f"{field!r} is no user id", field="user")
    return text


def _checked(time: TerminalTime, field: str) -> TerminalTime:
    fits = (
        1 <= time.month <= 12  # noqa: PLR2004 - months of a year
        and 1 <= time.day <= calendar.monthrange(time.year, time.month)[1]
        and time.hour < 24  # noqa: PLR2004 - hours of a day
        and time.minute < 60  # noqa: PLR2004 - minutes of an hour
        and time.second < 60  # noqa: PLR2004 - seconds of a minute
    )
    if not fits:
        raise ProtocolError(f"{time.text()} is no time", field=field)
    return time
