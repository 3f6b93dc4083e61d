import asyncio
import ssl
from contextlib import AbstractAsyncContextManager

import aiomqtt
import nats
import pytest
from nats.aio.client import Client
from nats.js.api import StorageType, StreamConfig
from nats.js.errors import NotFoundError

from contracts.errors import Unavailable
from contracts.wire import topics
from mingjing.ca import Identity
from mingjing.engines.nats import NatsServer
from tests.integration.mingjing.conftest import Broker
from tests.waiting import until

pytestmark = pytest.mark.integration

STATE = topics.state("demo", "cam-07-front")


def context(broker: Broker, identity: Identity) -> ssl.SSLContext:
    tls = ssl.create_default_context(cafile=broker.ca_file)
    tls.load_cert_chain(identity.certificate, identity.key)
    return tls


def mqtt(
    broker: Broker, device: str, *, will: aiomqtt.Will | None = None
) -> AbstractAsyncContextManager[aiomqtt.Client]:
    return aiomqtt.Client(
        "127.0.0.1",
        broker.server.options.mqtt_port,
        identifier=device,
        tls_context=context(broker, broker.device(device)),
        will=will,
        protocol=aiomqtt.ProtocolVersion.V311,
    )


async def program(broker: Broker, name: str) -> Client:
    async def quiet(_: Exception) -> None: ...

    return await nats.connect(
        broker.server.url,
        tls=context(broker, broker.program(name)),
        allow_reconnect=False,
        error_cb=quiet,
    )


async def streams(client: Client) -> None:
    for name, subjects, most in (
        (*topics.up_stream("demo"), -1),
        (*topics.state_stream("demo"), 1),
    ):
        await client.jetstream().add_stream(
            StreamConfig(
                name=name,
                subjects=subjects,
                storage=StorageType.FILE,
                max_msgs_per_subject=most,
            )
        )


async def last(client: Client, stream: str, subject: str) -> bytes | None:
    try:
        return (await client.jetstream().get_last_msg(stream, subject)).data
    except NotFoundError:
        return None


async def count(client: Client, stream: str) -> int:
    return (await client.jetstream().stream_info(stream)).state.messages


async def test_device_speaks_in_its_own_subtree_and_hears_its_acks(broker: Broker) -> None:
    """State, description and events arrive in the streams; ack and command reach the device."""
    gateway = await program(broker, "gateway")
    await streams(gateway)
    async with mqtt(broker, "cam-07-front") as device:
        await device.subscribe(topics.ack("demo", "cam-07-front"), qos=1)
        await device.subscribe(topics.commands("demo", "cam-07-front"), qos=1)
        await device.publish(STATE, b"online", qos=1, retain=True)
        await device.publish(topics.desc("demo", "cam-07-front"), b"desc", qos=1, retain=True)
        await device.publish(topics.up("demo", "cam-07-front", "clock"), b"event", qos=1)
        assert await until(lambda: last(gateway, "STATE_demo", topics.subject(STATE))) == b"online"
        await until(lambda: count(gateway, "UP_demo"))
        await gateway.publish(topics.subject(topics.ack("demo", "cam-07-front")), b"stored")
        command = topics.subject(topics.command("demo", "cam-07-front", "c1"))
        await gateway.publish(command, b"reboot")
        async with asyncio.timeout(10):
            heard = {(await anext(device.messages)).payload for _ in range(2)}
        assert heard == {b"stored", b"reboot"}
        assert await count(gateway, "STATE_demo") == 2
    await gateway.close()


async def test_lost_device_leaves_its_will_in_the_state_stream(broker: Broker) -> None:
    """A session that breaks without goodbye is told to the gateway by the broker."""
    gateway = await program(broker, "gateway")
    await streams(gateway)
    will = aiomqtt.Will(STATE, b"offline", qos=1, retain=True)
    with pytest.raises(aiomqtt.MqttError):
        async with mqtt(broker, "cam-07-front", will=will) as device:
            await device.publish(STATE, b"online", qos=1, retain=True)
            device._client.socket().shutdown(2)
            await until(lambda: not device._client.is_connected())
            raise aiomqtt.MqttError("the cable is out")
    subject = topics.subject(STATE)

    async def is_offline() -> bool:
        return await last(gateway, "STATE_demo", subject) == b"offline"

    await until(is_offline)
    await gateway.close()


@pytest.mark.parametrize(
    "topic",
    [
        topics.state("demo", "zk-07"),
        topics.up("demo", "zk-07", "punch"),
        topics.ack("demo", "cam-07-front"),
        topics.fact("demo", "punch"),
        topics.order("demo", "step"),
        "$JS/API/STREAM/DELETE/UP_demo",
    ],
)
@pytest.mark.parametrize("retain", [False, True])
async def test_device_cannot_publish_elsewhere(broker: Broker, topic: str, retain: bool) -> None:
    """Whatever a device says outside its own subtree reaches nobody, retained or not."""
    gateway = await program(broker, "gateway")
    await streams(gateway)
    heard: list[str] = []

    async def hear(message: object) -> None:
        heard.append(message.subject)  # type: ignore[attr-defined]  # nats.aio.msg.Msg

    await gateway.subscribe("mj.v1.demo.>", cb=hear)
    await gateway.flush()
    async with mqtt(broker, "cam-07-front") as device:
        await device.publish(topic, b"forged", qos=1, retain=retain)
        # Same connection, same order: once this one is there, the forged one was dealt with.
        await device.publish(topics.up("demo", "cam-07-front", "clock"), b"own", qos=1)
        await until(lambda: heard)
    assert heard == ["mj.v1.demo.cam-07-front.up.clock"]
    assert await count(gateway, "UP_demo") == 1
    assert await count(gateway, "STATE_demo") == 0
    await gateway.close()


