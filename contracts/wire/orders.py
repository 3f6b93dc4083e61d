"""What central tells a gateway: who and what is where, and which step runs at which place."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from contracts.wire.envelope import Statement, WireModel


class PlaceEntry(WireModel):
    """A counter or room."""

    id: str
    name: str
    kind: Literal["counter", "room"]
    opens: str = "09:00"
    closes: str = "17:00"


class DeviceEntry(WireModel):
    """A device and the place it covers. Streams are feed names, main first."""

    id: str
    device_class: Literal["camera", "fingerprint_terminal", "agent"]
    name: str
    place: str | None
    streams: tuple[str, ...] = ()
    detects_presence: bool = False


class PersonEntry(WireModel):
    """A person with the user numbers under which terminals know them."""

    id: str
    name: str
    terminal_users: tuple[str, ...] = ()


class SiteOrder(Statement):
    """The site's register; replaces what the gateway knew when `version` is higher."""

    KIND: ClassVar[str] = "site"
    id: str
    version: int
    site: str
    name: str
    places: Annotated[tuple[PlaceEntry, ...], Field(max_length=2000)]
    devices: Annotated[tuple[DeviceEntry, ...], Field(max_length=5000)]
    persons: Annotated[tuple[PersonEntry, ...], Field(max_length=20_000)]


class StepOrder(Statement):
    """A step of a case began or ended at a place; asks for its footage to be bound and held."""

    KIND: ClassVar[str] = "step"
    id: str
    """Event id; the same event told twice has one effect."""
    step: str
    case: str
    place: str
    person: str
    started_ns: int
    ended_ns: int | None
    pre_roll_ms: int = 10_000
    post_roll_ms: int = 10_000
