"""One PostgreSQL for the whole session, one database per test."""

import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
from argon2 import PasswordHasher
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from central.adapters.passwords import Argon2Passwords
from central.adapters.unit_of_work import make_engine
from central.app import Replaceable, create_app
from central.config import CentralConfig
from contracts.clock import ManualClock, SystemClock
from contracts.timestamps import WallTime, from_iso
from mingjing.engines.postgres import PostgresOptions, PostgresServer
from mingjing.toml_text import toml_text
from tests.fakes.central_gateways import FakeGateways
from tests.waiting import until

_NUMBERS = itertools.count(1)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PostgresServer]:
    folder: Path = tmp_path_factory.mktemp("postgres")
    server = PostgresServer(PostgresOptions(folder=folder))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest.fixture
async def database_url(postgres: PostgresServer) -> AsyncIterator[str]:
    """An empty database of this test's own."""
    name = f"t{os.getpid()}_{next(_NUMBERS)}"
    connection = await asyncpg.connect(
        host=str(postgres.sockets), user="mingjing", database="postgres"
    )
    try:
        await connection.execute(f"CREATE DATABASE {name}")
        yield f"postgresql+asyncpg://mingjing@/{name}?host={postgres.sockets}"
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = make_engine(database_url)
    try:
        yield engine
    finally:
        await engine.dispose()


SITE: dict[str, Any] = {
    "id": "demo",
    "name": "示范区政务服务中心",
    "places": [
        {"id": "counter-07", "name": "07 号窗口", "kind": "counter"},
        {"id": "counter-08", "name": "08 号窗口", "kind": "counter"},
    ],
    "devices": [
        {
            "id": "cam-07-front",
            "class": "camera",
            "name": "窗口正面",
            "place": "counter-07",
            "streams": ["main"],
            "detects_presence": True,
        },
        {
            "id": "cam-08-front",
            "class": "camera",
            "name": "窗口正面",
            "place": "counter-08",
            "streams": ["main"],
        },
        {"id": "zk-07", "class": "fingerprint_terminal", "name": "指纹机", "place": "counter-07"},
    ],
    "persons": [
        {"id": "liu-yang", "name": "刘洋", "unit": "行政审批局", "terminal_users": ["1001"]},
        {"id": "he-fang", "name": "何芳", "unit": "行政审批局"},
        {"id": "zhou-zheng", "name": "周正", "unit": "监察室"},
        {"id": "chen-gang", "name": "陈刚", "unit": "行政审批局"},
    ],
    "users": [
        {"username": "admin", "role": "administrator"},
        {
            "username": "liu-yang",
            "role": "clerk",
            "person": "liu-yang",
            "place": "counter-07",
        },
        {"username": "he-fang", "role": "clerk", "person": "he-fang"},
        {"username": "zhou-zheng", "role": "inspector", "person": "zhou-zheng"},
        {"username": "chen-gang", "role": "unit_head", "person": "chen-gang"},
        {"username": "guard", "role": "operator"},
    ],
}


@dataclass
class RunningCentral:
    """Central's application with its lifespan running, and what the test may touch of it."""

    app: FastAPI
    clock: ManualClock
    gateways: FakeGateways
    passwords: dict[str, str]

    def client(self) -> httpx.AsyncClient:
        """A browser without a session."""
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app),
            base_url="http://central",
            headers={"X-Mingjing": "1"},
        )

    async def sign_in(self, username: str) -> httpx.AsyncClient:
        """A browser with a session."""
        client = self.client()
        body = {"username": username, "password": self.passwords[username]}
        answer = await client.post("/api/login", json=body)
        assert answer.status_code == 200, answer.text
        return client


def cheap_passwords() -> Argon2Passwords:
    """Real Argon2 with costs that suit tests."""
    return Argon2Passwords(PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))


def write_settings(
    folder: Path, database: str, *, site: dict[str, Any] = SITE, **more: Any
) -> CentralConfig:
    """Settings of a central without broker and gateways, checked as `central serve` does."""
    (folder / "site.toml").write_text(toml_text(site), "utf-8")
    settings = {
        "listen": "127.0.0.1:0",
        "database": database,
        "certificate": "cert.pem",
        "key": "key.pem",
        "ca": "ca.pem",
        "site_file": "site.toml",
        "web": "web",
        **more,
    }
    (folder / "central.toml").write_text(toml_text(settings), "utf-8")
    return CentralConfig.load(folder / "central.toml")


@asynccontextmanager
async def running(config: CentralConfig, clock: ManualClock) -> AsyncIterator[RunningCentral]:
    """Central as `serve` runs it, without sockets; its clock stands unless it is moved."""
    passwords: dict[str, str] = {}
    gateways = FakeGateways()
    app = create_app(
        config,
        Replaceable(
            clock=WaitingClock(clock),
            passwords=cheap_passwords(),
            gateways=gateways,
            tell_password=passwords.__setitem__,
        ),
    )
    central = RunningCentral(app=app, clock=clock, gateways=gateways, passwords=passwords)
    async with app.router.lifespan_context(app):
        yield central


class WaitingClock(ManualClock):
    """Another clock's time, but waits that pass: supervisors retry while the time stands."""

    def __init__(self, other: ManualClock) -> None:
        super().__init__()
        self._other = other

    def now(self) -> WallTime:
        return self._other.now()

    def monotonic_ns(self) -> int:
        return self._other.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        await SystemClock().sleep(min(seconds, 0.05))


@pytest.fixture
def start() -> ManualClock:
    """Wednesday 2026-11-25, 10:00 in China."""
    return ManualClock(from_iso("2026-11-25T10:00:00+08:00"))


@pytest.fixture
async def central(
    database_url: str, tmp_path: Path, start: ManualClock
) -> AsyncIterator[RunningCentral]:
    async with running(write_settings(tmp_path, database_url), start) as central:
        await until(lambda: not central.app.state.readiness()["database"])
        yield central
