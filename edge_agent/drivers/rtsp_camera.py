"""Drives one RTSP camera: connects, hands its access units on undecoded, says how it fares.

The protocol is in `edge_agent.core.rtsp_session`, the way from packets to access units in
`contracts.media.rtp_receiver`; this is the shell with the sockets. Media is handled inside the
transports' callbacks, so that one camera costs no task and no queue.
"""

import asyncio
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, cast

import structlog
from pydantic import BaseModel, ConfigDict, Field

from contracts.backoff import Backoff
from contracts.errors import InvalidInput, MingjingError, ProtocolError, Unavailable
from contracts.media.access_unit import AccessUnit
from contracts.media.rtcp import build_receiver_report, sender_reports
from contracts.media.rtp_receiver import RtpReceiver
from contracts.media.sdp import MediaDescription, codec_config
from contracts.timestamps import NS, NS_PER_MS, ntp_to_wall
from contracts.wire.devices import HealthCause
from edge_agent.core.camera_health import CameraFailure, MediaProgress, explain, judge
from edge_agent.core.camera_quirks import CameraQuirks, TransportChoice, parse_quirks
from edge_agent.core.rtsp_auth import Credentials
from edge_agent.core.rtsp_session import CameraUrl, RtspSession, State, parse_camera_url
from edge_agent.ports import DriverParts, MediaSink

CONNECT_TIMEOUT_S = 8.0
REPORT_S = 5
POLL_S = 0.1
UDP_HOLE_MS = 300

CARRIED_VIDEO = frozenset({"h264"})
CARRIED_AUDIO = frozenset({"pcma", "pcmu", "opus"})
"""What WebRTC takes as it is; AAC would have to be decoded."""

_UDP_BUFFER_BYTES = 1 << 20
_PORT_PAIR_TRIES = 20

log = structlog.get_logger()


class CameraOptions(BaseModel):
    """The camera's own keys of the agent's configuration.

    Either `url`, or `host` with the profile's path for `stream`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = ""
    host: str = ""
    port: int = Field(default=0, ge=0, le=65_535)
    username: str = ""
    password_file: Path | None = None
    stream: Literal["main", "sub"] = "main"
    transport: TransportChoice = "auto"
    audio: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What one session is to do."""

    camera: CameraUrl
    options: CameraOptions
    quirks: CameraQuirks
    parts: DriverParts
    sink: MediaSink
    use_udp: bool

    @property
    def where(self) -> str:
        return f"{self.camera.host}:{self.camera.port}"


@dataclass(slots=True, kw_only=True)
class _Track:
    """One medium at work."""

    index: int
    media: MediaDescription
    receiver: RtpReceiver
    channel: int = -1
    sockets: tuple[asyncio.DatagramTransport, ...] = ()
    server_ports: tuple[int, int] | None = None


class RtspCamera:
    """The driver; see `edge_agent.ports.DriverType`."""

    Options: ClassVar[type[BaseModel]] = CameraOptions

    def __init__(self, options: CameraOptions, parts: DriverParts) -> None:
        quirks = parse_quirks(parts.profile.quirks)
        self._plan = _Plan(
            camera=_camera_url(options, quirks),
            options=options,
            quirks=quirks,
            parts=parts,
            sink=parts.media[options.stream],
            use_udp="udp" in (options.transport, quirks.transport) and options.transport != "tcp",
        )
        # A camera on the LAN: each second of waiting is a second of missing footage.
        self._backoff = Backoff(first_s=0.5, most_s=5.0)
        self._down_cause: HealthCause | None = None
        self._log = log.bind(device=parts.device, stream=options.stream)

    @staticmethod
    def streams(options: CameraOptions) -> tuple[str, ...]:
        """The one stream these options name."""
        return (options.stream,)

    async def run(self) -> None:
        """Serve the camera until cancelled; every failure is reported and tried again."""
        parts = self._plan.parts
        parts.health.report("offline", "starting", f"正在连接摄像机 {self._plan.where}")
        attempt = 0
        while True:
            session = _CameraSession(self._plan)
            try:
                await session.run()
            except CameraFailure as failure:
                if session.was_up:
                    attempt = 0
                self._down(failure, was_up=session.was_up)
            delay_s = self._backoff.delay(attempt, random=parts.random())
            attempt += 1
            await parts.clock.sleep(delay_s)

    def _down(self, failure: CameraFailure, *, was_up: bool) -> None:
        """Tell health and sink; the log only on a change."""
        self._plan.parts.health.report("offline", failure.cause, failure.detail)
        if was_up or failure.cause != self._down_cause:
            self._plan.sink.source_down(failure.cause, failure.detail)
            self._log.warning("camera_down", cause=failure.cause, detail=failure.detail)
        self._down_cause = failure.cause
        if failure.wants_other_transport and self._plan.options.transport == "auto":
            self._plan = replace(self._plan, use_udp=not self._plan.use_udp)


