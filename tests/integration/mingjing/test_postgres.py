import asyncio
import os
import signal
import sys
import textwrap
from pathlib import Path

import asyncpg
import psutil
import pytest

from contracts.errors import Unavailable
from mingjing.engines.postgres import DATABASE, SUPERUSER, PostgresOptions, PostgresServer
from tests.waiting import until

pytestmark = pytest.mark.integration


async def connect(server: PostgresServer) -> asyncpg.Connection:
    return await asyncpg.connect(host=str(server.sockets), user=SUPERUSER, database=DATABASE)


async def test_rows_survive_kill_and_the_stale_lock_does_not_hinder(tmp_path: Path) -> None:
    """A committed row is there after kill -9, and after a lock file that names a stranger."""
    server = PostgresServer(PostgresOptions(folder=tmp_path / "postgres"))
    await server.start()
    connection = await connect(server)
    await connection.execute("CREATE TABLE facts (id int)")
    await connection.execute("INSERT INTO facts VALUES (7)")
    server.child.kill()
    await server.child.ended()
    await server.stop()
    lock = server.data / "postmaster.pid"
    lines = lock.read_text().splitlines()
    # The number was given to another process meanwhile: to this very test.
    lock.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    again = PostgresServer(PostgresOptions(folder=tmp_path / "postgres"))
    await again.start()
    try:
        connection = await connect(again)
        assert await connection.fetchval("SELECT id FROM facts") == 7
        assert await connection.fetchval("SHOW fsync") == "on"
        assert await connection.fetchval("SHOW listen_addresses") == ""
        await connection.close()
    finally:
        await again.stop()
    assert again.child.exit_code == 0


async def test_only_the_owner_reaches_the_socket(tmp_path: Path) -> None:
    """Local trust is safe because the socket's folder is closed to everybody else."""
    server = PostgresServer(PostgresOptions(folder=tmp_path / "postgres"))
    await server.start()
    try:
        assert server.sockets.stat().st_mode & 0o077 == 0
        assert server.data.stat().st_mode & 0o077 == 0
    finally:
        await server.stop()


async def test_data_of_another_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """The error names folder, both versions and the remedy, and nothing is touched."""
    data = tmp_path / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("15\n")
    server = PostgresServer(PostgresOptions(folder=tmp_path / "postgres"))
    with pytest.raises(Unavailable, match=r"PostgreSQL 15.*pg_upgrade"):
        await server.start()
    assert [path.name for path in data.iterdir()] == ["PG_VERSION"]


async def test_too_long_path_gets_a_short_private_socket_folder(tmp_path: Path) -> None:
    """A data folder deeper than a socket name may be long still works."""
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    server = PostgresServer(PostgresOptions(folder=deep))
    await server.start()
    try:
        assert not server.sockets.is_relative_to(deep)
        assert server.sockets.stat().st_mode & 0o077 == 0
        connection = await connect(server)
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
    finally:
        await server.stop()


PARENT = """
import asyncio, sys
from pathlib import Path
from mingjing.engines.postgres import PostgresOptions, PostgresServer

async def main() -> None:
    server = PostgresServer(PostgresOptions(folder=Path(sys.argv[1])))
    await server.start()
    print(server.child.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_server_dies_with_a_killed_parent(tmp_path: Path) -> None:
    """Kill -9 of mingjing leaves no PostgreSQL behind, and the next start finds its data."""
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        textwrap.dedent(PARENT),
        str(tmp_path / "postgres"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    assert psutil.Process(pid).is_running()
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    await until(lambda: not psutil.pid_exists(pid), 30)
    server = PostgresServer(PostgresOptions(folder=tmp_path / "postgres"))
    await server.start()
    await server.stop()
