"""Facts in and orders out over a real NATS, which comes and goes."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from central.adapters import tables
from central.config import CentralConfig
from contracts.clock import ManualClock, SystemClock
from contracts.wire import topics
from contracts.wire.access import PunchFact
from contracts.wire.orders import SiteOrder, StepOrder
from mingjing.ca import SiteCa
from mingjing.engines.nats import NatsOptions, NatsServer
from mingjing.engines.ports import ephemeral
from tests.integration.central.case_run import open_case, run_step
from tests.integration.central.conftest import RunningCentral, running, write_settings
from tests.integration.central.test_facts import punch
from tests.waiting import until

pytestmark = pytest.mark.integration


class Broker:
    """A real NATS with the site's CA; the test plays the gateway."""

    def __init__(self, folder: Path) -> None:
        now = SystemClock().now()
        self._ca = SiteCa.open(folder / "ca", site="demo", now=now)
        self._folder = folder
        self.server = NatsServer(
            NatsOptions(
                site="demo",
                folder=folder / "nats",
                ca=folder / "ca" / "ca.pem",
                identity=self._ca.program(folder / "programs" / "nats", "nats", now=now),
                devices=(),
                port=ephemeral(),
                mqtt_port=ephemeral(),
            )
        )
        self._ca.program(folder / "programs" / "central", "central", now=now)

    def settings(self, database: str) -> CentralConfig:
        """Central's settings with this broker."""
        return write_settings(
            self._folder,
            database,
            ca="ca/ca.pem",
            certificate="programs/central/cert.pem",
            key="programs/central/key.pem",
            broker={"url": self.server.url},
        )

    async def gateway(self) -> Client:
        """A connection with the gateway's certificate."""
        now = SystemClock().now()
        identity = self._ca.program(self._folder / "programs" / "gateway", "gateway", now=now)
        tls = ssl.create_default_context(cafile=self._folder / "ca" / "ca.pem")
        tls.load_cert_chain(identity.certificate, identity.key)

        async def quiet(_: Exception) -> None: ...

        return await nats.connect(self.server.url, tls=tls, allow_reconnect=False, error_cb=quiet)


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    broker = Broker(tmp_path)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(broker.server.stop)
        yield broker


async def publish(client: Client, fact: PunchFact, *, message_id: str = "") -> None:
    """State a fact as the gateway's forwarder does."""
    headers = {"Nats-Msg-Id": message_id or fact.id}
    subject = topics.subject(topics.fact("demo", fact.KIND))
    await client.jetstream().publish(subject, fact.model_dump_json().encode(), headers=headers)


async def stored_punches(engine: AsyncEngine) -> list[int]:
    """Sequence numbers of the punches in central, in order of time."""
    async with engine.connect() as db:
        query = select(tables.punches.c.seq).order_by(tables.punches.c.at_ns)
        return list((await db.execute(query)).scalars())


async def waiting_orders(engine: AsyncEngine) -> int:
    """How many orders are in the outbox."""
    async with engine.connect() as db:
        query = select(func.count()).select_from(tables.order_outbox)
        return int((await db.execute(query)).scalar_one())


async def ready(central: RunningCentral, *parts: str) -> None:
    """Wait until these parts are well."""
    await until(lambda: not any(central.app.state.readiness()[part] for part in parts), 30)