class _CameraSession:
    """One connection from connect to failure."""

    def __init__(self, plan: _Plan) -> None:
        self._plan = plan
        self._clock = plan.parts.clock
        self._wire = _Wire()
        self._tracks: list[_Track] = []
        self._by_channel: dict[int, tuple[_Track, bool]] = {}
        now_ns = self._clock.monotonic_ns()
        self._progress = MediaProgress(where=plan.where, media_ns=now_ns, key_ns=now_ns)
        self._ssrc = secrets.randbits(32)
        self._session: RtspSession

    @property
    def was_up(self) -> bool:
        """Whether access units were handed over."""
        return self._progress.is_up

    async def run(self) -> None:
        """Serve until it fails.

        Raises:
            CameraFailure: always, unless cancelled.
        """
        try:
            await self._connect()
            await self._set_up()
            await self._watch()
        except (MingjingError, OSError) as exc:
            raise explain(exc, self._plan.where, was_up=self.was_up) from exc
        finally:
            self._wire.close()
            for track in self._tracks:
                for sock in track.sockets:
                    sock.close()

    # Beginning

    async def _connect(self) -> None:
        camera = self._plan.camera
        credentials = await self._credentials()
        self._session = RtspSession(
            camera,
            credentials=credentials,
            cnonce=secrets.token_hex(8),
            on_packet=self._interleaved,
            keep_alive=self._plan.quirks.keep_alive,
        )
        self._wire.session = self._session
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await loop.create_connection(lambda: self._wire, camera.host, camera.port)
        self._session.start(self._clock.monotonic_ns())
        await self._until(State.DESCRIBED)

    async def _credentials(self) -> Credentials | None:
        options = self._plan.options
        if not options.username:
            return None
        password = ""
        if options.password_file is not None:
            try:
                password = (await asyncio.to_thread(options.password_file.read_text)).strip()
            except OSError as exc:
                raise CameraFailure(
                    "bad_credentials",
                    f"摄像机口令文件 {options.password_file.name} 无法读取，"
                    "请检查文件是否存在及其权限",
                ) from exc
        return Credentials(options.username, password)

    async def _set_up(self) -> None:
        description = self._session.description
        for index, media in enumerate(description.media if description else ()):
            if self._is_wanted(media):
                await self._set_up_track(index, media)
        if not any(track.media.kind == "video" for track in self._tracks):
            raise CameraFailure(
                "unsupported_codec", f"摄像机 {self._plan.where} 没有视频流，请检查码流地址"
            )
        now_ns = self._clock.monotonic_ns()
        self._progress.media_ns = self._progress.key_ns = now_ns
        self._session.play()
        await self._until(State.PLAYING)
        self._plan.parts.health.describe(
            maker=self._plan.parts.profile.maker, firmware=self._session.server
        )

    def _is_wanted(self, media: MediaDescription) -> bool:
        """Choose the first video and the first sound; say why a wanted one cannot be taken."""
        if any(track.media.kind == media.kind for track in self._tracks):
            return False
        name = media.encoding or f"payload type {media.payload_type}"
        if media.kind == "video":
            if media.codec not in CARRIED_VIDEO:
                raise CameraFailure(
                    "unsupported_codec",
                    f"摄像机 {self._plan.where} 的视频编码为 {name}，无法接收，"
                    "请在摄像机上改用 H.264",
                )
            return True
        if media.kind != "audio" or not self._wants_sound():
            return False
        if media.codec not in CARRIED_AUDIO:
            self._progress.remarks.append(
                f"摄像机 {self._plan.where} 的声音编码为 {name}，不能转送，仅录制图像，"
                "请在摄像机上改用 G.711A"
            )
            return False
        return True

    def _wants_sound(self) -> bool:
        return self._plan.options.audio and self._plan.quirks.audio

    async def _set_up_track(self, index: int, media: MediaDescription) -> None:
        use_udp = self._plan.use_udp
        codec = media.codec
        if codec is None:
            return
        try:
            config = codec_config(media)
        except InvalidInput:
            config = None  # nonsense in the SDP; the stream itself may carry the sets
        receiver = RtpReceiver(
            codec, media.rate, self._take, config, hole_ms=UDP_HOLE_MS if use_udp else 0
        )
        track = _Track(index=index, media=media, receiver=receiver)
        self._tracks.append(track)
        if use_udp:
            ports = await self._open_udp(track)
            self._session.setup(index, f"RTP/AVP;unicast;client_port={ports[0]}-{ports[1]}")
        else:
            channel = 2 * (len(self._tracks) - 1)
            wanted = f"RTP/AVP/TCP;unicast;interleaved={channel}-{channel + 1}"
            self._session.setup(index, wanted)
        await self._until(State.READY)
        agreed = self._session.tracks[index]
        if agreed.channel is not None:
            track.channel = agreed.channel
            self._by_channel[agreed.channel] = (track, False)
            self._by_channel[agreed.channel + 1] = (track, True)
        track.server_ports = agreed.server_ports

    async def _open_udp(self, track: _Track) -> tuple[int, int]:
        """Open an even port and the next one (RFC 3550 section 11), on the camera's side of us."""
        loop = asyncio.get_running_loop()
        local, peer = self._wire.addresses()
        for _ in range(_PORT_PAIR_TRIES):
            media, _ = await loop.create_datagram_endpoint(
                lambda: _Datagrams(peer, lambda data: self._rtp(track, data)),
                local_addr=(local, 0),
            )
            port: int = media.get_extra_info("sockname")[1]
            if port % 2 == 0:
                try:
                    control, _ = await loop.create_datagram_endpoint(
                        lambda: _Datagrams(peer, lambda data: self._rtcp(track, data)),
                        local_addr=(local, port + 1),
                    )
                except OSError:
                    media.close()
                    continue
                track.sockets = (media, control)
                return port, port + 1
            media.close()
        raise CameraFailure("internal_error", "本机没有可用的 UDP 端口对，请改用 TCP 传输")

    async def _until(self, state: State) -> None:
        """Let the protocol work until it is in `state`; its errors come out here."""
        while self._session.state is not state:
            await self._turn()

    async def _turn(self) -> None:
        self._session.poll(self._clock.monotonic_ns())
        self._wire.flush()
        await self._wire.changed(POLL_S)

    # Media

    def _interleaved(self, channel: int, packet: bytes) -> None:
        found = self._by_channel.get(channel)
        if found is None:
            return
        track, is_control = found
        if is_control:
            self._rtcp(track, packet)
        else:
            self._rtp(track, packet)

    def _rtp(self, track: _Track, packet: bytes) -> None:
        mono_ns = self._clock.monotonic_ns()
        if track.media.kind == "video":
            self._progress.media_ns = mono_ns
        track.receiver.datagram(packet, now=self._clock.now(), mono_ns=mono_ns)

    def _rtcp(self, track: _Track, packet: bytes) -> None:
        try:
            reports = sender_reports(packet)
        except ProtocolError:
            track.receiver.malformed += 1
            return
        for report in reports:
            track.receiver.sender_report(
                report.ntp, report.rtp_timestamp, mono_ns=self._clock.monotonic_ns()
            )
            if report.ntp and track.media.kind == "video":
                self._measure_clock(report.ntp)

    def _measure_clock(self, ntp: int) -> None:
        """The report was sent just now, so the difference is the clocks' plus the network's."""
        offset_ns = ntp_to_wall(ntp) - self._clock.now()
        self._progress.offset_ms = offset_ms = round(offset_ns / NS_PER_MS)
        self._plan.parts.health.clock_offset(offset_ms)

    def _take(self, unit: AccessUnit) -> None:
        progress = self._progress
        if not progress.is_up:
            if unit.config.track == "audio":
                return  # sound waits for the picture, as the recording does
            progress.is_up = True
            self._plan.sink.source_up(secrets.token_hex(8))
        if unit.config.track == "video":
            self._note_picture(unit)
        self._plan.sink.put(unit)

    def _note_picture(self, unit: AccessUnit) -> None:
        progress = self._progress
        if unit.key:
            progress.key_ns = self._clock.monotonic_ns()
        if unit.media_time < progress.newest_picture and not progress.is_reordered:
            progress.is_reordered = True
            progress.remarks.append(
                f"摄像机 {self._plan.where} 使用 B 帧，浏览器无法实时观看，"
                "请在摄像机上改用 Baseline，或关闭 B 帧"
            )
        progress.newest_picture = max(progress.newest_picture, unit.media_time)

    # Watching

    async def _watch(self) -> None:
        reported_ns = 0
        while True:
            await self._turn()
            now_ns = self._clock.monotonic_ns()
            for track in self._tracks:
                track.receiver.poll(now_ns)
            self._state_health(now_ns)
            if now_ns - reported_ns >= REPORT_S * NS:
                reported_ns = now_ns
                self._send_reports(now_ns)

    def _state_health(self, now_ns: int) -> None:
        progress = self._progress
        video = next(track.receiver for track in self._tracks if track.media.kind == "video")
        progress.malformed, progress.emitted = video.malformed, video.emitted
        health, cause, detail = judge(progress, now_ns)
        self._plan.parts.health.report(health, cause, detail)

    def _send_reports(self, now_ns: int) -> None:
        """Send receiver reports; over UDP they also open the way through firewalls."""
        for track in self._tracks:
            packet = build_receiver_report(self._ssrc, [track.receiver.report(now_ns)])
            if track.channel >= 0:
                self._session.send_packet(track.channel + 1, packet)
            elif track.sockets and track.server_ports is not None:
                peer = self._wire.addresses()[1]
                track.sockets[1].sendto(packet, (peer, track.server_ports[1]))


