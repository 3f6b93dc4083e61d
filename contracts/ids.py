"""Identifiers as distinct types, with the one rule that keeps them safe inside topics and paths."""

import re
from typing import NewType

from contracts.errors import InvalidInput

SiteId = NewType("SiteId", str)
DeviceId = NewType("DeviceId", str)
PlaceId = NewType("PlaceId", str)
PersonId = NewType("PersonId", str)
StreamId = NewType("StreamId", str)
CaseId = NewType("CaseId", str)
StepId = NewType("StepId", str)
EventId = NewType("EventId", str)

_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
RESERVED_DEVICES = frozenset({"gateway", "central"})

_UUID_VERSION = 7


def parse_slug(text: str, *, field: str) -> str:
    """Check an id: 1-64 of a-z, 0-9 and inner hyphens. No dots, slashes or wildcards can occur.

    Raises:
        InvalidInput: the text breaks the rule.
    """
    if not _SLUG.fullmatch(text):
        raise InvalidInput(
            f"{text!r} is not an id (a-z, 0-9, inner hyphens, at most 64 characters)", field=field
        )
    return text


def parse_site_id(text: str, *, field: str = "site") -> SiteId:
    """Check a site id."""
    return SiteId(parse_slug(text, field=field))


def parse_device_id(text: str, *, field: str = "device") -> DeviceId:
    """Check a device id; the names of the programs are not for devices.

    Raises:
        InvalidInput: the text is no id, or is reserved.
    """
    if text in RESERVED_DEVICES:
        raise InvalidInput(f"{text!r} is reserved for a program", field=field)
    return DeviceId(parse_slug(text, field=field))


def parse_place_id(text: str, *, field: str = "place") -> PlaceId:
    """Check the id of a counter or room."""
    return PlaceId(parse_slug(text, field=field))


def parse_person_id(text: str, *, field: str = "person") -> PersonId:
    """Check a person id."""
    return PersonId(parse_slug(text, field=field))


def stream_id(device: str, name: str) -> StreamId:
    """Name one encoded feed of a device: ``{device}.{name}``, e.g. ``cam-07-front.main``."""
    return StreamId(f"{device}.{name}")


def split_stream_id(text: str, *, field: str = "stream") -> tuple[DeviceId, str]:
    """Split a stream id into device and feed name.

    Raises:
        InvalidInput: not of the form ``device.name``.
    """
    device, dot, name = text.partition(".")
    if not dot:
        raise InvalidInput(f"{text!r} is not of the form device.name", field=field)
    return parse_device_id(device, field=field), parse_slug(name, field=field)


def uuid7(*, now: int, random: bytes) -> str:
    """Make a UUIDv7 (RFC 9562, section 5.7) from wall time in nanoseconds and 10 random bytes."""
    value = ((now // 1_000_000) & 0xFFFFFFFFFFFF) << 80 | int.from_bytes(random[:10], "big")
    value &= ~(0xF << 76) & ~(0x3 << 62)
    value |= _UUID_VERSION << 76 | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
