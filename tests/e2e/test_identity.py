"""Punches reach central exactly once and in order, whatever was away in between."""

import asyncio
import json
import sqlite3

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from mingjing import provision
from tests.waiting import until

pytestmark = pytest.mark.e2e

BURST = 200
AWAY_S = 60


async def test_punches_made_while_the_broker_is_away_arrive_once_and_in_order(running):
    """The broker is stopped for a minute."""
    await running.devices_are_online()
    before = await punches(running)
    async with running.site.without("nats"):
        running.site.children["terminal"].say(json.dumps({"burst": BURST}))
        # The agent takes all of them while nobody can receive any.
        await asyncio.sleep(AWAY_S)
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


async def test_a_wrong_comm_key_is_told_on_the_device_page_and_mended_by_the_file(running):
    await running.devices_are_online()
    key = running.site.layout.comm_key
    right = key.read_text()
    key.write_text(f"{int(right) % 999_999 + 1}\n")
    try:
        order(running, {"drop": True})
        row = await device_with_cause(running, "bad_credentials")
        assert row.health == "offline"
        assert right.strip() not in row.detail
    finally:
        key.write_text(right)
    await running.devices_are_online()


async def test_a_wrong_terminal_clock_is_told_on_the_device_page(running):
    await running.devices_are_online()
    order(running, {"clock_offset_s": 120})
    order(running, {"drop": True})
    row = await device_with_cause(running, "clock_wrong")
    assert row.health == "degraded"
    assert abs(row.clock_offset_ms - 120_000) < 2000
    order(running, {"clock_offset_s": 0})
    order(running, {"drop": True})
    await running.devices_are_online()


async def test_garbage_of_a_terminal_costs_no_punch(running):
    await running.devices_are_online()
    before = await punches(running)
    order(running, {"garbage": True})
    running.site.punch(provision.CLERK_TERMINAL_USER)

    async def one_more():
        return len(await punches(running)) == len(before) + 1

    await until(one_more, 90)
    await running.devices_are_online()


def order(running, what):
    """Tell the simulated terminal to do something."""
    running.site.children["terminal"].say(json.dumps(what))


async def device_with_cause(running, cause):
    """The terminal's row of the device page once it tells this cause."""

    async def told():
        rows = [d for d in await running.inspector.devices() if d.id == provision.TERMINAL]
        return rows[0] if rows[0].cause == cause else None

    return await until(told, 90)
