"""A child process that is watched, whose output is bounded, and that never outlives us.

The kernel itself ends a child when this process dies (``PR_SET_PDEATHSIG``, Linux), so that even
``kill -9`` of `mingjing` leaves nothing behind.
"""

import asyncio
import ctypes
import os
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

import structlog

from contracts.backoff import Backoff
from contracts.errors import Unavailable

_PR_SET_PDEATHSIG = 1
_TAIL_LINES = 40
_MOST_LINE_BYTES = 64 * 1024
_POLL_S = 0.05
_MISSED_CHECKS = 3

LineConsumer = Callable[[str], bool]
"""Sees each line of output first; True keeps the line out of the log (it held a secret)."""

HealthCheck = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """How to run a child.

    Attributes:
        takes_orders: whether stdin is a pipe for `ChildProcess.say`.
        log: file that takes stdout and stderr; at `log_bytes` it is moved to ``.1`` once.
        stop_signal: asks for an orderly stop; after `stop_timeout_s` the group is killed.
        death_signal: what the kernel sends when this process dies.
    """

    name: str
    argv: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    takes_orders: bool = False
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGTERM
    stop_timeout_s: float = 10.0
    log_bytes: int = 8 * 1024 * 1024


class ChildProcess:
    """One run of a `ProcessSpec`; may be started again after it ended."""

    def __init__(self, spec: ProcessSpec, *, on_line: LineConsumer | None = None) -> None:
        self.spec = spec
        self._on_line = on_line
        self._transport: asyncio.SubprocessTransport | None = None
        self._output: _Output | None = None
        self.is_wanted = asyncio.Event()
        self.is_wanted.set()

    @property
    def pid(self) -> int | None:
        """Process id while running."""
        return self._transport.get_pid() if self._transport and self.is_running else None

    @property
    def is_running(self) -> bool:
        """Whether the process has been started and has not ended."""
        return self._output is not None and not self._output.ended.is_set()

    @property
    def exit_code(self) -> int | None:
        """Exit status after the end; negative is the number of the signal that ended it."""
        return self._transport.get_returncode() if self._transport else None

    def tail(self, lines: int = 8) -> str:
        """The last lines of output, for error messages."""
        return "\n".join(list(self._output.lines)[-lines:]) if self._output else ""

    async def start(self) -> None:
        """Start the child.

        Raises:
            Unavailable: the program or its folder does not exist, or may not be run.
        """
        if self.is_running:
            return
        spec = self.spec
        spec.log.parent.mkdir(parents=True, exist_ok=True)
        output = _Output(spec, self._on_line)
        parent = os.getpid()
        try:
            transport, _ = await asyncio.get_running_loop().subprocess_exec(
                lambda: output,
                *spec.argv,
                stdin=asyncio.subprocess.PIPE if spec.takes_orders else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                cwd=spec.folder,
                env={**os.environ, **spec.environment},
                start_new_session=True,
                preexec_fn=lambda: die_with_parent(parent, spec.death_signal),
            )
        except OSError as exc:
            output.close()
            raise Unavailable(f"{spec.name}: cannot run {spec.argv[0]}: {exc.strerror}") from exc
        self._transport, self._output = transport, output

    async def ended(self) -> int:
        """Wait for the end; the exit status."""
        if self._output is None:
            raise Unavailable(f"{self.spec.name} was never started")
        await self._output.ended.wait()
        return self.exit_code or 0

    async def wait_ready(self, check: HealthCheck, *, seconds: float) -> None:
        """Wait until `check` says the child serves.

        Raises:
            Unavailable: it ended, or was not ready in time; with the end of its log.
        """
        try:
            async with asyncio.timeout(seconds):
                while not await check():
                    if not self.is_running:
                        raise Unavailable(self._why(f"ended with status {self.exit_code}"))
                    await asyncio.sleep(_POLL_S)
        except TimeoutError as exc:
            raise Unavailable(self._why(f"was not ready within {seconds:g} s")) from exc

    async def stop(self) -> None:
        """Ask for an orderly end, then kill the whole process group."""
        if self._output is None or self._transport is None:
            return
        pid = self._transport.get_pid()
        if self.is_running:
            self._signal(self.spec.stop_signal)
            try:
                async with asyncio.timeout(self.spec.stop_timeout_s):
                    await self._output.ended.wait()
            except TimeoutError:
                structlog.get_logger().warning("killed", child=self.spec.name, pid=pid)
                kill_group(pid)
                await self._output.ended.wait()
        self._transport.close()
        self._output.close()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._signal(signal.SIGKILL)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, e.g. SIGHUP to reload."""
        self._signal(number)

    def say(self, line: str) -> None:
        """Write one line to the child's stdin.

        Raises:
            Unavailable: the child is not running, or takes no orders.
        """
        pipe = (
            self._transport.get_pipe_transport(0) if self._transport and self.is_running else None
        )
        if pipe is None:
            raise Unavailable(f"{self.spec.name} takes no orders now")
        # uvloop's transports are no subclasses of asyncio's, so the type is stated, not asked.
        cast("asyncio.WriteTransport", pipe).write(f"{line}\n".encode())

    def _signal(self, number: signal.Signals) -> None:
        if self._transport is not None and self.is_running:
            try:
                self._transport.send_signal(number)
            except ProcessLookupError:
                return

    def _why(self, what: str) -> str:
        return f"{self.spec.name} {what}; log {self.spec.log}:\n{self.tail()}"


class _Output(asyncio.SubprocessProtocol):
    """Writes the child's lines to a log file of bounded size and keeps the last ones."""

    def __init__(self, spec: ProcessSpec, on_line: LineConsumer | None) -> None:
        self.lines: deque[str] = deque(maxlen=_TAIL_LINES)
        self.ended = asyncio.Event()
        self._spec = spec
        self._on_line = on_line
        self._rest = b""
        self._pid: int | None = None
        self._file: BinaryIO | None = _open_log(spec.log)

    def pipe_data_received(self, fd: int, data: bytes) -> None:  # noqa: ARG002 - asyncio's signature
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _MOST_LINE_BYTES:
            whole.append(self._rest)
            self._rest = b""
        for line in whole:
            self._take(line)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._pid = cast("asyncio.SubprocessTransport", transport).get_pid()

    def process_exited(self) -> None:
        # What the child left behind goes with it. Now, while its group's number cannot yet
        # belong to somebody else.
        if self._pid is not None:
            kill_group(self._pid)
        self.ended.set()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if self._rest:
            self._take(self._rest)
            self._rest = b""

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _take(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip("\r")
        if self._on_line is not None and self._on_line(text):
            return
        self.lines.append(text)
        if self._file is None:
            return
        try:
            self._file.write(line + b"\n")
            if self._file.tell() > self._spec.log_bytes:
                self._turn()
        except OSError:
            # A full disk must not stop the child; the tail in memory stays.
            self.close()

    def _turn(self) -> None:
        log = self._spec.log
        self.close()
        log.replace(log.with_name(f"{log.name}.1"))
        self._file = _open_log(log)


async def keep_running(
    child: ChildProcess, *, stopping: asyncio.Event, random: Callable[[], float]
) -> None:
    """Start `child` again, with growing pauses, whenever it ends before `stopping` is set.

    A child that is not wanted for a while stays away until it is wanted again.
    """
    log = structlog.get_logger()
    backoff, attempt = Backoff(), 0
    while not stopping.is_set():
        code = await child.ended()
        if stopping.is_set():
            return
        delay = backoff.delay(attempt, random=random())
        log.warning(
            "restarting",
            child=child.spec.name,
            status=code,
            in_s=round(delay, 1),
            last_words=child.tail(1),
        )
        attempt += 1
        await asyncio.sleep(delay)
        await child.is_wanted.wait()
        if not stopping.is_set():
            await child.start()


def die_with_parent(parent: int, number: signal.Signals) -> None:
    """Let the kernel signal the calling process when its parent ends; for a child before exec."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != parent:
        # The parent died between fork and prctl: nobody would tell us any more.
        os._exit(1)


def kill_group(pid: int) -> None:
    """Kill what is left of a child's process group."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _open_log(path: Path) -> BinaryIO:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    return cast("BinaryIO", os.fdopen(descriptor, "ab", buffering=0))
