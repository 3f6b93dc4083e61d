"""The site's register: who and what is where."""

from dataclasses import dataclass
from typing import Literal

from central.domain.permissions import Role

PlaceKind = Literal["counter", "room"]
DeviceClass = Literal["camera", "fingerprint_terminal", "agent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody who can sign in. `place` is the counter a clerk belongs to, if any."""

    username: str
    role: Role
    site: str
    site_name: str
    person: str | None
    name: str
    unit: str
    place: str | None
    must_change_password: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A counter or room. Opening hours are local times, ``HH:MM``."""

    id: str
    name: str
    kind: PlaceKind
    opens: str = "09:00"
    closes: str = "17:00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device as the site planned it; streams are feed names, main first."""

    id: str
    device_class: DeviceClass
    name: str
    place: str | None
    streams: tuple[str, ...] = ()
    detects_presence: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A person with the user numbers under which terminals know them."""

    id: str
    name: str
    unit: str = ""
    terminal_users: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """A user as the site file names one; never with a password."""

    username: str
    role: Role
    person: str | None = None
    place: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRegister:
    """Everything the site file says."""

    id: str
    name: str
    places: tuple[Place, ...]
    devices: tuple[Device, ...]
    persons: tuple[Person, ...]
    users: tuple[NewUser, ...]
