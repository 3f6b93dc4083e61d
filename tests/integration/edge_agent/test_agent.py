"""The agent as a program: its own process, a simulated terminal and a real broker."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from tests.integration.edge_agent.conftest import COMM_KEY, StartTerminal, Terminal
from tests.integration.edge_agent.gateway_double import GatewayDouble
from tests.waiting import until

pytestmark = pytest.mark.integration

DEVICE = "zk-07"


class Agent:
    """Writes the settings and runs the program, as often as a test likes."""

    def __init__(self, broker, terminal: Terminal) -> None:
        self.folder: Path = broker.folder
        identity = broker.device(DEVICE)
        (self.folder / "comm-key").write_text(f"{COMM_KEY}\n")
        self.config = self.folder / "agent.toml"
        self.config.write_text(
            f"""\
site = "demo"
data = "agent"
[broker]
host = "127.0.0.1"
port = {broker.server.options.mqtt_port}
ca = "ca/ca.pem"
[[devices]]
id = "{DEVICE}"
class = "fingerprint_terminal"
driver = "zk_terminal"
profile = "zk-4370"
certificate = "{identity.certificate.relative_to(self.folder)}"
key = "{identity.key.relative_to(self.folder)}"
host = "127.0.0.1"
port = {terminal.port}
comm_key_file = "comm-key"
reconcile_s = 1
"""
        )
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with (self.folder / "agent.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "edge_agent", "--config", str(self.config), stderr=log
            )

    async def end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        async with asyncio.timeout(20):
            return await self.process.wait()

    def log(self) -> str:
        return (self.folder / "agent.log").read_text()


@pytest.fixture
async def agent(broker, start_terminal: StartTerminal):
    terminal = await start_terminal()
    agent = Agent(broker, terminal)
    agent.terminal = terminal
    yield agent
    if agent.process is not None and agent.process.returncode is None:
        await agent.end(signal.SIGKILL)


def times(gateway: GatewayDouble) -> list[str]:
    return [e.body["terminal_time"] for e in gateway.stored if e.type == "punch"]


async def test_announces_itself_passes_punches_on_and_stops_in_order(broker, agent) -> None:
    async with GatewayDouble(broker).running() as gateway:
        await agent.start()
        await until(lambda: gateway.says(DEVICE, "ok"), 30)
        desc = await gateway.desc(DEVICE)
        assert desc is not None
        assert (desc.maker, desc.model, desc.profile) == ("ZKTeco", "F19", "zk-4370")
        assert desc.device_class == "fingerprint_terminal"
        await agent.terminal.order(burst=50)
        await until(lambda: len(times(gateway)) == 50, 30)
        assert times(gateway) == sorted(set(times(gateway)))
        assert {e.type for e in gateway.stored} == {"punch", "clock.measured"}
        assert await agent.end(signal.SIGTERM) == 0
        assert await until(lambda: gateway.says(DEVICE, "stopped"))
    assert "agent_stopped" in agent.log()
    assert "Traceback" not in agent.log()


async def test_kill_9_and_a_broker_outage_lose_no_punch(broker, agent) -> None:
    """Punches before, during and after; the agent killed with a full spool; each once, in order."""
    async with GatewayDouble(broker).running() as gateway:
        await agent.start()
        await until(lambda: gateway.says(DEVICE, "ok"), 30)
        await agent.terminal.order(burst=20)
        await until(lambda: len(times(gateway)) == 20, 30)
        first_boot = gateway.stored[-1].boot
        await broker.server.stop()
        await agent.terminal.order(burst=100)
        await until(lambda: agent.log().count("uplink_lost"), 30)
        assert await agent.end(signal.SIGKILL) == -signal.SIGKILL
        await agent.terminal.order(burst=60)
        await agent.start()
        await agent.terminal.order(burst=20)
        await broker.server.start()
        await until(lambda: len(times(gateway)) == 200, 60)
        await until(lambda: gateway.says(DEVICE, "ok"), 30)
        assert times(gateway) == sorted(set(times(gateway)))
        assert gateway.stored[-1].boot != first_boot
        assert [e.seq for e in gateway.stored] == list(range(1, len(gateway.stored) + 1))


async def test_killed_again_and_again_under_load(broker, agent) -> None:
    async with GatewayDouble(broker).running() as gateway:
        for round_ in range(4):
            await agent.start()
            await until(lambda at=round_: gateway.seen >= at * 40, 30)
            await agent.terminal.order(burst=40)
            await until(lambda at=round_: len(times(gateway)) > at * 40 + at * 7, 30)
            await agent.end(signal.SIGKILL)
        await agent.start()
        await until(lambda: len(times(gateway)) == 160, 60)
        assert times(gateway) == sorted(set(times(gateway)))


async def test_the_will_speaks_for_a_killed_agent(broker, agent) -> None:
    async with GatewayDouble(broker).running() as gateway:
        await agent.start()
        online = await until(lambda: gateway.says(DEVICE, "ok"), 30)
        await agent.end(signal.SIGKILL)
        gone = await until(lambda: gateway.says(DEVICE, "connection_lost"), 30)
        assert (gone.health, gone.boot) == ("offline", online.boot)


async def test_everything_away_at_start_is_no_reason_to_end(broker, agent) -> None:
    await broker.server.stop()
    await agent.terminal.stop()
    await agent.start()
    await until(lambda: "unreachable" in _or_empty(agent) and "uplink_lost" in agent.log(), 30)
    assert agent.process.returncode is None
    terminal = await Terminal.start(port=agent.terminal.port)
    try:
        await broker.server.start()
        async with GatewayDouble(broker).running() as gateway:
            await until(lambda: gateway.says(DEVICE, "ok"), 60)
    finally:
        await terminal.stop()


def _or_empty(agent: Agent) -> str:
    return agent.log() if (agent.folder / "agent.log").exists() else ""


async def test_a_mistake_in_the_settings_is_one_line_and_status_2(agent) -> None:
    agent.config.write_text(agent.config.read_text().replace("reconcile_s", "reconcile"))
    await agent.start()
    assert await agent.process.wait() == 2
    (line,) = agent.log().splitlines()
    assert "devices[0].reconcile" in line
    assert "第 17 行" in line


async def test_a_wrong_key_is_seen_by_the_gateway(broker, agent) -> None:
    (agent.folder / "comm-key").write_text("9")
    async with GatewayDouble(broker).running() as gateway:
        await agent.start()
        state = await until(lambda: gateway.says(DEVICE, "bad_credentials"), 30)
        assert state.health == "offline"
        assert "通讯密码" in state.detail
