"""The site's streams while they run: who publishes, who watches, what is recorded.

Independence is the point: a viewer, a slow reader of key frames or a request that fails has a task
of its own, and none of them can hold the recorder up. Adapters are handed in as ports.
"""

import asyncio
import secrets
from collections.abc import Callable
from typing import Protocol

import structlog

from contracts.clock import Clock
from contracts.errors import Denied, Unavailable
from contracts.ids import split_stream_id
from contracts.media.access_unit import AccessUnit
from contracts.wire.footage import GapCause
from gateway.core.media_errors import UnknownStream
from gateway.core.media_status import MediaStatus, RecorderState, StreamStatus
from gateway.ports import UnitCursor, Viewed
from gateway.services.media.stream_buffer import LiveStream

_log = structlog.get_logger(__name__)

_POLL_S = 0.5
_RESTART_S = 1.0


class Publishers(Protocol):
    """Receives what agents publish."""

    async def accept(
        self,
        session: str,
        offer: str,
        *,
        emit: Callable[[AccessUnit], None],
        ended: Callable[[str], None],
    ) -> str:
        """Begin a session; the SDP answer."""
        ...

    async def close(self, session: str) -> None:
        """End a session."""
        ...


class Viewers(Protocol):
    """Sends streams to browsers."""

    def count(self, stream: str) -> int:
        """How many watch it."""
        ...

    async def accept(self, session: str, offer: str, viewed: Viewed) -> str:
        """Begin a session; the SDP answer."""
        ...

    async def close(self, session: str) -> None:
        """End a session."""
        ...


class Recording(Protocol):
    """Records one stream from a cursor."""

    async def run(self) -> None:
        """Record until cancelled, then hand over what is open."""
        ...


RecordingFactory = Callable[[str, UnitCursor], Recording]
OnUnit = Callable[[str, AccessUnit], None]


