"""A simulated terminal as a process of its own, and a driver at work against it."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from contracts.clock import SystemClock
from edge_agent.core.device_profile import DeviceProfile
from edge_agent.drivers.zk_terminal import ZkTerminal, ZkTerminalOptions
from edge_agent.ports import DriverParts
from tests.fakes.device_sinks import FakeEventSink, FakeHealth
from tests.integration.mingjing.conftest import broker

__all__ = ["broker"]

COMM_KEY = 1234


class Terminal:
    """Handle of a simulator process."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.port = port

    @classmethod
    async def start(cls, *arguments: str, port: int = 0) -> "Terminal":
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "mingjing.simulators.zk_terminal",
            "--port",
            str(port),
            "--comm-key",
            str(COMM_KEY),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        terminal = cls(process, 0)
        terminal.port = (await terminal._line())["port"]
        return terminal

    async def order(self, **order: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        answer = await self._line()
        assert answer["event"] == "done", answer
        return answer

    async def _line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        async with asyncio.timeout(20):
            line = await self.process.stdout.readline()
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def stop(self) -> None:
        if self.process.returncode is None:
            self.process.terminate()
        await self.process.wait()


StartTerminal = Callable[..., Awaitable[Terminal]]


@pytest.fixture
async def start_terminal() -> AsyncIterator[StartTerminal]:
    started: list[Terminal] = []

    async def start(*arguments: str, port: int = 0) -> Terminal:
        started.append(await Terminal.start(*arguments, port=port))
        return started[-1]

    yield start
    for terminal in started:
        await terminal.stop()


class Bench:
    """A driver's fakes, and ways to run it."""

    def __init__(self, folder) -> None:
        self.events = FakeEventSink()
        self.health = FakeHealth()
        self.key_file = folder / "comm-key"
        self.key_file.write_text(f"{COMM_KEY}\n")

    @asynccontextmanager
    async def driving(
        self, port: int, *, quirks: dict[str, Any] | None = None, **options: Any
    ) -> AsyncIterator[ZkTerminal]:
        profile = DeviceProfile(
            name="test", driver="zk_terminal", maker="ZKTeco", quirks=quirks or {}
        )
        driver = ZkTerminal(
            ZkTerminalOptions(host="127.0.0.1", port=port, comm_key_file=self.key_file, **options),
            DriverParts(
                site="demo",
                device="zk-07",
                profile=profile,
                media={},
                events=self.events,
                health=self.health,
                clock=SystemClock(),
                random=lambda: 0.9,
            ),
        )
        async with asyncio.TaskGroup() as group:
            task = group.create_task(driver.run())
            try:
                yield driver
            finally:
                task.cancel()

    def punches(self) -> list[str]:
        return [body["key"] for body in self.events.of("punch")]


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path)
