"""The event loop's side of a volume: a bounded queue in front of one disk thread."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from contracts.clock import Clock
from contracts.media.access_unit import Track
from contracts.timestamps import NS
from contracts.wire.footage import GapCause
from gateway.adapters.footage.disk import Disk, LocalDisk
from gateway.adapters.footage.writer import FaultListener, StoreEntry, VolumeWriter
from gateway.core.parts import Part, StoreItem

_COMMIT_NS = NS // 2
"""Parts wait this long for company before they are synced and committed together."""


class FootageStore:
    """Takes footage of all streams of one volume; implements `gateway.ports.FootageStore`.

    Life: ``await open()``, then `run` as a task, ``submit`` from the loop's thread, and at the end
    ``await close()``, after which `run` returns.
    """

    def __init__(
        self,
        volume: Path,
        *,
        clock: Clock,
        disk: Disk | None = None,
        on_fault: FaultListener | None = None,
    ) -> None:
        """Prepare; nothing is touched before `open`.

        Args:
            volume: folder that holds files and index; made when missing.
            clock: of the gateway.
            disk: how files are written; the machine's own by default.
            on_fault: called in the loop's thread when the volume stops taking footage (cause,
                detail) and with None when it takes it again.
        """
        self._clock = clock
        self._on_fault = on_fault
        self._writer = VolumeWriter(
            volume, clock=clock, disk=disk or LocalDisk(), on_fault=self._fault_in_thread
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"disk-{volume.name}")
        self._queue: deque[StoreEntry] = deque()
        self._backlog: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._drained = asyncio.Condition()
        self._closing = False
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self) -> None:
        """Lock the volume and recover what a crash left.

        Raises:
            Unavailable: another recorder uses the volume, or its index is of another version.
            OSError: the volume cannot be written.
        """
        self._loop = asyncio.get_running_loop()
        await self._in_thread(self._writer.open)

    def submit(self, stream: str, track: Track, items: Sequence[StoreItem]) -> None:
        """Queue items of one track; they reach the disk in this order. Never blocks."""
        for item in items:
            self._queue.append((stream, track, item))
            if isinstance(item, Part):
                self._backlog[stream] = self._backlog.get(stream, 0) + item.size
        self._changed.set()

    def backlog_bytes(self, stream: str) -> int:
        """Octets of one stream that wait for the disk."""
        return self._backlog.get(stream, 0)

    async def drained(self, stream: str, most_bytes: int) -> None:
        """Wait until no more than `most_bytes` of a stream wait for the disk."""
        async with self._drained:
            await self._drained.wait_for(lambda: self.backlog_bytes(stream) <= most_bytes)

    async def run(self) -> None:
        """Write what is submitted, until `close`."""
        due: int | None = None
        while True:
            await self._wait(due)
            if self._queue:
                await self._write()
            if self._closing:
                return
            if not self._writer.has_pending:
                due = None
            elif due is None:
                due = self._clock.monotonic_ns() + _COMMIT_NS
            elif self._clock.monotonic_ns() >= due:
                await self._in_thread(self._writer.commit)
                due = None

    async def flush(self) -> None:
        """Return when everything submitted so far is on the disk and in the index."""
        await self._write()
        await self._in_thread(self._writer.commit)

    async def close(self) -> None:
        """Write the rest, seal the files, note that recording stopped, give the volume up."""
        self._closing = True
        self._changed.set()
        await self._write()
        await self._in_thread(self._writer.close)
        self._thread.shutdown(wait=False)

    async def _wait(self, due: int | None) -> None:
        timeout = None
        if due is not None:
            timeout = max(0, due - self._clock.monotonic_ns()) / NS
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()

    async def _write(self) -> None:
        batch = list(self._queue)
        self._queue.clear()
        if not batch:
            return
        await self._in_thread(lambda: self._writer.apply(batch))
        for stream, _, item in batch:
            if isinstance(item, Part):
                self._backlog[stream] -= item.size
        async with self._drained:
            self._drained.notify_all()

    async def _in_thread(self, work: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _fault_in_thread(self, cause: GapCause | None, detail: str) -> None:
        if self._on_fault is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._on_fault, cause, detail)
