"""WHEP's media side: sends a stream's access units to a browser as they are, from a live cursor.

A viewer gets the pictures since the last key frame at once, then the live ones; after a picture
loss it gets the newest group of pictures again. Each viewer is one task; what happens to it
concerns nobody else.
"""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from contracts.clock import Clock
from contracts.errors import InvalidInput, ProtocolError, Unavailable
from contracts.media.access_unit import AccessUnit, Codec
from contracts.media.rtcp import (
    GENERIC_NACK,
    PAYLOAD_FEEDBACK,
    TRANSPORT_FEEDBACK,
    iterate_compound,
    parse_nack,
)
from contracts.media.rtp_sender import RtpSender, RtxNumbers, StreamNumbers, decodable_payload
from contracts.media.rtp_timeline import RtpTimeline
from contracts.timestamps import NS, NS_PER_MS, WallTime
from gateway.adapters.webrtc.offer import (
    MediaSection,
    read_sections,
    section_of,
)
from gateway.adapters.webrtc.transport import PeerTransport
from gateway.core.media_errors import CodecMismatch
from gateway.core.stream_events import SourceUp, StreamEvent
from gateway.ports import LiveCursor, Viewed

_log = structlog.get_logger(__name__)

_REPORT_NS = NS
_SILENT_NS = 10 * NS
"""Browsers report every few seconds and check consent; one silent for longer is gone."""
_CONNECT_S = 15.0
_POLL_S = 1.0
_KEY_FRAME_AGAIN_NS = 500 * NS_PER_MS
_PACKETS_PER_TURN = 32
_CATCH_UP_S = 0.002
"""Pause between turns of a burst: 32 packets each 2 ms are 150 Mb/s, which sockets survive."""


