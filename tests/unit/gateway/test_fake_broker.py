"""The fake keeps the promises of the real one."""

import pytest

from contracts.wire.envelope import Ack
from tests.fakes.broker import FakeBroker
from tests.unit.gateway.broker_contract import BrokerContract


class FakeSite:
    def __init__(self) -> None:
        self.broker = FakeBroker()

    async def put(self, topic: str, payload: bytes) -> None:
        await self.broker.put(topic, payload)

    async def facts(self) -> list[tuple[str, bytes]]:
        return [(f.kind, f.payload) for f in self.broker.facts]

    async def acks(self, device: str) -> list[Ack]:
        return [ack for to, ack in self.broker.acks if to == device]

    async def stop(self) -> None:
        await self.broker.away(True)

    async def start(self) -> None:
        await self.broker.away(False)


class TestFakeBroker(BrokerContract):
    @pytest.fixture
    def site(self) -> FakeSite:
        return FakeSite()
