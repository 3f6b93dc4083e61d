"""The whole gateway program: starts, says how it fares, outlives its children, ends in order."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.integration.gateway.conftest import RealSite
from tests.integration.gateway.gateway_program import GatewayProgram, running
from tests.waiting import until

pytestmark = pytest.mark.integration


def children(pid: int) -> dict[str, int]:
    """Role -> pid of the gateway's child processes."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        if parent == pid and b"gateway" in words:
            found[words[words.index(b"gateway") + 1].decode()] = int(entry.name)
    return found


async def test_it_lives(real_site: RealSite, tmp_path: Path):
    """A gateway without its model is degraded, says why, and does everything else."""
    program = GatewayProgram(real_site, cache=tmp_path / "no-models")
    async with running(program):

        async def settled() -> dict:
            report = await program.status()
            good = report["media"]["health"] == "online" and report["broker"]["health"] == "online"
            return report if good and report["detector"]["health"] == "degraded" else {}

        report = await until(settled, 30)
        assert "mingjing models fetch" in report["detector"]["detail"]
        assert report["health"] == "degraded"
        assert report["volumes"][0]["total_bytes"] > 0

        family = children(program.pid)
        assert set(family) == {"media", "detector"}
        os.kill(family["detector"], signal.SIGKILL)
        os.kill(family["media"], signal.SIGKILL)

        async def again() -> bool:
            report = await program.status()
            return (
                report["media"]["health"] == "online"
                and report["media"]["starts"] == 2
                and report["detector"]["starts"] == 2
            )

        await until(again, 30)
        family = children(program.pid)
        assert await program.stop() == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in family.values())


async def test_its_children_end_with_it(real_site: RealSite):
    """Even `kill -9` leaves no media process behind that would hold the volumes."""
    program = GatewayProgram(real_site)
    async with running(program):
        family = await until(lambda: children(program.pid))
        await program.stop(signal.SIGKILL)
        await until(lambda: not Path(f"/proc/{family['media']}/fd").exists())


async def test_a_port_in_use_is_one_line(real_site: RealSite):
    """What, where, what to do; and the exit status says that it failed."""
    program = GatewayProgram(real_site)
    async with running(program):
        second = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "--config", str(program.config)),
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await second.communicate()
        assert second.returncode == 1
        (line,) = said.decode().splitlines()
        assert "listen" in line
        assert str(program.port) in line
