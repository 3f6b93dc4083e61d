"""Real engines in a throw-away folder."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from contracts.clock import SystemClock
from mingjing.ca import Identity, SiteCa
from mingjing.engines.nats import NatsOptions, NatsServer
from mingjing.engines.ports import ephemeral

DEVICES = ("cam-07-front", "zk-07")


@dataclass
class Broker:
    """A running broker, the CA it trusts, and certificates for whoever a test plays."""

    server: NatsServer
    ca: SiteCa
    folder: Path

    def device(self, name: str) -> Identity:
        return self.ca.device(self.folder / "devices" / name, name, now=SystemClock().now())

    def program(self, name: str) -> Identity:
        return self.ca.program(self.folder / "programs" / name, name, now=SystemClock().now())

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca" / "ca.pem"


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    now = SystemClock().now()
    ca = SiteCa.open(tmp_path / "ca", site="demo", now=now)
    options = NatsOptions(
        site="demo",
        folder=tmp_path / "nats",
        ca=tmp_path / "ca" / "ca.pem",
        identity=ca.program(tmp_path / "programs" / "nats", "nats", now=now),
        devices=DEVICES,
        port=ephemeral(),
        mqtt_port=ephemeral(),
    )
    server = NatsServer(options)
    await server.start()
    try:
        yield Broker(server, ca, tmp_path)
    finally:
        await server.stop()
