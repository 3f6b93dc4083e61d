"""The retrieval register and live views in PostgreSQL."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import Select, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from central.adapters.tables import live_sessions, retrievals
from central.ports import LiveSession, StoredRetrieval


class SqlRetrievals:
    """See `central.ports.Retrievals`."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._db = connection

    async def add(self, retrieval: StoredRetrieval) -> None:
        """Write a line."""
        values = {**asdict(retrieval), "streams": list(retrieval.streams)}
        await self._db.execute(insert(retrievals).values(values))

    async def get(self, retrieval_id: str) -> StoredRetrieval | None:
        """A line."""
        query = select(retrievals).where(retrievals.c.id == retrieval_id)
        row = (await self._db.execute(query)).mappings().first()
        return None if row is None else _retrieval(row)

    async def count_view(self, retrieval_id: str) -> None:
        """Count a view."""
        await self._db.execute(
            update(retrievals)
            .where(retrievals.c.id == retrieval_id)
            .values(views=retrievals.c.views + 1)
        )

    async def page(
        self, site: str, span: tuple[int, int] | None, *, page: int, size: int
    ) -> tuple[int, list[StoredRetrieval]]:
        """How many lines there are, and one page, newest first."""

        def narrow(query: Select[Any]) -> Select[Any]:
            query = query.where(retrievals.c.site == site)
            if span is None:
                return query
            return query.where(retrievals.c.at_ns >= span[0], retrievals.c.at_ns < span[1])

        total = await self._db.execute(narrow(select(func.count()).select_from(retrievals)))
        rows = await self._db.execute(
            narrow(select(retrievals))
            .order_by(retrievals.c.at_ns.desc(), retrievals.c.id)
            .limit(size)
            .offset((page - 1) * size)
        )
        return int(total.scalar_one()), [_retrieval(row) for row in rows.mappings()]

    async def add_live(self, session: LiveSession, *, at_ns: int) -> None:
        """Remember a live view."""
        await self._db.execute(insert(live_sessions).values(**asdict(session), at_ns=at_ns))

    async def take_live(self, session_id: str, username: str) -> LiveSession | None:
        """Forget a live view of that user and return it."""
        statement = (
            delete(live_sessions)
            .where(live_sessions.c.id == session_id, live_sessions.c.username == username)
            .returning(live_sessions)
        )
        row = (await self._db.execute(statement)).mappings().first()
        if row is None:
            return None
        return LiveSession(
            id=row["id"],
            site=row["site"],
            username=row["username"],
            stream=row["stream"],
            location=row["location"],
        )


def _retrieval(row: Mapping[Any, Any]) -> StoredRetrieval:
    return StoredRetrieval(**{**row, "streams": tuple(row["streams"])})
