"""Ports of the gateway: what its services need from the world."""

from collections.abc import AsyncIterator
from typing import Protocol

from contracts.timestamps import WallTime
from contracts.wire.footage import Timeline
from gateway.core.stream_events import StreamEvent


class UnitCursor(Protocol):
    """A reader's place in one stream's bounded buffer of access units."""

    async def next(self) -> StreamEvent:
        """The next event; waits for it."""
        ...

    def close(self) -> None:
        """Give the place up; it no longer counts towards the buffer's bounds."""
        ...


class FootageReader(Protocol):
    """Reads what is recorded. Opened read-only; never disturbs the recorder."""

    def timeline(self, stream: str, start: WallTime, end: WallTime) -> Timeline:
        """Recorded spans and gaps of one stream's video track within [start, end)."""
        ...

    def streams(self) -> list[str]:
        """Every stream that has footage or gap rows."""
        ...


class KeyFrames(Protocol):
    """Recent key frames of streams, for whoever looks at pictures. Slow readers lose old ones."""

    def __aiter__(self) -> AsyncIterator[tuple[str, WallTime, bytes]]:
        """(stream, wall time of the frame, Annex B access unit with its parameter sets)."""
        ...
