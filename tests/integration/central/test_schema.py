"""The migrations and the tables say the same; several processes may migrate at once."""

import asyncio

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from central.adapters import schema
from central.adapters.tables import metadata

pytestmark = pytest.mark.integration


async def test_the_migrations_make_exactly_the_tables(engine: AsyncEngine) -> None:
    """Three processes start at once; afterwards nothing differs from `tables`."""
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(schema.upgrade(engine))

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, metadata))

    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []


@pytest.mark.parametrize(
    "statement",
    ["UPDATE {} SET at_ns = 1", "DELETE FROM {}", "TRUNCATE {}"],
)
@pytest.mark.parametrize("table", ["case_events", "audit_events"])
async def test_journals_refuse_change(engine: AsyncEngine, table: str, statement: str) -> None:
    """Even an empty table refuses: the trigger is on the statement."""
    await schema.upgrade(engine)
    with pytest.raises(DBAPIError, match="append-only"):
        async with engine.begin() as connection:
            await connection.execute(text(statement.format(table)))
