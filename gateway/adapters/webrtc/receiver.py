"""WHIP's media side: takes what agents publish and hands over access units, not decoded.

One tick task serves all sessions: it asks for lost packets, gives holes up, reports, and ends
sessions that fell silent. Nothing is awaited per packet.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from contracts.clock import Clock
from contracts.errors import InvalidInput, ProtocolError
from contracts.media.access_unit import AccessUnit, Codec, CodecConfig
from contracts.media.rtcp import (
    build_nack,
    build_picture_loss,
    build_receiver_report,
    sender_reports,
)
from contracts.media.rtp import HEADER, payload_bounds, unwrap_rtx
from contracts.media.rtp_receiver import RtpReceiver
from contracts.timestamps import NS, NS_PER_MS
from gateway.adapters.webrtc.offer import (
    MediaSection,
    PayloadType,
    read_sections,
    section_of,
)
from gateway.adapters.webrtc.transport import PeerTransport
from gateway.core.media_errors import CodecMismatch

_log = structlog.get_logger(__name__)

_TICK_S = 0.02
_MOST_STEP_NS = 40 * NS_PER_MS
_NACK_AGAIN_NS = 60 * NS_PER_MS
"""A packet asked for is not asked for again before a retransmission could have come."""
_KEY_FRAME_AGAIN_NS = 500 * NS_PER_MS
_REPORT_NS = NS
_SILENT_NS = 5 * NS
"""A peer sends RTCP each second; without anything for this long it is gone (cf. RFC 7675)."""
_CONNECT_NS = 15 * NS
_AUDIO: tuple[Codec, ...] = ("opus", "pcma", "pcmu")
_STEREO = 2

UnitSink = Callable[[AccessUnit], None]
EndSink = Callable[[str], None]


@dataclass(slots=True)
class _Track:
    """One RTP stream of a session and what was last asked of its sender."""

    receiver: RtpReceiver
    ssrc: int | None
    asked: dict[int, int] = field(default_factory=dict)
    key_asked_ns: int = -_KEY_FRAME_AGAIN_NS


class WebrtcReceiver:
    """All publishing sessions of this process."""

    def __init__(self, *, clock: Clock, addresses: Sequence[str], hole_ms: int = 300) -> None:
        self._clock = clock
        self._addresses = addresses
        self._hole_ms = hole_ms
        self._sessions: dict[str, _Session] = {}

    async def accept(self, session: str, offer: str, *, emit: UnitSink, ended: EndSink) -> str:
        """Begin a session and return the SDP answer.

        Args:
            session: its id.
            offer: SDP that offers H.264 and perhaps PCMA, PCMU or Opus to be sent to us.
            emit: gets every access unit, in the event loop.
            ended: called once, with the reason, when the peer is gone (not after `close`).

        Raises:
            InvalidInput: the offer is unusable.
            CodecMismatch: it has no H.264 video, or audio in no codec of ours.
            Unavailable: no address can be bound.
        """
        sections = read_sections(offer)
        _check(sections)
        made = _Session(self._clock, self._addresses, ended)
        try:
            answer = await made.answer(offer, sections, emit, self._hole_ms)
        except BaseException:
            await made.transport.close()
            raise
        self._sessions[session] = made
        return answer

    async def close(self, session: str) -> None:
        """End a session from our side; unknown ones are ignored."""
        made = self._sessions.pop(session, None)
        if made is not None:
            await made.transport.close()

    async def run(self) -> None:
        """Serve the sessions until cancelled, then close them."""
        try:
            while True:
                now = self._clock.monotonic_ns()
                for name, session in list(self._sessions.items()):
                    self._tick(name, session, now)
                    if session.transport.ended.is_set():
                        await self._drop(name, session)
                await asyncio.sleep(_TICK_S)
        finally:
            for name in list(self._sessions):
                await self.close(name)

    def _tick(self, name: str, session: "_Session", now: int) -> None:
        try:
            session.tick(now)
        except Exception as exc:  # noqa: BLE001 - supervisor: one session must not stop the others
            _log.exception("publisher_failed", session=name)
            session.transport.end(f"internal error: {exc!r}")

    async def _drop(self, name: str, session: "_Session") -> None:
        self._sessions.pop(name, None)
        session.ended(session.transport.end_reason)
        await session.transport.close()


class _Session:
    """One publisher.

    Holes age on a clock of their own that never takes more than two ticks at once: when this
    process was held up, what was asked for waits in the socket and must be read before it is
    given up.
    """

    def __init__(self, clock: Clock, addresses: Sequence[str], ended: EndSink) -> None:
        self.ended = ended
        self.transport = PeerTransport(
            addresses=addresses, clock=clock, on_rtp=self._rtp, on_rtcp=self._rtcp
        )
        self._clock = clock
        self._ssrc = secrets.randbits(32)
        self._tracks: list[_Track] = []
        self._by_type: dict[int, tuple[_Track, bool]] = {}
        self._began_ns = self._ticked_ns = clock.monotonic_ns()
        self._reported_ns = 0
        self._calm_ns = 0

    async def answer(
        self, offer: str, sections: list[MediaSection], emit: UnitSink, hole_ms: int
    ) -> str:
        for section in sections:
            codecs = ("h264",) if section.kind == "video" else _AUDIO
            self.transport.add(section.kind, "recvonly", codecs)
        answer = await self.transport.answer(offer)
        for agreed in read_sections(answer):
            offered = section_of(sections, agreed.kind)
            ssrc = offered.ssrcs[0] if offered and offered.ssrcs else None
            self._route(agreed.payload_types, ssrc, emit, hole_ms)
        return answer

    def tick(self, now: int) -> None:
        """Repair, report and notice silence."""
        self._calm_ns += min(now - self._ticked_ns, _MOST_STEP_NS)
        self._ticked_ns = now
        if not self.transport.connected.is_set():
            if now - self._began_ns > _CONNECT_NS:
                self.transport.end("ICE or DTLS did not connect")
            return
        if now - self.transport.heard_ns > _SILENT_NS:
            self.transport.end("nothing heard for 5 s")
            return
        for track in self._tracks:
            self._repair(track, self._calm_ns)
        if now - self._reported_ns >= _REPORT_NS:
            self._reported_ns = now
            blocks = [t.receiver.report(self._calm_ns) for t in self._tracks if t.receiver.received]
            self.transport.send_rtcp(build_receiver_report(self._ssrc, blocks))

    def _route(
        self,
        payload_types: Sequence[PayloadType],
        ssrc: int | None,
        emit: UnitSink,
        hole_ms: int,
    ) -> None:
        """Payload types are unique within a bundle (RFC 8843 section 10.1), so they route."""
        made: dict[Codec, _Track] = {}
        for payload_type in payload_types:
            track = made.get(payload_type.codec)
            if track is None:
                receiver = RtpReceiver(payload_type.codec, payload_type.rate, emit, hole_ms=hole_ms)
                track = made[payload_type.codec] = _Track(receiver, ssrc)
                self._tracks.append(track)
            self._by_type[payload_type.number] = (track, payload_type.is_rtx)

    def _rtp(self, data: bytes) -> None:
        route = self._by_type.get(data[1] & 0x7F) if len(data) > 1 else None
        if route is None:
            return
        track, is_rtx = route
        now, mono_ns = self._clock.now(), self._calm_ns
        if not is_rtx:
            track.receiver.datagram(data, now=now, mono_ns=mono_ns)
            return
        try:
            start, end = payload_bounds(data)
            sequence, payload = unwrap_rtx(data[start:end])
        except ProtocolError:
            # Padding without payload is how some senders probe the bandwidth.
            return
        _, second, _, timestamp, _ = HEADER.unpack_from(data)
        track.receiver.packet(
            sequence, timestamp, bool(second & 0x80), payload, now=now, mono_ns=mono_ns
        )

    def _rtcp(self, data: bytes) -> None:
        try:
            reports = sender_reports(data)
        except ProtocolError:
            return
        mono_ns = self._calm_ns
        for report in reports:
            for track in self._tracks:
                if report.ssrc in (track.ssrc, track.receiver.ssrc):
                    track.receiver.sender_report(report.ntp, report.rtp_timestamp, mono_ns=mono_ns)

    def _repair(self, track: _Track, now: int) -> None:
        receiver = track.receiver
        receiver.poll(now)
        missing = receiver.missing()
        if not missing:
            track.asked.clear()
        else:
            asked = track.asked
            due = [n for n in missing if now - asked.get(n, -_NACK_AGAIN_NS) >= _NACK_AGAIN_NS]
            track.asked = {n: asked[n] for n in missing if n in asked} | dict.fromkeys(due, now)
            if due and receiver.ssrc is not None:
                self.transport.send_rtcp(build_nack(self._ssrc, receiver.ssrc, due))
        if receiver.wants_key_frame and now - track.key_asked_ns >= _KEY_FRAME_AGAIN_NS:
            media_ssrc = receiver.ssrc or track.ssrc
            if media_ssrc is not None:
                track.key_asked_ns = now
                receiver.wants_key_frame = False
                self.transport.send_rtcp(build_picture_loss(self._ssrc, media_ssrc))


def _configuration(payload_type: PayloadType) -> CodecConfig | None:
    """What is known before any media; Opus is always announced as stereo (RFC 7587 section 7)."""
    if payload_type.codec != "opus":
        return None
    return CodecConfig(codec="opus", rate=payload_type.rate, channels=_STEREO)


def _check(sections: list[MediaSection]) -> None:
    """Only what is sent to us, in codecs we record.

    Raises:
        InvalidInput: a section that does not send.
        CodecMismatch: a codec we cannot record.
    """
    for section in sections:
        if section.direction not in ("sendonly", "sendrecv"):
            raise InvalidInput(f"{section.kind} must be sendonly", field="sdp.direction")
    video = section_of(sections, "video")
    if video is None or "h264" not in video.codecs:
        raise CodecMismatch(
            "视频须为 H.264 (video must be H.264); 请在摄像机里改用 H.264 编码", field="sdp.video"
        )
    audio = section_of(sections, "audio")
    if audio is not None and not set(audio.codecs) & set(_AUDIO):
        raise CodecMismatch(
            "音频须为 PCMA、PCMU 或 Opus (audio must be PCMA, PCMU or Opus)", field="sdp.audio"
        )