async def test_the_broker_may_come_late_and_go(
    broker: Broker, database_url: str, engine: AsyncEngine, start: ManualClock
) -> None:
    """Orders wait in the outbox, facts at the site; both arrive once and in order."""
    async with running(broker.settings(database_url), start) as central:
        await ready(central, "database")
        clerk = await central.sign_in("liu-yang")
        case = await run_step(clerk, await open_case(clerk), 1)
        assert await waiting_orders(engine) == 3, "site, step begun, step done"
        url = broker.server.url
        await until(lambda: url in central.app.state.readiness()["broker"])
        assert (await clerk.get("/healthz")).status_code == 200, "it works without the broker"

        await broker.server.start()
        await ready(central, "broker")
        await until(lambda: _none_waiting(engine))
        gateway = await broker.gateway()
        first = await _orders(gateway)
        assert [kind for kind, _ in first] == ["site", "step", "step"]
        site = SiteOrder.model_validate_json(first[0][1])
        assert (site.version, [d.id for d in site.devices][:1]) == (1, ["cam-07-front"])
        begun, done = (StepOrder.model_validate_json(raw) for _, raw in first[1:])
        assert (begun.step, begun.ended_ns) == (f"{case['no']}.1", None)
        assert (done.step, done.person, done.ended_ns) == (begun.step, "liu-yang", start.now())

        for seq in range(1, 6):
            await publish(gateway, punch(seq))
        await until(lambda: _has(engine, 5))
        await gateway.close()

        broker.server.child.send_signal(9)
        await until(lambda: _broker_is_away(central), 30)
        await run_step(clerk, case, 2)
        assert await waiting_orders(engine) == 2
        await broker.server.stop()
        await broker.server.start()
        gateway = await broker.gateway()
        for seq in range(3, 60):  # some again, as after a lost PubAck; all in order
            await publish(gateway, punch(seq), message_id=f"again-{seq}")
        await until(lambda: _has(engine, 59), 30)
        assert await stored_punches(engine) == list(range(1, 60))
        await until(lambda: _none_waiting(engine), 30)
        assert [kind for kind, _ in await _orders(gateway)] == ["site", "step", "step"] + [
            "step"
        ] * 2
        await gateway.close()


async def test_facts_wait_for_central(
    broker: Broker, database_url: str, engine: AsyncEngine, start: ManualClock
) -> None:
    """What the gateway stated while central was stopped is taken when it comes back, once."""
    await broker.server.start()
    config = broker.settings(database_url)
    async with running(config, start) as central:
        await ready(central, "database", "broker")
    gateway = await broker.gateway()
    for seq in (1, 2, 3):
        await publish(gateway, punch(seq))
    subject = topics.subject(topics.fact("demo", "punch"))
    await gateway.jetstream().publish(subject, b"not json")
    async with running(config, start) as central:
        await until(lambda: _has(engine, 3), 30)
        await until(lambda: _nothing_pending(gateway))
        assert central.passwords == {}, "passwords are told at the first start only"
    async with engine.connect() as db:
        rejected = (await db.execute(select(tables.rejected_facts.c.raw))).scalars().all()
    assert rejected == [b"not json"]
    await gateway.close()


async def test_a_changed_site_file_is_told_with_a_higher_version(
    broker: Broker, database_url: str, start: ManualClock
) -> None:
    """Loading the same file again says nothing; a new device makes version 2."""
    await broker.server.start()
    config = broker.settings(database_url)
    for _ in range(2):
        async with running(config, start) as central:
            await ready(central, "database", "broker")
    text = config.site_file.read_text("utf-8")
    config.site_file.write_text(text.replace("指纹机", "新指纹机"), "utf-8")
    async with running(config, start) as central:
        await ready(central, "database", "broker")
        clerk = await _known_clerk(central)
        assert clerk
    gateway = await broker.gateway()
    versions = [json.loads(raw)["version"] for _, raw in await _orders(gateway)]
    assert versions == [1, 2]
    await gateway.close()


async def _known_clerk(central: RunningCentral) -> bool:
    async with central.app.state.context.store.transaction() as tx:
        return await tx.access.credentials("liu-yang") is not None


async def _has(engine: AsyncEngine, count: int) -> bool:
    return len(await stored_punches(engine)) == count


async def _none_waiting(engine: AsyncEngine) -> bool:
    return await waiting_orders(engine) == 0


def _broker_is_away(central: RunningCentral) -> bool:
    return bool(central.app.state.readiness()["broker"])


async def _nothing_pending(client: Client) -> bool:
    stream, _ = topics.fact_stream("demo")
    found = await client.jetstream().consumer_info(stream, "central")
    return found.num_pending == 0 and found.num_ack_pending == 0


async def _orders(client: Client) -> list[tuple[str, bytes]]:
    """Every order in the stream: kind and body, oldest first."""
    stream, subjects = topics.order_stream("demo")
    js = client.jetstream()
    count = (await js.stream_info(stream)).state.messages
    pulled = await js.pull_subscribe(
        subjects[0], stream=stream, config=ConsumerConfig(ack_policy=AckPolicy.NONE)
    )
    found = []
    for _ in range(count):
        (message,) = await pulled.fetch(1, timeout=5)
        found.append((message.subject.rsplit(".", 1)[-1], message.data))
    await pulled.unsubscribe()
    return found
