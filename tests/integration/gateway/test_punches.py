"""200 punches through a real broker into the gateway program and out to central: once, in order."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiomqtt
import pytest

from contracts.clock import SystemClock
from contracts.wire import topics
from contracts.wire.access import PunchFact
from contracts.wire.devices import DeviceDesc, DeviceState
from contracts.wire.envelope import Ack, Envelope
from tests.integration.gateway.conftest import RealSite
from tests.integration.gateway.gateway_program import GatewayProgram, running
from tests.unit.gateway.test_event_intake import REGISTER, Device, punched
from tests.waiting import until

pytestmark = pytest.mark.integration

ZK = "zk-07"
COUNT = 200


class Terminal:
    """A device on MQTT that sends what it is told and remembers its receipts."""

    def __init__(self, site: RealSite) -> None:
        self.site = site
        self.device = Device(site.signer(ZK))
        self.events = [self.device.event(punched(n)) for n in range(COUNT)]
        self.acks: list[Ack] = []

    @asynccontextmanager
    async def session(self) -> AsyncIterator[aiomqtt.Client]:
        async with self.site.mqtt(ZK) as client:
            await client.subscribe(topics.ack("demo", ZK), qos=1)
            async with asyncio.TaskGroup() as tasks:
                hearing = tasks.create_task(self._hear(client))
                desc = DeviceDesc(
                    device=ZK,
                    device_class="fingerprint_terminal",
                    certificate=self.site.device(ZK).certificate.read_text(),
                )
                await client.publish(
                    topics.desc("demo", ZK), desc.model_dump_json(), qos=1, retain=True
                )
                yield client
                hearing.cancel()

    async def send(self, client: aiomqtt.Client, events: list[Envelope]) -> None:
        for event in events:
            await client.publish(topics.up("demo", ZK, "punch"), event.encode(), qos=1)

    @property
    def acked(self) -> int:
        return max((a.seq for a in self.acks), default=0)

    async def _hear(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            self.acks.append(Ack.model_validate_json(message.payload))


async def facts(site: RealSite, kind: str) -> list[bytes]:
    """What central finds in the stream of facts."""
    client = await site.nats_client("central")
    stream, _ = topics.fact_stream("demo")
    count = (await client.jetstream().stream_info(stream)).state.messages
    found = [await client.jetstream().get_msg(stream, seq) for seq in range(1, count + 1)]
    await client.close()
    return [m.data or b"" for m in found if str(m.subject).endswith(f".{kind}")]


async def order(site: RealSite, kind: str, payload: bytes, message_id: str) -> None:
    client = await site.nats_client("central")
    await client.jetstream().publish(
        topics.subject(topics.order("demo", kind)), payload, headers={"Nats-Msg-Id": message_id}
    )
    await client.close()


async def test_two_hundred_punches_exactly_once_and_in_order(real_site: RealSite):
    """Duplicates, disorder, a broker that restarts and a gateway that is killed change nothing."""
    program = GatewayProgram(real_site)
    terminal = Terminal(real_site)
    draws = random.Random(11)  # noqa: S311 - a shuffle that repeats
    async with running(program):
        await until(lambda: program.events("broker_connected"), 20)
        await order(real_site, "site", REGISTER.model_dump_json().encode(), "o-1")

        async def registered() -> bool:
            return (await program.status())["register_version"] == 1

        await until(registered, 20)
        async with terminal.session() as client:
            first = terminal.events[:80] + terminal.events[20:60]
            for start in range(0, len(first), 8):
                chunk = first[start : start + 8]
                draws.shuffle(chunk)
                await terminal.send(client, chunk)
            await until(lambda: terminal.acked >= 80, 30)

        await real_site.server.stop()
        await real_site.server.start()
        await until(lambda: len(program.events("broker_connected")) >= 2, 20)

        async with terminal.session() as client:
            await terminal.send(client, terminal.events[60:140])
            await until(lambda: terminal.acked >= 100, 30)
            await program.stop(9)
            await terminal.send(client, terminal.events[100:])
            await program.start()
            await until(lambda: terminal.acked == COUNT, 40)
            assert all(a.rejected is None for a in terminal.acks)

            async def arrived() -> bool:
                return len(await facts(real_site, "punch")) >= COUNT

            await until(arrived, 20)
            punches = [PunchFact.model_validate_json(p) for p in await facts(real_site, "punch")]
            assert [p.seq for p in punches] == list(range(1, COUNT + 1))
            assert {p.person for p in punches} == {"liu-yang"}

            before = len(terminal.acks)
            forged = terminal.events[0].model_copy(update={"observed_ns": 1})
            await terminal.send(client, [forged])
            await until(lambda: len(terminal.acks) > before, 20)
            assert terminal.acks[-1].seq == COUNT
            assert "signature" in (terminal.acks[-1].rejected or "")

        async def degraded() -> bool:
            health = (await program.status())["devices"][ZK]
            return health["health"] == "degraded" and "signature" in health["detail"]

        await until(degraded, 20)
        assert len(await facts(real_site, "punch")) == COUNT


async def test_a_will_makes_a_device_offline(real_site: RealSite):
    """Health is stated to central when it changes, with its cause."""
    program = GatewayProgram(real_site)
    boot, now = "b-1", SystemClock().now()
    async with running(program):
        async with real_site.mqtt(ZK) as client:
            online = DeviceState(health="online", cause="ok", boot=boot, at_ns=now)
            await client.publish(
                topics.state("demo", ZK), online.model_dump_json(), qos=1, retain=True
            )

            async def is_online() -> bool:
                return (await program.status())["devices"].get(ZK, {}).get("health") == "online"

            await until(is_online, 20)
            gone = DeviceState(health="offline", cause="connection_lost", boot=boot, at_ns=now)
            await client.publish(
                topics.state("demo", ZK), gone.model_dump_json(), qos=1, retain=True
            )

        async def told() -> list[bytes]:
            found = await facts(real_site, "health")
            return found if len(found) >= 2 else []

        healths = [f.decode() for f in await until(told, 20)]
        assert '"online"' in healths[0]
        assert '"offline"' in healths[1]
        assert '"connection_lost"' in healths[1]
