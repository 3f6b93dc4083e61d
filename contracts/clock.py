"""The only reader of the clock. Everything else takes a `Clock` or a `now`."""

import asyncio
import time
from typing import Protocol

from contracts.timestamps import WallTime


class Clock(Protocol):
    """Wall time, monotonic time and waiting, as one port."""

    def now(self) -> WallTime:
        """Wall time, nanoseconds since the Unix epoch, UTC."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds that never step back; comparable within one boot only."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait on the monotonic clock."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> WallTime:
        """Wall time, nanoseconds since the Unix epoch, UTC."""
        return WallTime(time.time_ns())

    def monotonic_ns(self) -> int:
        """Nanoseconds that never step back; comparable within one boot only."""
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        """Wait on the monotonic clock."""
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock that moves only when told to; waiting returns once it was moved far enough."""

    def __init__(self, start: int = 1_790_000_000_000_000_000) -> None:
        self._wall = start
        self._mono = 0
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    def now(self) -> WallTime:
        """Wall time, nanoseconds since the Unix epoch, UTC."""
        return WallTime(self._wall)

    def monotonic_ns(self) -> int:
        """Nanoseconds moved so far."""
        return self._mono

    async def sleep(self, seconds: float) -> None:
        """Wait until `advance` has moved the clock by at least this much."""
        due = self._mono + int(seconds * 1e9)
        if due <= self._mono:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((due, future))
        await future

    def advance(self, seconds: float) -> None:
        """Move both clocks forward and release who waited for it."""
        step = int(seconds * 1e9)
        self._wall += step
        self._mono += step
        still_waiting = []
        for due, future in self._waiters:
            if due > self._mono:
                still_waiting.append((due, future))
            elif not future.done():
                future.set_result(None)
        self._waiters = still_waiting

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back without moving monotonic time, as a bad NTP would."""
        self._wall += int(seconds * 1e9)
