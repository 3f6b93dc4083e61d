"""The site's register and the flow packs in PostgreSQL."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Table, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from central.adapters.tables import devices, flow_packs, persons, places, sites
from central.domain.register import Device, Person, Place, SiteRegister

_REGISTER_LOCK = 7_226_002
"""Advisory lock: one process at a time loads the site file."""


class SqlRegister:
    """See `central.ports.Register`."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._db = connection

    async def version_of(self, site: str) -> tuple[int, str] | None:
        """Version and digest of the register last loaded; nobody else loads one meanwhile."""
        await self._db.execute(select(func.pg_advisory_xact_lock(_REGISTER_LOCK)))
        query = select(sites.c.version, sites.c.digest).where(sites.c.id == site)
        row = (await self._db.execute(query)).first()
        return None if row is None else (row.version, row.digest)

    async def replace(self, register: SiteRegister, *, version: int, digest: str) -> None:
        """Make the stored register equal to this one; what is gone is kept as inactive."""
        site = {"id": register.id, "name": register.name, "version": version, "digest": digest}
        new = upsert(sites).values(site)
        await self._db.execute(
            new.on_conflict_do_update(index_elements=[sites.c.id], set_=_without_keys(sites, site))
        )
        await self._replace(
            places,
            register.id,
            [
                {"id": p.id, "name": p.name, "kind": p.kind, "opens": p.opens, "closes": p.closes}
                for p in register.places
            ],
        )
        await self._replace(
            devices,
            register.id,
            [
                {
                    "id": d.id,
                    "device_class": d.device_class,
                    "name": d.name,
                    "place": d.place,
                    "streams": list(d.streams),
                    "detects_presence": d.detects_presence,
                }
                for d in register.devices
            ],
        )
        await self._replace(
            persons,
            register.id,
            [
                {
                    "id": p.id,
                    "name": p.name,
                    "unit": p.unit,
                    "terminal_users": list(p.terminal_users),
                }
                for p in register.persons
            ],
        )

    async def places(self, site: str) -> list[Place]:
        """Active places."""
        return [
            Place(
                id=row["id"],
                name=row["name"],
                kind=row["kind"],
                opens=row["opens"],
                closes=row["closes"],
            )
            for row in await self._active(places, site)
        ]

    async def devices(self, site: str) -> list[Device]:
        """Active devices."""
        return [
            Device(
                id=row["id"],
                device_class=row["device_class"],
                name=row["name"],
                place=row["place"],
                streams=tuple(row["streams"]),
                detects_presence=row["detects_presence"],
            )
            for row in await self._active(devices, site)
        ]

    async def persons(self, site: str) -> list[Person]:
        """Active persons."""
        return [
            Person(
                id=row["id"],
                name=row["name"],
                unit=row["unit"],
                terminal_users=tuple(row["terminal_users"]),
            )
            for row in await self._active(persons, site)
        ]

    async def keep_pack(self, code: str, version: str, source: str) -> str:
        """Store a pack's text unless that version is known; gives the text that is valid."""
        row = {
            "code": code,
            "version": version,
            "source": source,
            "digest": hashlib.sha256(source.encode()).hexdigest(),
        }
        await self._db.execute(upsert(flow_packs).values(row).on_conflict_do_nothing())
        query = select(flow_packs.c.source).where(
            flow_packs.c.code == code, flow_packs.c.version == version
        )
        return str((await self._db.execute(query)).scalar_one())

    async def packs(self) -> list[str]:
        """The text of every pack version ever in use."""
        rows = await self._db.execute(select(flow_packs.c.source))
        return [str(source) for source in rows.scalars()]

    async def _replace(self, table: Table, site: str, rows: Sequence[Mapping[str, Any]]) -> None:
        await self._db.execute(update(table).where(table.c.site == site).values(active=False))
        for position, row in enumerate(rows):
            values = {**row, "site": site, "position": position, "active": True}
            await self._db.execute(
                upsert(table)
                .values(values)
                .on_conflict_do_update(
                    index_elements=list(table.primary_key.columns),
                    set_=_without_keys(table, values),
                )
            )

    async def _active(self, table: Table, site: str) -> list[Mapping[str, Any]]:
        query = select(table).where(table.c.site == site, table.c.active).order_by(table.c.position)
        return [dict(row) for row in (await self._db.execute(query)).mappings()]


def _without_keys(table: Table, values: Mapping[str, Any]) -> dict[str, Any]:
    keys = {column.name for column in table.primary_key.columns}
    return {name: value for name, value in values.items() if name not in keys}
