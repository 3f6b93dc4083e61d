"""A gateway reduced to its promise: store each event once, in order, then answer with an `Ack`."""

import asyncio
import json
import ssl
from contextlib import asynccontextmanager

import nats
import nats.errors
from nats.js.api import StorageType, StreamConfig

from contracts.errors import Denied
from contracts.signing import common_name, load_certificate
from contracts.wire import topics
from contracts.wire.devices import DeviceDesc, DeviceState
from contracts.wire.envelope import GENESIS, Ack, check_signature, decode

SITE = "demo"


class GatewayDouble:
    """`answers` False keeps it silent; `rejects` makes it refuse the next event with a text.

    `head` is what it has stored already, of a spool that nobody has any more.
    """

    def __init__(self, broker) -> None:
        self._broker = broker
        self.answers = True
        self.rejects: str | None = None
        self.head = 0
        self.stored = []
        self.seen = 0
        self.refused = []

    @asynccontextmanager
    async def running(self):
        async def quiet(_):
            pass

        identity = self._broker.program("gateway")
        tls = ssl.create_default_context(cafile=self._broker.ca_file)
        tls.load_cert_chain(identity.certificate, identity.key)
        self._nats = await nats.connect(
            self._broker.server.url,
            tls=tls,
            error_cb=quiet,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.1,
        )
        js = self._nats.jetstream()
        for (name, subjects), most in (
            (topics.up_stream(SITE), -1),
            (topics.state_stream(SITE), 1),
        ):
            await js.add_stream(
                StreamConfig(
                    name=name,
                    subjects=subjects,
                    storage=StorageType.FILE,
                    max_msgs_per_subject=most,
                )
            )
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self._consume(js))
            try:
                yield self
            finally:
                task.cancel()
                await asyncio.wait([task], timeout=5)
                if self._nats.is_connected:
                    await self._nats.close()

    async def _consume(self, js):
        subscription = await js.pull_subscribe(
            f"mj.v1.{SITE}.*.up.>", durable="gateway", stream=f"UP_{SITE}"
        )
        while not self._nats.is_closed:
            try:
                messages = await subscription.fetch(50, timeout=0.5)
            except (nats.errors.Error, TimeoutError, OSError):
                await asyncio.sleep(0.05)
                continue
            for message in messages:
                await self._take(message)

    async def _take(self, message) -> None:
        self.seen += 1
        envelope = decode(message.data)
        topic = topics.parse_device_topic(message.subject)
        assert envelope.device == topic.device
        last = self.stored[-1] if self.stored else None
        expected = last.seq + 1 if last else 1
        if self.answers and envelope.seq == expected and self.rejects is None:
            try:
                check_signature(envelope, await self.certificate(envelope.device))
            except Denied as exc:
                self.refused.append(str(exc))
                return
            assert envelope.prev == (last.digest() if last else GENESIS)
            self.stored.append(envelope)
        await message.ack()
        if self.answers:
            seq = self.stored[-1].seq if self.stored else self.head
            answer = Ack(seq=seq, rejected=self.rejects)
            subject = topics.subject(topics.ack(SITE, envelope.device))
            await self._nats.publish(subject, answer.model_dump_json().encode())

    async def _last(self, topic: str):
        try:
            found = await self._nats.jetstream().get_last_msg(
                f"STATE_{SITE}", topics.subject(topic)
            )
        except (nats.errors.Error, nats.js.errors.Error):
            return None
        return json.loads(found.data)

    async def state(self, device: str) -> DeviceState | None:
        found = await self._last(topics.state(SITE, device))
        return DeviceState.model_validate(found) if found else None

    async def desc(self, device: str) -> DeviceDesc | None:
        found = await self._last(topics.desc(SITE, device))
        return DeviceDesc.model_validate(found) if found else None

    async def certificate(self, device: str):
        desc = await self.desc(device)
        assert desc is not None
        certificate = load_certificate(desc.certificate.encode())
        assert common_name(certificate) == device
        return certificate

    async def says(self, device: str, cause: str) -> DeviceState | None:
        """The state, when it has this cause."""
        state = await self.state(device)
        return state if state is not None and state.cause == cause else None
