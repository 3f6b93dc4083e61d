"""What a session with a ZKTeco terminal tells its caller."""

from dataclasses import dataclass

from edge_agent.core.zk_records import Attendance, TerminalTime, Unreadable


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
    """Every scan that the terminal holds, in its order."""

    records: tuple[Attendance | Unreadable, ...]
    capacity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillFailed:
    """The table could not be read consistently; the session goes on."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rubbish:
    """Bytes that are no frames were skipped; whatever they were is lost on this session."""

    skipped: int


Fact = Identified | ClockRead | Event | OtherEvent | LiveRefused | Stored | BackfillFailed | Rubbish
