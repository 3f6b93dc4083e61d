"""A real broker with its CA, and devices that speak real MQTT to it."""

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiomqtt
import nats
import pytest
from nats.aio.client import Client

from contracts.clock import SystemClock
from contracts.signing import PemSigner
from mingjing.ca import Identity, SiteCa
from mingjing.engines.nats import NatsOptions, NatsServer
from mingjing.engines.ports import ephemeral

DEVICES = ("cam-07-front", "zk-07")


class RealSite:
    """One site's CA and NATS in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        now = SystemClock().now()
        self.ca = SiteCa.open(folder / "ca", site="demo", now=now)
        self.server = NatsServer(
            NatsOptions(
                site="demo",
                folder=folder / "nats",
                ca=self.ca_file,
                identity=self.ca.program(folder / "programs" / "nats", "nats", now=now),
                devices=DEVICES,
                port=ephemeral(),
                mqtt_port=ephemeral(),
            )
        )

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca" / "ca.pem"

    def device(self, name: str) -> Identity:
        return self.ca.device(self.folder / "devices" / name, name, now=SystemClock().now())

    def program(self, name: str) -> Identity:
        return self.ca.program(self.folder / "programs" / name, name, now=SystemClock().now())

    def signer(self, device: str) -> PemSigner:
        return PemSigner(self.device(device).key.read_bytes())

    def tls(self, identity: Identity) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca_file)
        context.load_cert_chain(identity.certificate, identity.key)
        return context

    def mqtt(self, device: str) -> aiomqtt.Client:
        return aiomqtt.Client(
            "127.0.0.1",
            self.server.options.mqtt_port,
            identifier=device,
            tls_context=self.tls(self.device(device)),
            protocol=aiomqtt.ProtocolVersion.V311,
        )

    async def nats_client(self, program: str) -> Client:
        async def quiet(_: Exception) -> None: ...

        return await nats.connect(
            self.server.url,
            tls=self.tls(self.program(program)),
            allow_reconnect=False,
            error_cb=quiet,
        )


@pytest.fixture
async def real_site(tmp_path: Path) -> AsyncIterator[RealSite]:
    site = RealSite(tmp_path)
    await site.server.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(site.server.stop)
        yield site
