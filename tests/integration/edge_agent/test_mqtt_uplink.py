"""The uplink against a real broker with TLS, and a gateway that keeps only its promise."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from contracts.clock import SystemClock
from contracts.signing import PemSigner
from contracts.timestamps import ClockQuality
from contracts.wire.devices import DeviceDesc
from edge_agent.adapters.mqtt_uplink import MqttUplink, UplinkOptions
from edge_agent.adapters.sqlite_spool import DeviceSpool, SpoolFile, SpoolIdentity
from edge_agent.core.spool_policy import SpoolLimits
from edge_agent.supervisor import BoardOptions, DeviceBoard
from tests.integration.edge_agent.gateway_double import GatewayDouble
from tests.waiting import until

pytestmark = pytest.mark.integration

DEVICE = "zk-07"
CLOCK = SystemClock()


class Device:
    """A device's spool, board and uplink; the uplink may be started and stopped."""

    def __init__(self, broker, spool: DeviceSpool, boot: str, **options) -> None:
        identity = broker.device(DEVICE)
        desc = DeviceDesc(
            device=DEVICE,
            device_class="fingerprint_terminal",
            certificate=identity.certificate.read_text(),
        )
        self.spool = spool
        self.board = DeviceBoard(BoardOptions(desc=desc, boot=boot), clock=CLOCK)
        self.options = replace(
            UplinkOptions(
                site="demo",
                device=DEVICE,
                boot=boot,
                host="127.0.0.1",
                port=broker.server.options.mqtt_port,
                ca=broker.ca_file,
                certificate=identity.certificate,
                key=identity.key,
                resend_s=1.0,
                alarm_s=2.0,
                heartbeat_s=0.3,
            ),
            **options,
        )

    @asynccontextmanager
    async def connected(self):
        uplink = MqttUplink(
            self.options,
            self.spool,
            status=self.board,
            health=self.board.reporter("uplink"),
            clock=CLOCK,
            random=lambda: 0.9,
        )
        async with asyncio.TaskGroup() as group:
            task = group.create_task(uplink.run())
            try:
                yield uplink
            finally:
                while not task.done():  # as the agent's app does
                    task.cancel()
                    await asyncio.wait([task], timeout=5)

    async def punch(self, first: int, count: int) -> None:
        for n in range(first, first + count):
            await self.spool.accept(
                "punch",
                "punch",
                body={"n": n},
                observed_ns=CLOCK.now(),
                clock=ClockQuality(source="ntp"),
                key=str(n),
            )

    async def is_empty(self) -> bool:
        return (await self.spool.level()).pending == 0


@pytest.fixture
async def device(tmp_path, broker):
    async with SpoolFile(tmp_path / "agent" / "spool.sqlite3", clock=CLOCK) as file:
        signer = PemSigner(broker.device(DEVICE).key.read_bytes())
        identity = SpoolIdentity(site="demo", device=DEVICE, boot="boot-1", signer=signer)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(file.run())
            yield Device(broker, DeviceSpool(file, identity, SpoolLimits()), "boot-1")
            task.cancel()


def numbers(gateway: GatewayDouble) -> list[int]:
    return [envelope.body["n"] for envelope in gateway.stored]


async def test_announces_publishes_in_order_and_empties_on_the_ack(broker, device) -> None:
    device.board.reporter("driver").report("online", "ok")
    async with GatewayDouble(broker).running() as gateway, device.connected():
        await device.punch(0, 250)
        await until(device.is_empty, 30)
        assert numbers(gateway) == list(range(250))
        state = await until(lambda: gateway.says(DEVICE, "ok"))
        assert (state.health, state.boot) == ("online", "boot-1")
        device.board.reporter("driver").describe(serial="A1")
        await until(lambda: _serial(gateway, "A1"))
        device.board.reporter("driver").report("degraded", "clock_wrong", "慢 120 秒")
        state = await until(lambda: gateway.says(DEVICE, "clock_wrong"))
        assert state.detail == "慢 120 秒"
    assert gateway.refused == []


async def _serial(gateway: GatewayDouble, serial: str) -> bool:
    desc = await gateway.desc(DEVICE)
    return desc is not None and desc.serial == serial


async def test_a_broker_that_stops_costs_nothing(broker, device) -> None:
    """200 punches while the broker is away: each once and in order when it is back."""
    async with GatewayDouble(broker).running() as gateway, device.connected():
        await device.punch(0, 20)
        await until(device.is_empty, 30)
        await broker.server.stop()
        await device.punch(20, 100)
        await until(lambda: device.board.state().cause == "gateway_unreachable", 30)
        await device.punch(120, 100)
        assert (await device.spool.level()).pending == 200
        await broker.server.start()
        await until(device.is_empty, 60)
        assert numbers(gateway) == list(range(220))
        await until(lambda: device.board.state().cause == "ok", 10)