class WebrtcViewers:
    """All viewers of this process; `run` must be running."""

    def __init__(self, *, clock: Clock, addresses: Sequence[str], most: int = 200) -> None:
        self._clock = clock
        self._addresses = addresses
        self._most = most
        self._viewers: dict[str, _Viewer] = {}
        self._group: asyncio.TaskGroup | None = None

    def count(self, stream: str) -> int:
        """How many watch this stream."""
        return sum(viewer.viewed.stream == stream for viewer in self._viewers.values())

    async def accept(self, session: str, offer: str, viewed: Viewed) -> str:
        """Begin a viewer's session and return the SDP answer.

        Raises:
            InvalidInput: the offer is unusable.
            CodecMismatch: the browser cannot decode what the camera sends.
            Unavailable: too many viewers, or no address can be bound.
        """
        if self._group is None or len(self._viewers) >= self._most:
            raise Unavailable(f"实时观看已达上限 {self._most} 路 (too many viewers)")
        sections = read_sections(offer)
        _check(sections, viewed)
        viewer = _Viewer(viewed, self._clock, self._addresses)
        try:
            answer = await viewer.answer(offer, sections)
        except BaseException:
            await viewer.transport.close()
            raise
        self._viewers[session] = viewer
        self._group.create_task(self._serve(session, viewer), name=f"viewer-{session}")
        return answer

    async def close(self, session: str) -> None:
        """End a session; unknown ones are ignored."""
        viewer = self._viewers.get(session)
        if viewer is not None:
            viewer.transport.end("closed by the viewer")

    async def run(self) -> None:
        """Own the viewers' tasks until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                await asyncio.Event().wait()
        finally:
            self._group = None

    async def _serve(self, session: str, viewer: "_Viewer") -> None:
        try:
            await viewer.run()
        except Exception:  # noqa: BLE001 - supervisor: one viewer's fault must stay its own
            _log.exception("viewer_failed", session=session, stream=viewer.viewed.stream)
        finally:
            self._viewers.pop(session, None)
            await viewer.transport.close()
            _log.info("viewer_gone", session=session, reason=viewer.transport.end_reason)


@dataclass(slots=True)
class _Outgoing:
    """One track on its way out."""

    sender: RtpSender
    timeline: RtpTimeline
    wall: WallTime | None = None
    ticks: int = 0


class _Viewer:
    """One browser."""

    def __init__(self, viewed: Viewed, clock: Clock, addresses: Sequence[str]) -> None:
        self.viewed = viewed
        self.transport = PeerTransport(
            addresses=addresses, clock=clock, on_rtp=_ignore, on_rtcp=self._rtcp
        )
        self._clock = clock
        self._tracks: dict[Codec, _Outgoing] = {}
        self._wants_key_frame = False
        self._key_sent_ns = 0
        self._reported_ns = 0

    async def answer(self, offer: str, sections: list[MediaSection]) -> str:
        codecs: dict[str, Codec] = {"video": "h264"}
        offered_audio = section_of(sections, "audio")
        audio = self.viewed.audio
        if audio is not None and offered_audio and audio.codec in offered_audio.codecs:
            codecs["audio"] = audio.codec
        for kind, codec in codecs.items():
            self.transport.add(kind, "sendonly", (codec,))
        answer = await self.transport.answer(offer)
        for section in read_sections(answer):
            agreed = codecs.get(section.kind)
            if agreed is not None:
                self._tracks[agreed] = _outgoing(section, agreed)
        return answer

    async def run(self) -> None:
        """Send until the viewer is gone."""
        try:
            async with asyncio.timeout(_CONNECT_S):
                await self.transport.connected.wait()
        except TimeoutError:
            self.transport.end("ICE or DTLS did not connect")
            return
        cursor = self.viewed.cursor()
        try:
            await self._catch_up(cursor.backlog())
            while not self.transport.ended.is_set():
                await self._step(cursor)
        finally:
            cursor.close()

    async def _step(self, cursor: LiveCursor) -> None:
        now = self._clock.monotonic_ns()
        if now - self.transport.heard_ns > _SILENT_NS:
            self.transport.end("nothing heard for 10 s")
            return
        if self._wants_key_frame and now - self._key_sent_ns > _KEY_FRAME_AGAIN_NS:
            self._wants_key_frame = False
            if cursor.restart():
                await self._catch_up(cursor.backlog())
        try:
            async with asyncio.timeout(_POLL_S):
                event = await cursor.next()
        except TimeoutError:
            return
        if isinstance(event, AccessUnit):
            track = self._tracks.get(event.config.codec)
            if track is not None:
                await self._send(track, event, track.timeline.ticks(event), pause=0)
        elif isinstance(event, SourceUp):
            for track in self._tracks.values():
                track.timeline.restart()
        if now - self._reported_ns >= _REPORT_NS:
            self._report(now)

    async def _catch_up(self, events: list[StreamEvent]) -> None:
        """Send the pictures since the last key frame as fast as a decoder can take them."""
        track = self._tracks.get("h264")
        units = [
            event
            for event in events
            if isinstance(event, AccessUnit) and event.config.codec == "h264"
        ]
        if track is None or not units:
            return
        for unit, ticks in zip(units, track.timeline.squeeze(units), strict=True):
            await self._send(track, unit, ticks, pause=_CATCH_UP_S)
        self._report(self._clock.monotonic_ns())

    async def _send(self, track: _Outgoing, unit: AccessUnit, ticks: int, *, pause: float) -> None:
        if unit.key:
            self._key_sent_ns = self._clock.monotonic_ns()
        track.wall, track.ticks = unit.arrived_at, ticks
        packets = track.sender.packets(unit.config, decodable_payload(unit), ticks=ticks)
        for index, packet in enumerate(packets):
            self.transport.send_rtp(packet)
            if index % _PACKETS_PER_TURN == _PACKETS_PER_TURN - 1:
                await asyncio.sleep(pause)

    def _report(self, now: int) -> None:
        self._reported_ns = now
        for track in self._tracks.values():
            if track.wall is not None:
                self.transport.send_rtcp(
                    track.sender.sender_report(wall=track.wall, ticks=track.ticks)
                )

    def _rtcp(self, data: bytes) -> None:
        try:
            for packet in iterate_compound(data):
                if packet.packet_type == TRANSPORT_FEEDBACK and packet.count == GENERIC_NACK:
                    self._retransmit(*parse_nack(packet))
                elif packet.packet_type == PAYLOAD_FEEDBACK and packet.count in _KEY_FEEDBACK:
                    self._wants_key_frame = True
        except ProtocolError:
            return

    def _retransmit(self, media_ssrc: int, sequences: list[int]) -> None:
        for track in self._tracks.values():
            if track.sender.numbers.ssrc == media_ssrc:
                for sequence in sequences:
                    packet = track.sender.retransmit(sequence)
                    if packet is not None:
                        self.transport.send_rtp(packet)


_KEY_FEEDBACK = (1, 4)
"""Formats of payload feedback that ask for a key frame: PLI (RFC 4585), FIR (RFC 5104)."""


def _check(sections: list[MediaSection], viewed: Viewed) -> None:
    """Refuse what could never be seen.

    Raises:
        InvalidInput: nothing is to be received.
        CodecMismatch: the stream's codec is not offered.
    """
    video = section_of(sections, "video")
    if video is None or video.direction not in ("recvonly", "sendrecv"):
        raise InvalidInput("needs a video section that receives", field="sdp.video")
    codec = viewed.video.codec if viewed.video is not None else "h264"
    if codec != "h264" or codec not in video.codecs:
        raise CodecMismatch(
            f"浏览器不能播放此码流的编码 {codec} (the offer lacks {codec}); 请改用子码流或回放",
            field="sdp.video",
        )


def _outgoing(section: MediaSection, codec: Codec) -> _Outgoing:
    """Numbers of a track from our own answer."""
    agreed = section.first(codec)
    rtx_type = next(
        (p.number for p in section.payload_types if p.is_rtx and p.base == agreed.number), None
    )
    rtx = None
    if rtx_type is not None and len(section.ssrcs) > 1:
        rtx = RtxNumbers(
            payload_type=rtx_type, ssrc=section.ssrcs[1], sequence=secrets.randbits(15)
        )
    numbers = StreamNumbers(
        payload_type=agreed.number,
        ssrc=section.ssrcs[0],
        sequence=secrets.randbits(15),
        timestamp=secrets.randbits(32),
        cname="mingjing",
        rtx=rtx,
    )
    return _Outgoing(RtpSender(numbers), RtpTimeline(agreed.rate))


def _ignore(_packet: bytes) -> None:
    """Viewers send no media."""
