"""What every broker adapter does. The same tests run on the fake and on the real NATS."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

import pytest

from contracts.errors import Unavailable
from contracts.wire import topics
from contracts.wire.envelope import Ack
from gateway.core.facts import Fact
from gateway.ports import Broker, Inbox, Message
from tests.waiting import until


class Site(Protocol):
    """A broker with somebody on its other side."""

    broker: Broker

    async def put(self, topic: str, payload: bytes) -> None: ...
    async def facts(self) -> list[tuple[str, bytes]]: ...
    async def acks(self, device: str) -> list[Ack]: ...
    async def stop(self) -> None: ...
    async def start(self) -> None: ...


@asynccontextmanager
async def reading(broker: Broker, inbox: Inbox, *, refuse: int = 0) -> AsyncIterator[list[Message]]:
    """Read an inbox in the background; the first `refuse` batches are not taken."""
    got: list[Message] = []
    left = refuse

    async def handle(batch: Sequence[Message]) -> None:
        nonlocal left
        if left > 0:
            left -= 1
            raise Unavailable("not now")
        got.extend(batch)

    async with asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(broker.consume(inbox, handle))
        yield got
        reader.cancel()


ZK = "zk-07"
CAMERA = "cam-07-front"
PUNCH = topics.up("demo", ZK, "punch")


class BrokerContract:
    """Inherit and give a fixture `site`."""

    async def test_events_come_in_order_and_once(self, site: Site):
        """What was handled is not handed over again, not even to a new reader."""
        sent = [b"%d" % n for n in range(150)]
        for payload in sent[:100]:
            await site.put(PUNCH, payload)
        async with reading(site.broker, "up") as got:
            await until(lambda: len(got) == 100)
        for payload in sent[100:]:
            await site.put(PUNCH, payload)
        async with reading(site.broker, "up") as more:
            await until(lambda: len(more) >= 50)
        assert [m.payload for m in got + more] == sent
        assert got[0].subject == topics.subject(PUNCH)

    async def test_what_was_not_taken_comes_again(self, site: Site):
        """A handler without its disk loses nothing."""
        await site.put(PUNCH, b"precious")
        async with reading(site.broker, "up", refuse=2) as got:
            await until(lambda: got)
        assert [m.payload for m in got] == [b"precious"]

    async def test_states_begin_with_the_last_of_each(self, site: Site):
        """How things were before is nobody's business."""
        for device in (ZK, CAMERA):
            await site.put(topics.state("demo", device), b"old")
            await site.put(topics.state("demo", device), b"new")
        for _ in range(2):
            async with reading(site.broker, "state") as got:
                await until(lambda: len(got) >= 2)
            assert sorted((m.subject, m.payload) for m in got) == [
                (f"mj.v1.demo.{CAMERA}.state", b"new"),
                (f"mj.v1.demo.{ZK}.state", b"new"),
            ]

    async def test_orders_come(self, site: Site):
        """Central's orders have an inbox of their own."""
        await site.put(topics.order("demo", "site"), b"{}")
        async with reading(site.broker, "orders") as got:
            await until(lambda: got)
        assert got[0].subject == "mj.v1.demo.central.order.site"

    async def test_a_fact_has_one_effect(self, site: Site):
        """Publishing again after a lost confirmation does not double it."""
        fact = Fact(kind="punch", id="0190-a", payload=b"{}")
        await site.broker.publish_fact(fact)
        await site.broker.publish_fact(fact)
        await site.broker.publish_fact(Fact(kind="punch", id="0190-b", payload=b"[]"))
        assert await site.facts() == [("punch", b"{}"), ("punch", b"[]")]

    async def test_descriptions_are_kept(self, site: Site):
        """The last one counts; a device that never spoke has none."""
        assert await site.broker.description(ZK) is None
        await site.put(topics.desc("demo", ZK), b"first")
        await site.put(topics.desc("demo", ZK), b"second")

        async def second() -> bool:
            return await site.broker.description(ZK) == b"second"

        await until(second)

    async def test_devices_get_their_receipts(self, site: Site):
        """An acknowledgement reaches the device it is for."""

        async def got() -> list[Ack]:
            await site.broker.acknowledge(ZK, Ack(seq=7, rejected="why"))
            return await site.acks(ZK)

        assert (await until(got))[0] == Ack(seq=7, rejected="why")

    async def test_away_and_back(self, site: Site):
        """While it is away everything says so; afterwards everything works as before."""
        await site.put(PUNCH, b"before")
        async with reading(site.broker, "up") as got:
            await until(lambda: got)
            await site.stop()
            await until(lambda: not site.broker.connected)
            with pytest.raises(Unavailable):
                await site.broker.publish_fact(Fact(kind="punch", id="x", payload=b"1"))
            with pytest.raises(Unavailable):
                await site.broker.description(ZK)
            await site.start()
            await until(lambda: site.broker.connected)
            await site.put(PUNCH, b"after")
            await until(lambda: len(got) >= 2)
        assert [m.payload for m in got] == [b"before", b"after"]
        await site.broker.publish_fact(Fact(kind="punch", id="x", payload=b"1"))
        assert await site.facts() == [("punch", b"1")]