class MediaSessions:
    """Every stream this process serves. `run` must be running before anything is asked of it."""

    def __init__(
        self,
        *,
        clock: Clock,
        publishers: Publishers,
        viewers: Viewers,
        new_recording: RecordingFactory | None,
        on_unit: OnUnit,
    ) -> None:
        self._clock = clock
        self._publishers = publishers
        self._viewers = viewers
        self._new_recording = new_recording
        self._on_unit = on_unit
        self._served: dict[str, _Served] = {}
        self._expected: frozenset[str] = frozenset()
        self._group: asyncio.TaskGroup | None = None

    async def publish(self, *, stream: str, device: str, sdp: str) -> tuple[str, str]:
        """Begin a publishing session; a former one of the stream is replaced.

        Raises:
            Denied: the stream is not this device's.
            InvalidInput, CodecMismatch, Unavailable: see `WebrtcReceiver.accept`.
        """
        owner, _ = split_stream_id(stream)
        if owner != device:
            raise Denied(f"{stream} is not a stream of {device}")
        served = self._serve(stream)
        session = secrets.token_urlsafe(12)

        def emit(unit: AccessUnit) -> None:
            # A packet of a replaced session may still be on its way.
            if served.session == session:
                served.stream.put(unit)
                self._on_unit(stream, unit)

        def ended(reason: str) -> None:
            _log.info("publisher_gone", stream=stream, session=session, reason=reason)
            served.stream.session_ended(session, reason)

        answer = await self._publishers.accept(session, sdp, emit=emit, ended=ended)
        former, served.session = served.session, session
        served.stream.session_began(session)
        if former is not None:
            await self._publishers.close(former)
        _log.info("publisher_came", stream=stream, session=session, replaced=former)
        return session, answer

    async def view(self, *, stream: str, sdp: str) -> tuple[str, str]:
        """Begin a viewing session.

        Raises:
            UnknownStream: neither expected nor published here.
            InvalidInput, CodecMismatch, Unavailable: see `WebrtcViewers.accept`.
        """
        served = self._served.get(stream)
        if served is None:
            raise UnknownStream(f"没有码流 {stream} (no such stream)")
        live = served.stream
        viewed = Viewed(
            stream=stream, video=live.video, audio=live.audio, cursor=live.buffer.live_cursor
        )
        session = secrets.token_urlsafe(12)
        answer = await self._viewers.accept(session, sdp, viewed)
        return session, answer

    async def close(self, *, session: str, stream: str) -> None:
        """End a session of that stream, whichever kind; one that is over is no error."""
        served = self._served.get(stream)
        if served is not None and served.session == session:
            served.session = None
            await self._publishers.close(session)
            served.stream.session_ended(session, "withdrawn by the publisher")
        else:
            await self._viewers.close(session)

    async def expect(self, *, streams: list[str]) -> None:
        """These streams should deliver, so that their absence is recorded as a gap."""
        for name in streams:
            split_stream_id(name)
        self._expected = frozenset(streams)
        for name in streams:
            self._serve(name)
        for name, served in list(self._served.items()):
            if name not in self._expected and served.session is None:
                del self._served[name]
                if served.task is not None:
                    served.task.cancel()

    async def set_cause(self, *, stream: str, cause: GapCause | None, detail: str) -> None:
        """What is known of a stream's silence; for unknown streams it means nothing."""
        served = self._served.get(stream)
        if served is not None:
            served.stream.report(cause, detail)

    def status(self) -> MediaStatus:
        """The state of everything."""
        return MediaStatus(
            streams=tuple(self._status(name, self._served[name]) for name in sorted(self._served))
        )

    async def run(self) -> None:
        """Own the recorders and look for silence, until cancelled.

        When it returns every recorder has handed over what it had.
        """
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                while True:
                    for served in self._served.values():
                        served.stream.poll()
                    await self._clock.sleep(_POLL_S)
        finally:
            self._group = None

    def _serve(self, name: str) -> "_Served":
        served = self._served.get(name)
        if served is None:
            if self._group is None:
                raise Unavailable("媒体进程正在启动或停止 (starting or stopping)")
            served = self._served[name] = _Served(LiveStream(name, clock=self._clock))
            if self._new_recording is not None:
                served.task = self._group.create_task(
                    self._record(served, self._new_recording), name=f"recorder-{name}"
                )
        return served

    async def _record(self, served: "_Served", new_recording: RecordingFactory) -> None:
        """Supervise one recorder: what breaks it is logged, and it starts again."""
        stream = served.stream
        while True:
            served.recorder = "recording"
            try:
                await new_recording(stream.name, stream.buffer.recorder_cursor()).run()
            except Exception:  # noqa: BLE001 - supervisor: see above
                _log.exception("recorder_failed", stream=stream.name)
            served.recorder = "restarting"
            await self._clock.sleep(_RESTART_S)

    def _status(self, name: str, served: "_Served") -> StreamStatus:
        stream, source = served.stream, served.stream.source
        is_down = source.state != "delivering"
        video = stream.video
        return StreamStatus(
            stream=name,
            source=source.state,
            cause=source.down.cause if is_down else None,
            detail=source.down.detail if is_down else "",
            session=source.session,
            expected=name in self._expected,
            codec=video.codec if video else None,
            audio=stream.audio.codec if stream.audio else None,
            width=video.width if video else 0,
            height=video.height if video else 0,
            bits_per_second=stream.rates.bits_per_second,
            frames_per_second=stream.rates.frames_per_second,
            packets_lost=stream.rates.packets_lost,
            viewers=self._viewers.count(name),
            clock_offset_ms=stream.clock_offset_ms,
            recorder=served.recorder,
            last_unit_at=source.last_unit_at,
            buffered_bytes=stream.buffer.byte_count,
        )


class _Served:
    """One stream with its publisher's session and its recorder's task."""

    def __init__(self, stream: LiveStream) -> None:
        self.stream = stream
        self.session: str | None = None
        self.task: asyncio.Task[None] | None = None
        self.recorder: RecorderState = "off"
