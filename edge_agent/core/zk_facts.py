"""What a session with a ZKTeco terminal tells its caller."""

from collections.abc import Mapping
from dataclasses import dataclass

from edge_agent.core.zk_records import (
    Attendance,
    TerminalTime,
    Unreadable,
    parse_attendance,
    with_user,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identified:
    """The terminal let us in and said what it is; empty where it did not."""

    serial: str
    firmware: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockRead:
    """The terminal's clock, asked at `asked_ns` and answered at `answered_ns` (monotonic)."""

    time: TerminalTime
    asked_ns: int
    answered_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A frame of live scans. Not acknowledged yet: see `ZkSession.acknowledge`."""

    records: tuple[Attendance | Unreadable, ...]
    reply: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherEvent:
    """A live event that is no scan (door, alarm, enrolment); acknowledged already."""

    code: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRefused:
    """The terminal does not send live events; only back-fill brings its scans."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Every scan that the terminal holds, as it sent them: its lengths and counts agree.

    Attributes:
        count: how many there are.
        capacity: how many it can hold.
        body: u32 length, then `count` records.
        width: bytes of one record.
        users: user ids by the terminal's internal number.
    """

    count: int
    capacity: int
    body: bytes
    width: int
    users: Mapping[int, str]

    def read(self) -> list[Attendance | Unreadable]:
        """The scans in the terminal's order. Takes a second of CPU for 100 000."""
        records = parse_attendance(self.body, width=self.width) if self.count else []
        return [with_user(record, self.users) for record in records]


@dataclass(frozen=True, slots=True, kw_only=True)
class NothingNew:
    """The terminal holds as many scans as the caller knows; nothing was transferred."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillFailed:
    """The table could not be read consistently; the session goes on."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rubbish:
    """Bytes that are no frames were skipped; whatever they were is lost on this session."""

    skipped: int


Fact = (
    Identified
    | ClockRead
    | Event
    | OtherEvent
    | LiveRefused
    | Stored
    | NothingNew
    | BackfillFailed
    | Rubbish
)
