import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from contracts.errors import Unavailable
from mingjing.engines.process import ChildProcess, ProcessSpec, keep_running
from tests.waiting import until

pytestmark = pytest.mark.integration


def child(tmp_path: Path, code: str, **options: object) -> ChildProcess:
    spec = ProcessSpec(
        name="child",
        argv=[sys.executable, "-u", "-c", code],
        log=tmp_path / "child.log",
        **options,  # type: ignore[arg-type]  # only fields of ProcessSpec
    )
    return ChildProcess(spec)


STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
inner = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])
print(inner.pid)
time.sleep(600)
"""


async def test_stubborn_child_and_its_own_children_are_killed(tmp_path: Path) -> None:
    """Whoever ignores the request to stop is killed, with everything it started."""
    process = child(tmp_path, STUBBORN, stop_timeout_s=0.3)
    await process.start()
    inner = int(await until(process.tail))
    await process.stop()
    assert not process.is_running
    assert process.exit_code == -signal.SIGKILL
    await until(lambda: not psutil.pid_exists(inner) or _is_zombie(inner))


def _is_zombie(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_child_that_ends_early_is_reported_with_its_last_words(tmp_path: Path) -> None:
    """Waiting for health stops at once when the child is gone, and quotes its log."""
    process = child(tmp_path, "print('no disk'); raise SystemExit(3)")
    await process.start()

    async def never() -> bool:
        return False

    with pytest.raises(Unavailable, match=r"status 3[\s\S]*no disk"):
        await process.wait_ready(never, seconds=30)
    await process.stop()


async def test_missing_program_is_one_clear_line(tmp_path: Path) -> None:
    """A program that is not there is told by name."""
    process = ChildProcess(ProcessSpec(name="x", argv=["/nonexistent/x"], log=tmp_path / "x.log"))
    with pytest.raises(Unavailable, match=r"x: cannot run /nonexistent/x"):
        await process.start()


async def test_log_is_bounded(tmp_path: Path) -> None:
    """A chatty child costs at most twice the limit plus a line."""
    process = child(tmp_path, "for n in range(20000): print('x' * 100)", log_bytes=50_000)
    await process.start()
    await process.ended()
    await process.stop()
    total = sum(path.stat().st_size for path in tmp_path.glob("child.log*"))
    assert 50_000 < total < 2 * 50_000 + 1000


async def test_secret_line_goes_to_its_reader_and_not_to_the_log(tmp_path: Path) -> None:
    """A line that a consumer takes is neither logged nor kept."""
    secrets: list[str] = []

    def take(line: str) -> bool:
        if not line.startswith("{"):
            return False
        secrets.append(json.loads(line)["password"])
        return True

    code = "print('hello'); print('{\"password\": \"once-only\"}'); print('bye')"
    spec = ProcessSpec(name="c", argv=[sys.executable, "-c", code], log=tmp_path / "c.log")
    process = ChildProcess(spec, on_line=take)
    await process.start()
    await process.ended()
    await until(lambda: "bye" in process.tail())
    await process.stop()
    assert secrets == ["once-only"]
    assert (tmp_path / "c.log").read_text() == "hello\nbye\n"
    assert (tmp_path / "c.log").stat().st_mode & 0o077 == 0


async def test_crashed_child_is_started_again(tmp_path: Path) -> None:
    """A supervised child that dies comes back, until stopping is asked for."""
    process = child(tmp_path, "import time; time.sleep(600)")
    await process.start()
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        watch = group.create_task(keep_running(process, stopping=stopping, random=lambda: 0.99))
        first = process.pid
        process.kill()
        assert await until(lambda: process.pid if process.pid != first else None) != first
        stopping.set()
        await process.stop()
        await watch


PARENT = """
import asyncio, sys
from pathlib import Path
from mingjing.engines.process import ChildProcess, ProcessSpec

async def main() -> None:
    argv = [sys.executable, '-c', 'import time; time.sleep(600)']
    process = ChildProcess(ProcessSpec(name='c', argv=argv, log=Path(sys.argv[1])))
    await process.start()
    print(process.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_child_dies_with_a_killed_parent(tmp_path: Path) -> None:
    """The kernel ends the child when the parent is killed and can do nothing any more."""
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(tmp_path / "log"), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    assert os.getpgid(pid) == pid
    parent.kill()
    await parent.wait()
    await until(lambda: not psutil.pid_exists(pid))
