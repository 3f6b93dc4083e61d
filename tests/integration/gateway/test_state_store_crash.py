"""What `accept` returned from is there after `kill -9`, whole, with its facts, in one chain."""

import asyncio
import secrets
import sys
from pathlib import Path

import pytest

from contracts.wire.access import PunchFact
from contracts.wire.envelope import GENESIS, decode
from gateway.adapters.state_store import StateStore

pytestmark = pytest.mark.integration

KILLS = 5


async def store_and_kill(path: Path, commits: int) -> int:
    """Let it commit this often, then kill it; the last number it said was stored."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.gateway.storing_process", str(path)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        for _ in range(commits):
            assert await process.stdout.readline()
    finally:
        process.kill()
    said = (await process.stdout.read()).splitlines()
    await process.wait()
    complete = [line for line in said if line.strip()]
    return int(complete[-1]) if complete else 0


async def test_killed_again_and_again(tmp_path: Path):
    """No event without its fact, no fact without its event, no hole, nothing that was promised."""
    path = tmp_path / "state.db"
    for _ in range(KILLS):
        promised = await store_and_kill(path, 20 + secrets.randbelow(40))
        store = StateStore(path)
        head = await store.head("zk-07")
        assert head.seq >= promised
        facts = [PunchFact.model_validate_json(f.payload) for _, f in await store.pending(10**6)]
        assert [f.seq for f in facts] == list(range(1, head.seq + 1))
        assert await store.counts() == {
            "events": head.seq,
            "punches": head.seq,
            "facts_waiting": head.seq,
        }
        await store.close()
    store = StateStore(path)
    rows = await store._rows("SELECT raw FROM event ORDER BY seq")
    await store.close()
    previous = GENESIS
    for (raw,) in rows:
        envelope = decode(raw)
        assert envelope.prev == previous
        previous = envelope.digest()