@pytest.mark.parametrize(
    "topic",
    [
        "mj/v1/demo/zk-07/cmd/+",
        "mj/v1/demo/zk-07/ack",
        "mj/v1/demo/#",
        "#",
        "$MQTT/sub/+",
        "+/+/+/+/up/+",
    ],
)
@pytest.mark.parametrize("qos", [0, 1])
async def test_device_cannot_listen_elsewhere(broker: Broker, topic: str, qos: int) -> None:
    """A subscription outside the device's own subtree is refused."""
    async with mqtt(broker, "cam-07-front") as device:
        granted = await device.subscribe(topic, qos=qos)
        assert [code.value if hasattr(code, "value") else code for code in granted] == [0x80]


async def test_retained_state_of_another_device_is_not_replayed(broker: Broker) -> None:
    """A wildcard cannot fetch what another device left retained."""
    async with mqtt(broker, "zk-07") as other:
        await other.publish(topics.state("demo", "zk-07"), b"secret", qos=1, retain=True)
    async with mqtt(broker, "cam-07-front") as device:
        await device.subscribe("mj/v1/demo/+/state", qos=1)
        await device.subscribe(topics.ack("demo", "cam-07-front"), qos=1)
        gateway = await program(broker, "gateway")
        await gateway.publish(topics.subject(topics.ack("demo", "cam-07-front")), b"first")
        async with asyncio.timeout(10):
            assert (await anext(device.messages)).payload == b"first"
        await gateway.close()


async def test_certificate_is_bound_to_its_listener_and_to_the_ca(broker: Broker) -> None:
    """Unknown devices, strangers without a certificate and programs over MQTT are turned away."""
    broker.device("cam-99")
    with pytest.raises(aiomqtt.MqttError):
        async with mqtt(broker, "cam-99"):
            pass
    bare = ssl.create_default_context(cafile=broker.ca_file)
    with pytest.raises((aiomqtt.MqttError, ssl.SSLError)):
        async with aiomqtt.Client(
            "127.0.0.1", broker.server.options.mqtt_port, tls_context=bare, timeout=5
        ):
            pass
    with pytest.raises((nats.errors.Error, OSError)):
        await nats.connect(
            broker.server.url,
            tls=context(broker, broker.device("zk-07")),
            allow_reconnect=False,
            max_reconnect_attempts=0,
            connect_timeout=5,
        )


async def test_new_device_is_let_in_after_reload_and_others_stay(broker: Broker) -> None:
    """Reload adds and removes devices without breaking the sessions of the rest."""
    async with mqtt(broker, "zk-07") as stays:
        broker.server.reload(["zk-07", "cam-99"])
        broker.device("cam-99")

        async def let_in() -> bool:
            try:
                async with mqtt(broker, "cam-99"):
                    return True
            except aiomqtt.MqttError:
                return False

        assert await until(let_in)
        await stays.publish(topics.state("demo", "zk-07"), b"still here", qos=1)
    with pytest.raises(aiomqtt.MqttError):
        async with mqtt(broker, "cam-07-front"):
            pass


async def test_central_cannot_speak_for_the_gateway_nor_delete_streams(broker: Broker) -> None:
    """Central may order, but neither state facts nor throw history away."""
    gateway, central = await program(broker, "gateway"), await program(broker, "central")
    await streams(gateway)
    heard: list[str] = []

    async def hear(message: object) -> None:
        heard.append(message.subject)  # type: ignore[attr-defined]  # nats.aio.msg.Msg

    await gateway.subscribe("mj.v1.demo.>", cb=hear)
    await gateway.flush()
    await central.publish(topics.subject(topics.fact("demo", "punch")), b"forged")
    await central.publish("$JS.API.STREAM.DELETE.UP_demo", b"")
    await central.publish(topics.subject(topics.order("demo", "step")), b"order")
    await until(lambda: heard)
    assert heard == ["mj.v1.demo.central.order.step"]
    assert await count(gateway, "UP_demo") == 0
    await gateway.close()
    await central.close()


async def test_taken_port_is_named_with_its_holder(broker: Broker) -> None:
    """The error says which port, who holds it, and what to do."""
    second = NatsServer(broker.server.options)
    with pytest.raises(Unavailable, match=rf"{broker.server.options.port}.*nats-server.*choose"):
        await second.start()
    assert not second.child.is_running


async def test_accepted_messages_survive_kill(broker: Broker) -> None:
    """What JetStream acknowledged is there after the server was killed and started again."""
    gateway = await program(broker, "gateway")
    await streams(gateway)
    for number in range(20):
        await gateway.jetstream().publish(f"mj.v1.demo.gateway.up.{number}", b"x")
    broker.server.child.kill()
    await broker.server.child.ended()
    await broker.server.start()
    again = await program(broker, "gateway")
    assert await count(again, "UP_demo") == 20
    await again.close()
