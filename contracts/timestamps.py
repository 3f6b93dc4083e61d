"""Time as integers with distinct types.

Wall time is nanoseconds UTC since the Unix epoch. Media time is ticks of a track's own clock
(90 kHz for video, the sampling rate for audio). The two never mix without a `ClockOffset`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Literal, NewType

from contracts.errors import InvalidInput

WallTime = NewType("WallTime", int)
MediaTime = NewType("MediaTime", int)

NS = 1_000_000_000
NS_PER_MS = 1_000_000
VIDEO_RATE = 90_000
NTP_UNIX_OFFSET_S = 2_208_988_800
"""Seconds between the NTP era (1900) and the Unix epoch (RFC 5905, section 6)."""

CHINA = timezone(timedelta(hours=8), "Asia/Shanghai")
"""China has had no daylight saving since 1991; statutory days are counted in this zone."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

ClockSource = Literal["ntp", "holdover", "device", "unset"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockQuality:
    """Where a stamp came from and how wrong it may be (±, milliseconds; None when unknown)."""

    source: ClockSource
    error_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockOffset:
    """A device's clock minus ours, in milliseconds, as measured at `measured_at`."""

    offset_ms: int
    measured_at: WallTime


def ticks_to_ns(ticks: int, rate: int) -> int:
    """Convert ticks of a `rate` Hz clock to nanoseconds, rounding down."""
    return ticks * NS // rate


def ns_to_ticks(ns: int, rate: int) -> int:
    """Convert nanoseconds to ticks of a `rate` Hz clock, rounding down."""
    return ns * rate // NS


def to_iso(wall: int) -> str:
    """Write a wall time as RFC 3339 in UTC with nanoseconds cut to microseconds."""
    moment = _EPOCH + timedelta(microseconds=wall // 1000)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def from_iso(text: str, *, field: str = "") -> WallTime:
    """Read RFC 3339 text with an explicit offset.

    Raises:
        InvalidInput: not a date-time, or without an offset.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise InvalidInput(f"{text!r} is not an RFC 3339 date-time", field=field) from exc
    if moment.tzinfo is None:
        raise InvalidInput(f"{text!r} lacks an offset such as +08:00", field=field)
    return from_datetime(moment)


def from_datetime(moment: datetime) -> WallTime:
    """Convert an aware datetime to wall time."""
    delta = moment - _EPOCH
    return WallTime((delta.days * 86_400 + delta.seconds) * NS + delta.microseconds * 1000)


def to_datetime(wall: int) -> datetime:
    """Convert wall time to an aware UTC datetime (microsecond precision)."""
    return _EPOCH + timedelta(microseconds=wall // 1000)


def ntp_to_wall(ntp: int) -> WallTime:
    """Convert a 64-bit NTP timestamp (RFC 3550, section 4) to wall time."""
    return WallTime((ntp >> 32) * NS - NTP_UNIX_OFFSET_S * NS + ((ntp & 0xFFFFFFFF) * NS >> 32))


def wall_to_ntp(wall: int) -> int:
    """Convert wall time to a 64-bit NTP timestamp (RFC 3550, section 4)."""
    seconds, rest = divmod(wall, NS)
    return ((seconds + NTP_UNIX_OFFSET_S) << 32) | ((rest << 32) // NS)
