"""pyzk, an independent client, takes our simulated terminal for a real one."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.integration.edge_agent.conftest import COMM_KEY, Terminal

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / ".venv-peers" / "bin" / "python"
CLIENT = Path(__file__).with_name("pyzk_client.py")


@pytest.fixture(autouse=True)
def _needs_peers():
    if not PYTHON.exists():
        pytest.skip("`make setup` makes .venv-peers")


async def pyzk(*arguments: object) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        str(PYTHON),
        str(CLIENT),
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.mark.parametrize("width", [40, 16, 8])
async def test_reads_users_clock_and_every_stored_record(width: int) -> None:
    users = [str(1001 + n) for n in range(70)]
    terminal = await Terminal.start(
        "--users", ",".join(users), "--stored", "3000", "--record-width", str(width)
    )
    try:
        process = await pyzk(terminal.port, COMM_KEY)
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        seen = json.loads(out.splitlines()[-1])
        assert seen["serial"] == "SIM0000001"
        assert seen["users"] == users
        assert len(seen["attendances"]) == 3000
        assert {row[0] for row in seen["attendances"]} == {"1001"}
        assert [row[3] for row in seen["attendances"][:4]] == [0, 1, 0, 1]
    finally:
        await terminal.stop()


async def test_captures_live_events() -> None:
    terminal = await Terminal.start()
    try:
        process = await pyzk(terminal.port, COMM_KEY, 3)
        assert process.stdout is not None
        assert json.loads(await process.stdout.readline()) == {"event": "read"}
        seen = None
        async with asyncio.timeout(30):
            while not (line := await asyncio.wait_for(_next(process, terminal), 30)):
                pass
            seen = json.loads(line)
        assert [user for user, _ in seen["live"]] == ["1001"] * 3
        await process.wait()
    finally:
        await terminal.stop()


async def _next(process: asyncio.subprocess.Process, terminal: Terminal) -> bytes:
    """Lay on a finger (pyzk loses events that share a segment, so one at a time) and look."""
    await terminal.order(punch={"user": "1001"})
    assert process.stdout is not None
    try:
        async with asyncio.timeout(0.3):
            return await process.stdout.readline()
    except TimeoutError:
        return b""


async def test_a_wrong_key_is_refused() -> None:
    terminal = await Terminal.start()
    try:
        process = await pyzk(terminal.port, COMM_KEY + 1)
        _, err = await process.communicate()
        assert process.returncode != 0
        assert b"Unauthenticated" in err
    finally:
        await terminal.stop()
