"""Central's composition root: parts, their ties, what runs in the background."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from central.adapters import flow_packs, schema
from central.adapters.background import Health, keep
from central.adapters.broker import Broker, BrokerOptions
from central.adapters.changes import ChangeFeed
from central.adapters.flow_packs import PackShelf, ReadPack
from central.adapters.gateway_client import HttpGateways
from central.adapters.outbox import publish_pending
from central.adapters.passwords import Argon2Passwords
from central.adapters.site_files import read_site
from central.adapters.unit_of_work import OUTAGES, SqlStore, explain, make_engine
from central.adapters.work_calendar import ChinaCalendar, read_overrides
from central.api.application import build_api
from central.api.pages import Pages
from central.config import CentralConfig
from central.domain.register import SiteRegister
from central.handlers import facts, site_register
from central.handlers.context import Context
from central.handlers.site_register import TellPassword
from central.ports import Gateways, Passwords
from contracts.clock import Clock, SystemClock
from contracts.errors import InvalidInput
from contracts.signing import PemSigner

_log = structlog.get_logger(__name__)
_PING_S = 2.0
_OUTBOX_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaceable:
    """Parts that a test may bring along; by default the real ones."""

    clock: Clock = field(default_factory=SystemClock)
    passwords: Passwords | None = None
    gateways: Gateways | None = None
    tell_password: TellPassword | None = None


def tell_on_stdout(username: str, password: str) -> None:
    """Print a one-time password as one line of JSON; it is stored nowhere."""
    line = {"event": "one_time_password", "username": username, "password": password}
    sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
    sys.stdout.flush()


class Central:
    """The parts of one process."""

    def __init__(self, config: CentralConfig, parts: Replaceable) -> None:
        self.config = config
        self.clock = parts.clock
        self.site: SiteRegister = read_site(config.site_file)
        self.offered: list[ReadPack] = [
            *flow_packs.shipped(),
            *(flow_packs.read_file(path) for path in config.packs),
        ]
        self.shelf = PackShelf()
        self.engine: AsyncEngine = make_engine(config.database)
        self.changes = ChangeFeed(self.engine)
        self.health = Health("database", "broker", "changes", "orders")
        self.tell_password = parts.tell_password or tell_on_stdout
        self.started = asyncio.Event()
        self._http: HttpGateways | None = None
        gateways = parts.gateways
        if gateways is None:
            gateways = self._http = _gateways(config, parts.clock)
        overrides = read_overrides(Path(config.calendar)) if config.calendar else {}
        self.context = Context(
            store=SqlStore(self.engine),
            packs=self.shelf,
            calendar=ChinaCalendar(overrides),
            clock=parts.clock,
            passwords=parts.passwords or Argon2Passwords(),
            gateways=gateways,
        )
        self.broker = _broker(config, self.site.id)

    async def prepare(self) -> None:
        """Bring the database up to date, then take over packs and the site's register.

        Raises:
            Unavailable: the database is not there yet.
        """
        try:
            await schema.upgrade(self.engine)
        except (DBAPIError, *OUTAGES) as exc:
            raise explain(exc) from exc
        await self._take_packs()
        version = await site_register.load(self.context, self.site, self.tell_password)
        _log.info("site_loaded", site=self.site.id, version=version)

    async def _take_packs(self) -> None:
        async with self.context.store.transaction() as tx:
            for read in self.offered:
                code, version = read.pack.code, read.pack.version
                valid = await tx.register.keep_pack(code, version, read.source)
                if valid != read.source:
                    _log.error(
                        "flow_pack_changed_without_new_version",
                        pack=code,
                        version=version,
                        effect="已有版本继续有效；修改后的事项包请换新版本号",
                    )
                self.shelf.offer(flow_packs.parse(valid, name=code).pack)
            for source in await tx.register.packs():
                self.shelf.keep(flow_packs.parse(source).pack)

    async def watch_database(self) -> None:
        """Wait for the database, prepare it once, then see that it answers."""
        await self.prepare()
        self.started.set()
        while True:
            try:
                async with self.engine.connect() as connection:
                    await connection.execute(text("SELECT 1"))
            except (DBAPIError, *OUTAGES) as exc:
                raise explain(exc) from exc
            self.health.set("database", "")
            await self.clock.sleep(_PING_S)

    async def follow_changes(self) -> None:
        """Hand notices of commits on to pages."""
        await self.started.wait()
        try:
            await self.changes.listen(lambda: self.health.set("changes", ""))
        except (DBAPIError, *OUTAGES) as exc:
            raise explain(exc) from exc

    async def take_facts(self) -> None:
        """Take facts from the broker while it is there."""
        if self.broker is None:
            self.health.set("broker", "未配置消息中间件（central.toml [broker]）")
            await asyncio.Event().wait()
            return
        await self.started.wait()
        await self.broker.session(self._take_fact)

    async def _take_fact(self, site: str, subject: str, raw: bytes) -> str:
        return await facts.take(self.context, site=site, subject=subject, raw=raw)

    async def publish_orders(self) -> None:
        """Publish orders as soon as they are committed, or when the broker is back."""
        await self.started.wait()
        broker = self.broker
        if broker is None:
            self.health.set("orders", "未配置消息中间件，指令留在发件箱")
            await asyncio.Event().wait()
            return
        with self.changes.subscribed() as inbox:
            while True:
                if broker.is_connected:
                    self.health.set("broker", "")
                    while await publish_pending(self.engine, broker.publish_order):
                        pass
                    self.health.set("orders", "")
                try:
                    async with asyncio.timeout(_OUTBOX_S if broker.is_connected else 0.5):
                        change = await inbox.get()
                        while change is not None and change.kind != "order":
                            change = await inbox.get()
                except TimeoutError:
                    continue

    async def close(self) -> None:
        """Close connections."""
        if self._http is not None:
            await self._http.aclose()
        await self.engine.dispose()


def create_app(config: CentralConfig, parts: Replaceable | None = None) -> FastAPI:
    """The application; its background work runs for as long as its lifespan.

    Raises:
        InvalidInput: settings, site file, flow pack or certificate are wrong; names the field.
    """
    central = Central(config, parts or Replaceable())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        work = {
            "database": central.watch_database,
            "changes": central.follow_changes,
            "broker": central.take_facts,
            "orders": central.publish_orders,
        }
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(
                    keep(name, run, clock=central.clock, health=central.health), name=name
                )
                for name, run in work.items()
            ]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
        await central.close()

    app = build_api(lifespan)
    app.state.context = central.context
    app.state.changes = central.changes
    app.state.readiness = central.health.reasons
    app.mount("/", Pages(config.web_folder), name="pages")
    return app


def _gateways(config: CentralConfig, clock: Clock) -> HttpGateways:
    try:
        key = config.key.read_bytes()
    except OSError as exc:
        raise InvalidInput(f"读不了 {config.key}：{exc}", field="key") from exc
    return HttpGateways(
        {gateway.site: gateway.url for gateway in config.gateways},
        signer=PemSigner(key),
        clock=clock,
        tls=config.client_tls(),
    )


def _broker(config: CentralConfig, site: str) -> Broker | None:
    if config.broker is None:
        return None
    sites = sorted({site, *(gateway.site for gateway in config.gateways)})
    url = config.broker.url
    tls = config.client_tls() if url.startswith("tls://") else None
    return Broker(BrokerOptions(url=url, sites=sites, tls=tls))
