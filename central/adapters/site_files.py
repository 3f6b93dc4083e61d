"""Reads ``site.toml``: who and what is where. Every mistake names its field."""

import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from central.domain.permissions import Role
from central.domain.register import Device, NewUser, Person, Place, SiteRegister
from contracts.errors import InvalidInput
from contracts.ids import (
    parse_device_id,
    parse_person_id,
    parse_place_id,
    parse_site_id,
    parse_slug,
)

Name = Annotated[str, Field(min_length=1, max_length=100)]
Hour = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
T = TypeVar("T")


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Place(_Row):
    id: str
    name: Name
    kind: Literal["counter", "room"]
    opens: Hour = "09:00"
    closes: Hour = "17:00"


class _Device(_Row):
    id: str
    device_class: Annotated[
        Literal["camera", "fingerprint_terminal", "agent"], Field(alias="class")
    ]
    name: Name
    place: str | None = None
    streams: tuple[str, ...] = ()
    detects_presence: bool = False


class _Person(_Row):
    id: str
    name: Name
    unit: Annotated[str, Field(max_length=100)] = ""
    terminal_users: tuple[str, ...] = ()


class _User(_Row):
    username: Annotated[str, Field(min_length=1, max_length=64)]
    role: Role
    person: str | None = None
    place: str | None = None


class _Site(_Row):
    id: str
    name: Name
    places: tuple[_Place, ...] = ()
    devices: tuple[_Device, ...] = ()
    persons: tuple[_Person, ...] = ()
    users: tuple[_User, ...] = ()


def read_site(path: Path) -> SiteRegister:
    """Read a site file.

    Raises:
        InvalidInput: not readable, or a field is wrong; names it.
    """
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise InvalidInput(f"读不了站点登记 {path}：{exc}", field="site_file") from exc
    return parse_site(raw)


def parse_site(raw: dict[str, Any]) -> SiteRegister:
    """Check a site's register.

    Raises:
        InvalidInput: a field is wrong; names it.
    """
    try:
        site = _Site.model_validate(raw)
    except ValidationError as exc:
        first = exc.errors()[0]
        raise InvalidInput(first["msg"], field=_dotted(first["loc"])) from exc
    _check_ids(site)
    _check_references(site)
    return SiteRegister(
        id=site.id,
        name=site.name,
        places=tuple(Place(**item.model_dump()) for item in site.places),
        devices=tuple(Device(**item.model_dump()) for item in site.devices),
        persons=tuple(Person(**item.model_dump()) for item in site.persons),
        users=tuple(NewUser(**item.model_dump()) for item in site.users),
    )


def _check_ids(site: _Site) -> None:
    parse_site_id(site.id, field="id")
    _each_once(site.places, "places", "id", lambda row: row.id, parse_place_id)
    _each_once(site.devices, "devices", "id", lambda row: row.id, parse_device_id)
    _each_once(site.persons, "persons", "id", lambda row: row.id, parse_person_id)
    _each_once(site.users, "users", "username", lambda row: row.username, parse_slug)
    for index, device in enumerate(site.devices):
        for number, name in enumerate(device.streams):
            parse_slug(name, field=f"devices[{index}].streams[{number}]")


def _each_once(
    rows: Sequence[T],
    where: str,
    key: str,
    id_of: Callable[[T], str],
    parse: Callable[..., object],
) -> None:
    seen: set[str] = set()
    for index, row in enumerate(rows):
        field = f"{where}[{index}].{key}"
        value = id_of(row)
        parse(value, field=field)
        if value in seen:
            raise InvalidInput(f"{value!r} 重复", field=field)
        seen.add(value)


def _check_references(site: _Site) -> None:
    places = {item.id for item in site.places}
    persons = {item.id for item in site.persons}
    for index, device in enumerate(site.devices):
        _known(device.place, places, f"devices[{index}].place", "场所")
    for index, user in enumerate(site.users):
        _known(user.place, places, f"users[{index}].place", "场所")
        _known(user.person, persons, f"users[{index}].person", "人员")
    numbers: dict[str, str] = {}
    for index, person in enumerate(site.persons):
        for number in person.terminal_users:
            if number in numbers:
                raise InvalidInput(
                    f"指纹机用户号 {number} 已属于 {numbers[number]}",
                    field=f"persons[{index}].terminal_users",
                )
            numbers[number] = person.id


def _known(value: str | None, known: set[str], field: str, what: str) -> None:
    if value is not None and value not in known:
        raise InvalidInput(f"没有{what} {value!r}，应为：{'、'.join(sorted(known))}", field=field)


def _dotted(path: Sequence[str | int]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
