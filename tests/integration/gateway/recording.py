"""Record frames of tests into a real volume, as fast as the disk takes them."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from contracts.clock import Clock, ManualClock
from contracts.media.access_unit import AccessUnit
from contracts.timestamps import WallTime
from gateway.adapters.footage.audit import VolumeAudit
from gateway.adapters.footage.disk import Disk
from gateway.adapters.footage.store import FootageStore
from gateway.adapters.footage.writer import FaultListener
from gateway.core.footage_audit import Finding
from gateway.core.parts import Expected, Interrupted
from gateway.core.segmenter import Segmenter, SegmenterOptions
from gateway.services.footage_check import check_footage

STREAM = "cam-07-front.main"


@asynccontextmanager
async def volume(
    folder: Path,
    *,
    clock: Clock | None = None,
    disk: Disk | None = None,
    on_fault: FaultListener | None = None,
) -> AsyncIterator[FootageStore]:
    """A store that is open and running, and is closed in good order."""
    store = FootageStore(folder, clock=clock or ManualClock(), disk=disk, on_fault=on_fault)
    await store.open()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(store.run())
        try:
            yield store
        finally:
            await store.close()


class Feed:
    """Feeds one track of one stream into a store, with the gap at its end."""

    def __init__(
        self, store: FootageStore, *, stream: str = STREAM, options: SegmenterOptions | None = None
    ) -> None:
        self._store = store
        self._stream = stream
        self._segmenter = Segmenter(options)

    def expect(self, at: int) -> None:
        self._store.submit(self._stream, "video", [Expected(at=WallTime(at))])

    def session(self, name: str) -> None:
        self._store.submit(self._stream, "video", self._segmenter.begin_session(name))

    async def push(self, units: Iterable[AccessUnit]) -> None:
        for unit in units:
            track = unit.config.track
            self._store.submit(self._stream, track, self._segmenter.push(unit))
            if self._store.backlog_bytes(self._stream) > 8_000_000:
                await self._store.drained(self._stream, 1_000_000)

    def interrupt(self, gap: Interrupted) -> None:
        self._store.submit(self._stream, "video", [*self._segmenter.interrupt(), gap])

    def stop(self, track="video") -> None:
        self._store.submit(self._stream, track, self._segmenter.finish("stopped"))


def findings(folder: Path) -> list[Finding]:
    """What the deepest check of a volume finds."""
    return check_footage(VolumeAudit(folder), level="hash")


def media_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*/*.mp4"))
