"""A child is started again, told again, heard whatever it says, and ended in order."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from contracts.clock import ManualClock
from gateway.adapters.child_process import ChildOptions, ChildProcess
from tests.waiting import until

pytestmark = pytest.mark.integration

ECHO = "import sys\nfor line in sys.stdin: print('told', line.strip(), flush=True)"
LOUD = "print('x' * 3_000_000); print('after', flush=True); import time; time.sleep(60)"
STUBBORN = (
    "import signal, time\n"
    "signal.signal(signal.SIGTERM, lambda *_: (print('asked', flush=True), exit(3)))\n"
    "print('ready', flush=True)\n"
    "time.sleep(60)"
)


class Kept:
    """A child, its clock and its lines."""

    def __init__(self, program: str) -> None:
        self.clock = ManualClock()
        self.lines: list[bytes] = []
        self.child = ChildProcess(
            ChildOptions(name="test", argv=[sys.executable, "-c", program], takes_lines=True),
            clock=self.clock,
            random=lambda: 0.0,
            on_line=self.lines.append,
        )


@asynccontextmanager
async def kept(program: str) -> AsyncIterator[Kept]:
    one = Kept(program)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(one.child.run())
        yield one
        running.cancel()


async def test_it_is_told_again_after_a_restart():
    """What stands is said to every new child, and only the last word of it."""
    async with kept(ECHO) as one:
        one.child.stand(b"old\n")
        one.child.stand(b"new\n")
        await until(lambda: b"told new\n" in one.lines)
        assert one.child.pid is not None
        os.kill(one.child.pid, signal.SIGKILL)
        await until(lambda: one.child.pid is None)
        one.lines.clear()

        def moved() -> bool:
            one.clock.advance(1)
            return one.child.starts == 2

        await until(moved)
        await until(lambda: one.lines)
        assert one.lines == [b"told new\n"]
        assert one.child.last_exit == -signal.SIGKILL


async def test_pauses_grow_while_it_keeps_failing():
    """A child that cannot run costs a start now and then, and no more."""
    async with kept("raise SystemExit(1)") as one:
        for starts, pause in ((1, 0.5), (2, 1.0), (3, 2.0)):
            await until(lambda starts=starts: one.child.starts == starts and one.child.pid is None)
            await asyncio.sleep(0)

            def waited(starts: int = starts, pause: float = pause) -> bool:
                one.clock.advance(pause / 20)
                return one.child.starts > starts

            before = one.clock.monotonic_ns()
            await until(waited)
            assert one.clock.monotonic_ns() - before >= int(pause * 0.9e9)


async def test_an_endless_line_is_passed_over():
    """What comes after it is heard."""
    async with kept(LOUD) as one:
        await until(lambda: b"after\n" in one.lines)
        assert all(len(line) < 1 << 20 for line in one.lines)


async def test_it_is_asked_to_end():
    """SIGTERM first, and its own exit status counts."""
    async with kept(STUBBORN) as one:
        await until(lambda: b"ready\n" in one.lines)
    assert one.child.last_exit == 3
    assert one.child.pid is None