class _Wire(asyncio.Protocol):
    """The TCP connection: octets between the transport and the session, at once.

    Attributes:
        session: set before the connection is made.
    """

    def __init__(self) -> None:
        self.session: RtspSession | None = None
        self._transport: asyncio.Transport | None = None
        self._error: Exception | None = None
        self._has_changed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # uvloop's transports do not derive from asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Feed the session; wake the driver when the protocol moved on."""
        session = self.session
        if session is None or self._error is not None:
            return
        before = session.state
        try:
            session.receive(data)
        except MingjingError as exc:
            self._fail(exc)
            return
        self.flush()
        if session.state is not before:
            self._has_changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the driver."""
        self._fail(exc or ConnectionResetError("对方关闭了连接"))

    def flush(self) -> None:
        """Write what the session wants to send."""
        if self.session is not None and self._transport is not None:
            octets = self.session.octets_to_send()
            if octets and not self._transport.is_closing():
                self._transport.write(octets)

    async def changed(self, seconds: float) -> None:
        """Wait until the session's state changes, but not longer than this.

        Raises:
            Exception: whatever ended the connection.
        """
        if self._error is None:
            try:
                async with asyncio.timeout(seconds):
                    await self._has_changed.wait()
            except TimeoutError:
                return
            self._has_changed.clear()
        if self._error is not None:
            raise self._error

    def addresses(self) -> tuple[str, str]:
        """Return our and the camera's IP address of this connection."""
        if self._transport is None:
            raise Unavailable("not connected")
        ours = self._transport.get_extra_info("sockname")[0]
        return ours, self._transport.get_extra_info("peername")[0]

    def close(self) -> None:
        """Say good-bye and close."""
        if self.session is not None and self._error is None:
            self.session.teardown()
            self.flush()
        if self._transport is not None:
            self._transport.close()

    def _fail(self, error: Exception) -> None:
        if self._error is None:
            self._error = error
        self._has_changed.set()


class _Datagrams(asyncio.DatagramProtocol):
    """A UDP socket that listens to the camera alone."""

    def __init__(self, peer: str, take: Callable[[bytes], None]) -> None:
        self._peer = peer
        self._take = take

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for room for a whole key frame and more."""
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _UDP_BUFFER_BYTES)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Pass on what comes from the camera's address."""
        if addr[0] == self._peer:
            self._take(data)


def _camera_url(options: CameraOptions, quirks: CameraQuirks) -> CameraUrl:
    if options.url:
        return parse_camera_url(options.url)
    if not options.host:
        raise InvalidInput("needs url, or host with a profile", field="devices.url")
    path = quirks.main_path if options.stream == "main" else quirks.sub_path
    if not path:
        raise InvalidInput(f"the profile has no path for {options.stream}", field="devices.stream")
    port = f":{options.port}" if options.port else ""
    return parse_camera_url(f"rtsp://{options.host}{port}{path}")
