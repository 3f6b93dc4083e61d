"""A child process of the gateway: started, watched, started again with growing, jittered pauses."""

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from contracts.backoff import Backoff
from contracts.clock import Clock
from contracts.timestamps import NS

_BACKOFF = Backoff(first_s=0.5, most_s=15.0)
_STEADY_NS = 60 * NS
"""A child that ran this long failed anew and not again."""
_STOP_S = 10.0
"""Less than whoever stops the gateway waits for it, or our children would be killed with us."""
_MOST_LINE = 1 << 20

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildOptions:
    """What to run. `takes_lines`: it is told things on its standard input."""

    name: str
    argv: Sequence[str]
    takes_lines: bool = False


class ChildProcess:
    """One child, kept running while `run` runs."""

    def __init__(
        self,
        options: ChildOptions,
        *,
        clock: Clock,
        random: Callable[[], float],
        on_line: Callable[[bytes], None] | None = None,
    ) -> None:
        """`on_line` gets each line the child prints; its log goes to our standard error."""
        self._options = options
        self._clock = clock
        self._random = random
        self._on_line = on_line
        self._process: asyncio.subprocess.Process | None = None
        self._standing = b""
        self.starts = 0
        self.last_exit: int | None = None

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process else None

    def stand(self, line: bytes) -> None:
        """Tell the child a line, now and again after every restart; replaces the last one."""
        self._standing = line
        self._tell()

    async def run(self) -> None:
        """Keep the child running; ends it in order when cancelled."""
        failures = 0
        while True:
            began = self._clock.monotonic_ns()
            await self._run_once()
            steady = self._clock.monotonic_ns() - began > _STEADY_NS
            failures = 0 if steady else failures + 1
            pause = _BACKOFF.delay(max(0, failures - 1), random=self._random())
            _log.warning(
                "child_ended",
                child=self._options.name,
                status=self.last_exit,
                again_in_s=round(pause, 1),
            )
            await self._clock.sleep(pause)

    async def _run_once(self) -> None:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *self._options.argv,
            stdin=pipe if self._options.takes_lines else asyncio.subprocess.DEVNULL,
            stdout=pipe if self._on_line else None,
            limit=_MOST_LINE,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self._process = process
        self.starts += 1
        _log.info("child_started", child=self._options.name, pid=process.pid)
        try:
            self._tell()
            if process.stdout is not None:
                await self._read(process.stdout)
            self.last_exit = await process.wait()
        finally:
            self._process = None
            if process.returncode is None:
                await self._stop(process)

    async def _read(self, lines: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await lines.readline()
            except ValueError:  # longer than the limit: not one of ours; the rest is read on
                _log.warning("child_line_too_long", child=self._options.name)
                continue
            if not line:
                return
            if self._on_line:
                self._on_line(line)

    def _tell(self) -> None:
        process = self._process
        if self._standing and process and process.stdin and not process.stdin.is_closing():
            process.stdin.write(self._standing)

    async def _stop(self, process: asyncio.subprocess.Process) -> None:
        try:
            process.terminate()
            async with asyncio.timeout(_STOP_S):
                self.last_exit = await process.wait()
        except ProcessLookupError:
            return
        except TimeoutError:
            _log.warning("child_killed", child=self._options.name, after_s=_STOP_S)
            process.kill()
            self.last_exit = await process.wait()
