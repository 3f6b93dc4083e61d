"""The real NATS keeps the promises of the port, over TLS and with devices on MQTT."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from contracts.clock import SystemClock
from contracts.wire import topics
from contracts.wire.envelope import Ack
from gateway.adapters.broker import BrokerOptions, NatsBroker
from tests.integration.gateway.conftest import RealSite
from tests.unit.gateway.broker_contract import BrokerContract, reading
from tests.waiting import until

pytestmark = pytest.mark.integration


class NatsSite:
    def __init__(self, site: RealSite, reader: str = "gateway") -> None:
        self._site = site
        self.url = site.server.url
        self.broker = NatsBroker(
            BrokerOptions(
                url=site.server.url,
                site="demo",
                reader=reader,
                tls=site.tls(site.program("gateway")),
            ),
            clock=SystemClock(),
            random=lambda: 0.5,
        )
        self._acks: list[Ack] = []

    async def put(self, topic: str, payload: bytes) -> None:
        device = topic.split("/")[3]
        if device == "central":
            client = await self._site.nats_client("central")
            await client.jetstream().publish(topics.subject(topic), payload)
            await client.close()
            return
        retained = topic.endswith(("/state", "/desc"))
        async with self._site.mqtt(device) as client:
            await client.publish(topic, payload, qos=1, retain=retained)

    async def facts(self) -> list[tuple[str, bytes]]:
        client = await self._site.nats_client("central")
        stream, _ = topics.fact_stream("demo")
        count = (await client.jetstream().stream_info(stream)).state.messages
        found = []
        for seq in range(1, count + 1):
            message = await client.jetstream().get_msg(stream, seq)
            found.append((str(message.subject).rpartition(".")[2], message.data or b""))
        await client.close()
        return found

    async def acks(self, device: str) -> list[Ack]:
        """Subscribe, then wait for what is sent meanwhile."""
        if not self._acks:
            async with self._site.mqtt(device) as client:
                await client.subscribe(topics.ack("demo", device), qos=1)
                await self.broker.acknowledge(device, Ack(seq=7, rejected="why"))
                message = await anext(aiter(client.messages))
                assert isinstance(message.payload, bytes)
                self._acks.append(Ack.model_validate_json(message.payload))
        return self._acks

    async def stop(self) -> None:
        await self._site.server.stop()

    async def start(self) -> None:
        await self._site.server.start()


class TestNatsBroker(BrokerContract):
    @pytest.fixture
    async def site(self, real_site: RealSite) -> AsyncIterator[NatsSite]:
        site = NatsSite(real_site)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(site.broker.run())
            await until(lambda: site.broker.connected)
            yield site
            running.cancel()


async def test_starts_with_the_broker_down(real_site: RealSite):
    """A gateway that boots first simply waits."""
    await real_site.server.stop()
    site = NatsSite(real_site)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(site.broker.run())
        assert not site.broker.connected
        await real_site.server.start()
        await until(lambda: site.broker.connected)
        running.cancel()


async def test_a_broker_that_is_away_is_told_promptly(real_site: RealSite):
    """Said once within seconds, not after the library's two minutes, and tried on for ever."""
    await real_site.server.stop()
    site = NatsSite(real_site)
    with capture_logs() as lines:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(site.broker.run())
            await until(lambda: any(line["event"] == "broker_unreachable" for line in lines))
            assert not site.broker.connected
            await real_site.server.start()
            await until(lambda: site.broker.connected)
            running.cancel()
    told = [line for line in lines if line["log_level"] != "debug"]
    assert [line["event"] for line in told] == ["broker_unreachable", "broker_connected"]
    assert told[0]["url"] == site.url
    assert "no servers" not in told[0]["reason"]


async def test_a_new_reader_begins_at_the_beginning(real_site: RealSite):
    """A gateway whose database is new gets the register and the orders once more."""
    got = []
    for reader in ("gateway-1", "gateway-1", "gateway-2"):
        site = NatsSite(real_site, reader)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(site.broker.run())
            await until(lambda site=site: site.broker.connected)
            if not got:
                await site.put(topics.order("demo", "site"), b"register")
            async with reading(site.broker, "orders") as batch:
                if len(got) != 1:
                    await until(lambda batch=batch: batch)
                else:
                    await site.put(topics.order("demo", "step"), b"step")
                    await until(lambda batch=batch: batch)
            got.append([m.payload for m in batch])
            running.cancel()
    assert got == [[b"register"], [b"step"], [b"register", b"step"]]
