"""The live channel over real sockets, and the database that comes late."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from central.handlers import facts
from contracts.clock import ManualClock
from mingjing.engines.postgres import PostgresServer
from tests.integration.central.case_run import open_case
from tests.integration.central.conftest import RunningCentral, running, write_settings
from tests.integration.central.test_facts import health, punch
from tests.waiting import until

pytestmark = pytest.mark.integration


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    """The application behind uvicorn on a free port; gives host and port."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None))
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve([listener]))
        await until(lambda: server.started)
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True


async def follow(central: RunningCentral, address: str, username: str) -> ClientConnection:
    """A page's connection, past its hello."""
    client = await central.sign_in(username)
    cookie = f"mingjing_session={client.cookies['mingjing_session']}"
    channel = await connect(
        f"ws://{address}/api/live/events", additional_headers={"Cookie": cookie}
    )
    hello = json.loads(await channel.recv())
    assert (hello["kind"], hello["seq"]) == ("hello", 0)
    return channel


async def messages(channel: ClientConnection, count: int) -> list[dict[str, Any]]:
    """The next messages that are no heartbeats."""
    found: list[dict[str, Any]] = []
    while len(found) < count:
        message = json.loads(await channel.recv())
        if message["kind"] != "heartbeat":
            found.append(message)
    return found


async def test_commits_of_one_process_reach_pages_of_another(
    central: RunningCentral, database_url: str, tmp_path: Path, start: ManualClock
) -> None:
    """Two central processes on one database; each page sees what its role may read."""
    folder = tmp_path / "second"
    folder.mkdir()
    async with running(write_settings(folder, database_url), start) as second:
        await until(lambda: second.app.state.changes.is_listening)
        second.passwords.update(central.passwords)
        async with served(second.app) as address:
            inspector = await follow(second, address, "zhou-zheng")
            operator = await follow(second, address, "guard")
            case = await open_case(await central.sign_in("liu-yang"))
            for fact in (punch(1), punch(1), health(1)):
                subject = f"mj.v1.demo.gateway.fact.{fact.KIND}"
                raw = fact.model_dump_json().encode()
                await facts.take(central.app.state.context, site="demo", subject=subject, raw=raw)
            seen = await messages(inspector, 3)
            assert [m["kind"] for m in seen] == ["case", "punch", "device"]
            assert seen[0]["data"] == {"no": case["no"], "revision": 1}
            assert [m["seq"] for m in seen] == [1, 2, 3]
            (only,) = await messages(operator, 1)
            assert (only["kind"], only["seq"]) == ("device", 1)
            assert only["data"] == {
                "id": "cam-07-front",
                "health": "offline",
                "cause": "unreachable",
            }
            await inspector.close()
            await operator.close()


async def test_the_live_channel_is_closed_to_strangers(central: RunningCentral) -> None:
    """No cookie 401; a page of another origin 403."""
    async with served(central.app) as address:
        url = f"ws://{address}/api/live/events"
        with pytest.raises(InvalidStatus) as refused:
            await connect(url)
        assert refused.value.response.status_code == 401
        client = await central.sign_in("zhou-zheng")
        cookie = f"mingjing_session={client.cookies['mingjing_session']}"
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, additional_headers={"Cookie": cookie}, origin="http://evil")
        assert refused.value.response.status_code == 403


async def test_pages_read_anew_after_a_break(central: RunningCentral, engine: AsyncEngine) -> None:
    """When the notices' connection breaks, pages are cut off rather than left with a hole."""
    feed, readiness = central.app.state.changes, central.app.state.readiness
    await until(lambda: feed.is_listening)
    async with served(central.app) as address:
        channel = await follow(central, address, "zhou-zheng")
        async with engine.begin() as db:
            await db.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND query LIKE 'LISTEN%'"
                )
            )
        with pytest.raises(ConnectionClosed) as closed:
            await messages(channel, 1)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        await until(lambda: feed.is_listening)
        assert readiness()["changes"] == "", "the health of a part comes back with it"
        again = await follow(central, address, "zhou-zheng")
        await open_case(await central.sign_in("liu-yang"))
        assert [m["kind"] for m in await messages(again, 1)] == ["case"]
        await again.close()


async def test_the_database_may_come_late(
    postgres: PostgresServer, database_url: str, tmp_path: Path, start: ManualClock
) -> None:
    """Until it is there: 503 with the reason, in /healthz and the API; then all works."""
    later = tmp_path / "s"
    url = database_url.replace(str(postgres.sockets), str(later))
    async with running(write_settings(tmp_path, url), start) as central:
        await until(lambda: "数据库" in central.app.state.readiness()["database"])
        async with central.client() as browser:
            answer = await browser.get("/healthz")
            assert answer.status_code == 503
            assert "数据库现在不可用" in answer.json()["parts"]["database"]
            login = {"username": "liu-yang", "password": "x"}
            answer = await browser.post("/api/login", json=login)
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            browser.cookies.set("mingjing_session", "x")
            assert (await browser.get("/api/me")).status_code == 503
        later.symlink_to(postgres.sockets)
        await until(lambda: not central.app.state.readiness()["database"], 30)
        clerk = await central.sign_in("liu-yang")
        assert (await clerk.get("/api/me")).json()["name"] == "刘洋"
