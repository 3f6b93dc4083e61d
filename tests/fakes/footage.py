"""Footage without a disk: a store that remembers, a cursor fed by the test, a disk that breaks."""

import asyncio
import errno
import os
from collections.abc import Sequence
from pathlib import Path

from contracts.media.access_unit import Track
from gateway.adapters.footage.disk import LocalDisk
from gateway.core.parts import Part, StoreItem
from gateway.core.stream_events import StreamEvent


class RememberingStore:
    """A `FootageStore` that keeps what it is given; `held` makes it as slow as a stuck disk."""

    def __init__(self) -> None:
        self.items: list[tuple[Track, StoreItem]] = []
        self.held = False
        self._backlog = 0
        self._released = asyncio.Event()

    def submit(self, stream: str, track: Track, items: Sequence[StoreItem]) -> None:
        self.items += [(track, item) for item in items]
        if self.held:
            self._backlog += sum(item.size for item in items if isinstance(item, Part))

    def backlog_bytes(self, stream: str) -> int:
        return self._backlog

    async def drained(self, stream: str, most_bytes: int) -> None:
        await self._released.wait()

    def release(self) -> None:
        self.held = False
        self._backlog = 0
        self._released.set()

    def of(self, track: Track) -> list[StoreItem]:
        return [item for where, item in self.items if where == track]


class QueueCursor:
    """A `UnitCursor` over what the test puts in."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[StreamEvent] = asyncio.Queue(10_000)
        self.taken = 0
        self.closed = False

    def put(self, *events: StreamEvent) -> None:
        for event in events:
            self._queue.put_nowait(event)

    async def next(self) -> StreamEvent:
        event = await self._queue.get()
        self.taken += 1
        return event

    def close(self) -> None:
        self.closed = True


class BreakableDisk(LocalDisk):
    """The machine's disk, until the test fills it or breaks it.

    Attributes:
        full: appends fail half way, as with ENOSPC.
        broken: syncs fail with EIO.
    """

    def __init__(self) -> None:
        self.full = False
        self.broken = False

    def create(self, path: Path) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().create(path)

    def append(self, fd: int, octets: bytes) -> None:
        if self.full:
            super().append(fd, octets[: len(octets) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().append(fd, octets)

    def sync(self, fd: int) -> None:
        if self.broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync(fd)