async def test_a_broker_that_is_away_at_start_is_found_later(broker, device) -> None:
    await broker.server.stop()
    async with device.connected():
        await device.punch(0, 3)
        await until(lambda: device.board.state().cause == "gateway_unreachable", 30)
        await broker.server.start()
        async with GatewayDouble(broker).running() as gateway:
            await until(device.is_empty, 60)
            assert numbers(gateway) == [0, 1, 2]


async def test_a_puback_is_no_receipt(broker, device) -> None:
    """A silent gateway: nothing is let go of, an alarm is raised, everything is sent again."""
    async with GatewayDouble(broker).running() as gateway, device.connected():
        gateway.answers = False
        await device.punch(0, 5)
        await until(lambda: gateway.seen >= 10, 30)
        assert (await device.spool.level()).pending == 5
        state = await until(lambda: gateway.says(DEVICE, "gateway_unreachable"), 30)
        assert "没有确认" in state.detail
        assert state.spool_pending == 5
        gateway.answers = True
        await until(device.is_empty, 30)
        assert numbers(gateway) == [0, 1, 2, 3, 4]
        await until(lambda: gateway.says(DEVICE, "ok"))


async def test_a_rejection_is_told_and_ends(broker, device) -> None:
    async with GatewayDouble(broker).running() as gateway, device.connected():
        gateway.rejects = "链断了"
        await device.punch(0, 2)
        state = await until(lambda: gateway.says(DEVICE, "gateway_refused"))
        assert "链断了" in state.detail
        assert (await device.spool.level()).pending == 2
        gateway.rejects = None
        await until(device.is_empty, 30)


async def test_the_window_bounds_what_is_under_way(broker, device) -> None:
    device.options = replace(device.options, window=10, resend_s=60)
    async with GatewayDouble(broker).running() as gateway:
        gateway.answers = False
        await device.punch(0, 50)
        async with device.connected():
            await until(lambda: gateway.seen == 10)
            await device.punch(50, 1)
            assert gateway.seen == 10


async def test_an_orderly_stop_says_good_bye(broker, device) -> None:
    async with GatewayDouble(broker).running() as gateway:
        async with device.connected():
            await until(lambda: gateway.state(DEVICE))
        state = await until(lambda: gateway.says(DEVICE, "stopped"))
        assert state.health == "offline"


async def test_another_devices_certificate_is_told_by_silence_not_by_loss(broker, device) -> None:
    """Denied publishes are PUBACKed; the events stay and the alarm comes."""
    other = broker.device("cam-07-front")
    device.options = replace(device.options, certificate=other.certificate, key=other.key)
    async with GatewayDouble(broker).running() as gateway, device.connected():
        await device.punch(0, 3)
        await until(lambda: device.board.state().cause == "gateway_unreachable", 30)
        assert (await device.spool.level()).pending == 3
        assert gateway.stored == []


async def test_a_lost_spool_shows_the_reason_of_the_gateway(broker, device) -> None:
    """The gateway holds events of a spool that is gone: it says what to do, and that stays."""
    device.options = replace(device.options, resend_s=0.2, alarm_s=2)
    with capture_logs() as lines:
        async with GatewayDouble(broker).running() as gateway, device.connected():
            gateway.head, gateway.rejects = 40, "暂存库丢失或被替换，请重新登记该设备"
            await device.punch(0, 2)
            state = await until(lambda: gateway.says(DEVICE, "gateway_refused"))
            assert "请重新登记该设备" in state.detail
            assert "本机只产生到 2" in state.detail
            # both are sent again for far longer than it takes to call a gateway silent
            enough = gateway.seen + 2 * 16
            await until(lambda: gateway.seen >= enough, 30)
            assert (await device.spool.level()).pending == 2
    assert [line["kind"] for line in lines if line["event"] == "uplink_alarm"] == ["rejected"]


async def test_an_ack_beyond_what_was_made_lets_nothing_go(broker, device) -> None:
    async with GatewayDouble(broker).running() as gateway, device.connected() as uplink:
        await until(lambda: gateway.state(DEVICE))
        gateway.answers = False
        await device.punch(0, 2)
        await gateway._nats.publish(f"mj.v1.demo.{DEVICE}.ack", b'{"seq": 40}')
        await gateway._nats.publish(f"mj.v1.demo.{DEVICE}.ack", b"\xff no JSON")
        await until(lambda: device.board.state().cause == "internal_error")
        assert (await device.spool.level()).pending == 2
        assert uplink is not None
