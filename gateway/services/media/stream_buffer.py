"""The asyncio shell around one stream's ring: cursors that wait, and the stream's statistics."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from contracts.clock import Clock
from contracts.media.access_unit import AccessUnit, CodecConfig
from contracts.timestamps import NS, NS_PER_MS
from contracts.wire.footage import GapCause
from gateway.core.source_state import SourceState
from gateway.core.stream_events import SourceDown, SourceUp, StreamEvent
from gateway.core.unit_ring import RingLimits, RingPlace, UnitRing

_WINDOW_NS = 2 * NS
"""Rates are counted over windows of this length."""


class StreamCursor:
    """A reader's place; see `gateway.ports.UnitCursor`. For one task at a time."""

    def __init__(self, place: RingPlace, forget: Callable[["StreamCursor"], None]) -> None:
        self._place = place
        self._forget = forget
        self._more = asyncio.Event()

    async def next(self) -> StreamEvent:
        """The next event; waits for it."""
        while (event := self._place.read()) is None:
            self._more.clear()
            await self._more.wait()
        return event

    def backlog(self) -> list[StreamEvent]:
        """Everything that is there now, without waiting."""
        return list(iter(self._place.read, None))

    def restart(self) -> bool:
        """Go back to the newest key frame, if one is held. Live cursors only."""
        return self._place.restart()

    def close(self) -> None:
        """Give the place up; it no longer counts towards the buffer's bounds."""
        self._place.close()
        self._forget(self)

    def wake(self) -> None:
        """The buffer has more."""
        self._more.set()


class StreamBuffer:
    """One bounded buffer of immutable access units; every reader is a cursor on it."""

    def __init__(self, limits: RingLimits) -> None:
        self._ring = UnitRing(limits)
        self._cursors: set[StreamCursor] = set()

    @property
    def byte_count(self) -> int:
        """Bytes held now."""
        return self._ring.byte_count

    def append(self, event: StreamEvent) -> None:
        """Add an event and wake who waits for it. Never blocks."""
        self._ring.append(event)
        for cursor in self._cursors:
            cursor.wake()

    def recorder_cursor(self) -> StreamCursor:
        """A cursor the buffer waits for, up to its byte limit."""
        return self._cursor(holds=True)

    def live_cursor(self) -> StreamCursor:
        """A cursor nobody waits for; begins at the newest key frame."""
        return self._cursor(holds=False)

    def _cursor(self, *, holds: bool) -> StreamCursor:
        cursor = StreamCursor(self._ring.place(holds=holds), self._cursors.discard)
        self._cursors.add(cursor)
        return cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRates:
    """What a stream carried in the last full window, and lost in all."""

    bits_per_second: int
    frames_per_second: float
    packets_lost: int


class LiveStream:
    """One stream of the site: its source's state, its buffer, its figures."""

    def __init__(self, name: str, *, clock: Clock, limits: RingLimits | None = None) -> None:
        self.name = name
        self.buffer = StreamBuffer(limits or RingLimits())
        self.source = SourceState(now=clock.now())
        self.video: CodecConfig | None = None
        self.audio: CodecConfig | None = None
        self.clock_offset_ms: int | None = None
        self.rates = StreamRates(bits_per_second=0, frames_per_second=0.0, packets_lost=0)
        self._clock = clock
        self._bytes = 0
        self._frames = 0
        self._lost = 0
        self._window_from = clock.monotonic_ns()
        self.buffer.append(self.source.down)

    def session_began(self, session: str) -> None:
        """A publisher's session was agreed."""
        self.source.session_began(session)
        self.video = self.audio = None

    def put(self, unit: AccessUnit) -> None:
        """A unit of the present session."""
        self._tell(self.source.unit(unit))
        if unit.config.track == "video":
            self.video = unit.config
            self._frames += 1
        else:
            self.audio = unit.config
        self._bytes += len(unit.payload)
        self._lost += unit.lost_before
        if unit.captured_at is not None:
            self.clock_offset_ms = (unit.captured_at - unit.arrived_at) // NS_PER_MS
        self.buffer.append(unit)

    def session_ended(self, session: str, detail: str) -> None:
        """A publisher's session is gone."""
        self._tell(self.source.session_ended(session, detail, now=self._clock.now()))

    def report(self, cause: GapCause | None, detail: str) -> None:
        """What the device says of itself."""
        self._tell(self.source.report(cause, detail, now=self._clock.now()))

    def poll(self) -> None:
        """Look for silence and roll the figures; call about once a second."""
        self._tell(self.source.poll(now=self._clock.now()))
        now = self._clock.monotonic_ns()
        passed = now - self._window_from
        if passed < _WINDOW_NS:
            return
        self.rates = StreamRates(
            bits_per_second=8 * self._bytes * NS // passed,
            frames_per_second=round(self._frames * NS / passed, 1),
            packets_lost=self._lost,
        )
        self._bytes = self._frames = 0
        self._window_from = now

    def _tell(self, event: SourceUp | SourceDown | None) -> None:
        if event is not None:
            self.buffer.append(event)
