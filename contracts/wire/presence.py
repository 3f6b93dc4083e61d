"""Presence: from what a detector saw in single pictures to intervals at a post."""

from typing import ClassVar, Literal

from contracts.wire.envelope import Statement

PresenceState = Literal["present", "absent", "unknown"]


class PresenceFact(Statement):
    """Somebody was, or was provably not, at a post. Always suspected: a camera alone proves nobody.

    An interval is stated when it opens (`to_ns` None) and again under the same id when it closes;
    `revision` grows, and the highest one counts.
    """

    KIND: ClassVar[str] = "presence"
    id: str
    revision: int
    place: str
    device: str
    state: PresenceState
    from_ns: int
    to_ns: int | None
    most_people: int = 0
    cause: str = ""
    """Why the state is unknown; empty otherwise."""
    model: str
    """Name and version of the detector."""


class DeviceHealthFact(Statement):
    """A device's health changed, or what it says it is; empty where it does not say."""

    KIND: ClassVar[str] = "health"
    id: str
    device: str
    health: Literal["online", "degraded", "offline"]
    cause: str
    detail: str = ""
    at_ns: int
    spool_pending: int = 0
    clock_offset_ms: int | None = None
    maker: str = ""
    model: str = ""
    firmware: str = ""
    serial: str = ""
