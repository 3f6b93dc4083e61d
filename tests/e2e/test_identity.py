"""Punches reach central exactly once and in order, whatever was away in between."""

import json
import sqlite3

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from mingjing import provision
from tests.waiting import until

pytestmark = pytest.mark.e2e

BURST = 200


async def test_punches_made_while_the_broker_is_away_arrive_once_and_in_order(running):
    await running.devices_are_online()
    before = await punches(running)
    async with running.site.without("nats"):
        running.site.children["terminal"].say(json.dumps({"burst": BURST}))
        # The agent takes all of them while nobody can receive any.
        await until(lambda: waiting_in_spool(running) >= BURST, 60)
        assert before == await punches(running)

    async def all_there():
        rows = await punches(running)
        return rows if len(rows) >= len(before) + BURST else None

    after = await until(all_there, 150)
    new = after[len(before) :]
    assert BURST == len(new)
    assert len(after) == len({row.id for row in after})
    assert [row.at_ns for row in new] == sorted(row.at_ns for row in new)
    await until(lambda: waiting_in_spool(running) == 0, 60)


async def punches(running):
    """Every punch of the terminal that central holds, in the order of the device's events."""
    engine = create_async_engine(running.database)
    try:
        async with engine.connect() as connection:
            rows = await connection.execute(
                text("select seq, at_ns, id from punches where device = :device order by seq"),
                {"device": provision.TERMINAL},
            )
            return list(rows)
    finally:
        await engine.dispose()


def waiting_in_spool(running):
    """Envelopes of the terminal that the agent still keeps."""
    path = running.site.layout.data / "agent" / "spool.sqlite3"
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return connection.execute(
            "select count(*) from envelope where device = ?", (provision.TERMINAL,)
        ).fetchone()[0]
    finally:
        connection.close()
