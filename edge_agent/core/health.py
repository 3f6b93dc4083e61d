"""One health of a device out of what its parts say: the worst wins, and the newest of equals."""

from collections.abc import Iterable
from dataclasses import dataclass

from contracts.timestamps import WallTime
from contracts.wire.devices import Health, HealthCause

_SEVERITY: dict[Health, int] = {"online": 0, "degraded": 1, "offline": 2}
_MOST_DETAIL = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class PartHealth:
    """What one part (driver, spool, uplink, sender) says, and since when."""

    health: Health
    cause: HealthCause
    detail: str
    since_ns: WallTime


def part_health(health: Health, cause: HealthCause, detail: str, *, now: WallTime) -> PartHealth:
    """One part's statement; the text is cut to what the wire takes."""
    return PartHealth(health=health, cause=cause, detail=detail[:_MOST_DETAIL], since_ns=now)


def is_news(old: PartHealth | None, new: PartHealth) -> bool:
    """Whether a statement differs in more than its time."""
    if old is None:
        return True
    return (old.health, old.cause, old.detail) != (new.health, new.cause, new.detail)


def merge(parts: Iterable[PartHealth]) -> PartHealth | None:
    """The device's health; None when no part has spoken."""
    return max(parts, key=lambda part: (_SEVERITY[part.health], part.since_ns), default=None)
