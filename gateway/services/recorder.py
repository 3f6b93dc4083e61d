"""Records one stream: reads its cursor, cuts it into parts, hands them to the store.

It depends on nothing else. What it cannot record becomes a gap row with its cause; it never drops
silently. When the disk falls behind by `backlog_bytes` it stops reading, the stream's buffer then
fills to its own bound, and what is dropped there comes back as `UnitsDropped`.
"""

import asyncio
from dataclasses import dataclass, field

from contracts.clock import Clock
from contracts.ids import split_stream_id
from contracts.media.access_unit import AccessUnit, Track
from contracts.timestamps import NS, WallTime
from contracts.wire.footage import GapCause
from gateway.core.parts import Expected, Interrupted
from gateway.core.segmenter import Segmenter, SegmenterOptions
from gateway.core.stream_events import SourceDown, SourceUp, StreamEvent, UnitsDropped
from gateway.ports import FootageStore, UnitCursor


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderOptions:
    """How a stream is recorded.

    Attributes:
        silence_ns: no unit for this long is a gap with cause ``no_media``.
        open_ns: a part that is open for this long is given out without its pending frame.
        tick_s: how often silence is looked for.
        backlog_bytes: how much may wait for the disk before reading stops.
    """

    segmenter: SegmenterOptions = field(default_factory=SegmenterOptions)
    silence_ns: int = 2 * NS
    open_ns: int = 800_000_000
    tick_s: float = 0.1
    backlog_bytes: int = 16_000_000


@dataclass(slots=True, kw_only=True)
class _TrackRecorder:
    segmenter: Segmenter
    last_unit_ns: int = 0
    """Monotonic: a stepped wall clock is no silence."""
    open_since_ns: int = 0
    """Monotonic: when the oldest frame of the open part came."""
    is_silent: bool = False


class Recorder:
    """Records one stream until cancelled.

    Attributes:
        units: access units taken so far.
    """

    def __init__(
        self,
        stream: str,
        cursor: UnitCursor,
        store: FootageStore,
        clock: Clock,
        options: RecorderOptions | None = None,
    ) -> None:
        """Prepare.

        Raises:
            InvalidInput: not a stream id.
        """
        split_stream_id(stream)
        self._stream = stream
        self._cursor = cursor
        self._store = store
        self._clock = clock
        self._options = options or RecorderOptions()
        self._tracks: dict[Track, _TrackRecorder] = {}
        self._session = ""
        self.units = 0

    def expect(self) -> None:
        """State that this stream should be recorded from now on; `run` does so by itself."""
        self._store.submit(self._stream, "video", [Expected(at=self._clock.now())])
        self._track("video")

    async def run(self) -> None:
        """Record until cancelled; then hand over what is open and say that recording stopped."""
        self.expect()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(), name=f"record {self._stream}")
                tasks.create_task(self._watch(), name=f"watch {self._stream}")
        finally:
            self._cursor.close()
            self.stop()

    def stop(self) -> None:
        """Give out what is open; the gap that begins here has cause ``gateway_stopped``."""
        for track, recorder in self._tracks.items():
            items = recorder.segmenter.finish("stopped")
            gap = Interrupted(at=self._clock.now(), cause="gateway_stopped")
            self._store.submit(self._stream, track, [*items, gap])

    async def _read(self) -> None:
        most = self._options.backlog_bytes
        while True:
            self._take(await self._cursor.next())
            if self._store.backlog_bytes(self._stream) > most:
                await self._store.drained(self._stream, most // 2)

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(self._options.tick_s)
            now = self._clock.monotonic_ns()
            for track, recorder in self._tracks.items():
                if now - recorder.last_unit_ns > self._options.silence_ns:
                    self._note_silence(track, recorder, now - recorder.last_unit_ns)
                elif now - recorder.open_since_ns > self._options.open_ns:
                    items = recorder.segmenter.relieve()
                    recorder.open_since_ns = now
                    self._store.submit(self._stream, track, items)

    def _take(self, event: StreamEvent) -> None:
        match event:
            case AccessUnit():
                self._unit(event)
            case SourceUp():
                self._source_up(event)
            case SourceDown():
                self._interrupt(event.at, event.cause, event.detail)
            case UnitsDropped():
                detail = f"录像积压，丢弃 {event.count} 帧"
                self._interrupt(event.first, "recorder_behind", detail)

    def _unit(self, unit: AccessUnit) -> None:
        track = unit.config.track
        recorder = self._tracks.get(track) or self._track(track)
        self.units += 1
        segmenter = recorder.segmenter
        was_open = segmenter.is_open
        recorder.last_unit_ns = self._clock.monotonic_ns()
        recorder.is_silent = False
        items = segmenter.push(unit)
        if items or not was_open:
            recorder.open_since_ns = recorder.last_unit_ns
        if items:
            self._store.submit(self._stream, track, items)

    def _track(self, track: Track) -> _TrackRecorder:
        recorder = self._tracks.get(track)
        if recorder is None:
            recorder = _TrackRecorder(segmenter=Segmenter(self._options.segmenter))
            recorder.last_unit_ns = self._clock.monotonic_ns()
            recorder.segmenter.begin_session(self._session)
            self._tracks[track] = recorder
        return recorder

    def _source_up(self, event: SourceUp) -> None:
        self._session = event.session
        for track, recorder in self._tracks.items():
            items = recorder.segmenter.begin_session(event.session)
            recorder.last_unit_ns = self._clock.monotonic_ns()
            recorder.is_silent = False
            if items:
                gap = Interrupted(at=event.at, cause="no_media", detail="信号源重新开始")
                self._store.submit(self._stream, track, [*items, gap])

    def _interrupt(self, at: WallTime, cause: GapCause, detail: str) -> None:
        for track, recorder in self._tracks.items():
            items = recorder.segmenter.interrupt()
            recorder.is_silent = True
            gap = Interrupted(at=at, cause=cause, detail=detail)
            self._store.submit(self._stream, track, [*items, gap])

    def _note_silence(self, track: Track, recorder: _TrackRecorder, silent_ns: int) -> None:
        if recorder.is_silent:
            return
        recorder.is_silent = True
        items = recorder.segmenter.interrupt()
        since = WallTime(self._clock.now() - silent_ns)
        detail = f"{self._options.silence_ns // NS} 秒以上没有数据"
        gap = Interrupted(at=since, cause="no_media", detail=detail)
        self._store.submit(self._stream, track, [*items, gap])
