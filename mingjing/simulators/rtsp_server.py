"""An RTSP 1.0 server (RFC 2326) that behaves like an IP camera, faults included."""

import asyncio
import base64
import hashlib
import re
import secrets
import socket
from dataclasses import dataclass, field
from typing import Literal

from contracts.errors import ProtocolError
from contracts.media.h264 import SPS, nal_type
from mingjing.simulators.broadcast import AUDIO, VIDEO, Broadcast, Faults, Viewer
from mingjing.simulators.rtp_tracks import InterleavedTransport, UdpTransport

AuthScheme = Literal["basic", "digest", "digest-sha256"]

_REALM = "counter camera"
_PUBLIC = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, TEARDOWN, GET_PARAMETER, SET_PARAMETER"
_MOST_REQUEST_BYTES = 64 << 10
_STATUS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    461: "Unsupported Transport",
    503: "Service Unavailable",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraAccess:
    """Who may watch: nobody is asked without a user name."""

    username: str = ""
    password: str = ""
    scheme: AuthScheme = "digest"


@dataclass(frozen=True, slots=True, kw_only=True)
class RtspRequest:
    """One request; header names in lower case."""

    method: str
    url: str
    headers: dict[str, str]


@dataclass(slots=True)
class RtspReply:
    """What is answered; CSeq is added by the connection."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def encode(self, cseq: str) -> bytes:
        """Return the octets of the response."""
        lines = [f"RTSP/1.0 {self.status} {_STATUS[self.status]}", f"CSeq: {cseq}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.body:
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode() + self.body


class RtspServer:
    """Serves one broadcast to any number of viewers."""

    def __init__(
        self,
        broadcast: Broadcast,
        parameter_sets: tuple[bytes, ...],
        *,
        access: CameraAccess,
        faults: Faults,
        session_timeout_s: int = 60,
    ) -> None:
        self.broadcast = broadcast
        self.access = access
        self.faults = faults
        self.session_timeout_s = session_timeout_s
        self.host = "127.0.0.1"
        self._parameter_sets = parameter_sets

    async def start(self, host: str, port: int) -> asyncio.Server:
        """Listen; the caller closes the server."""
        self.host = host
        return await asyncio.start_server(self._serve, host, port, limit=_MOST_REQUEST_BYTES)

    def describe(self) -> str:
        """Return the SDP of the broadcast."""
        coded = ",".join(base64.b64encode(nal).decode() for nal in self._parameter_sets)
        sets = f"sprop-parameter-sets={coded}"
        sps = next(nal for nal in self._parameter_sets if nal_type(nal) == SPS)
        profile = sps[1:4].hex()
        encoding = "MP4V-ES" if self.faults.unsupported_codec else "H264"
        lines = [
            "v=0",
            f"o=- 1 1 IN IP4 {self.host}",
            "s=counter camera",
            "c=IN IP4 0.0.0.0",
            "t=0 0",
            "a=control:*",
            "a=range:npt=now-",
            f"m=video 0 RTP/AVP {self.broadcast.video.payload_type}",
            f"a=rtpmap:96 {encoding}/90000",
            f"a=fmtp:96 packetization-mode=1;profile-level-id={profile};{sets}",
            f"a=control:trackID={VIDEO}",
        ]
        if self.broadcast.audio is not None:
            lines += [
                "m=audio 0 RTP/AVP 8",
                "a=rtpmap:8 PCMA/8000",
                f"a=control:trackID={AUDIO}",
            ]
        return "\r\n".join([*lines, ""])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not self.faults.refuse:
                await _Connection(self, reader, writer).run()
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError, ProtocolError):
            pass  # the viewer went away or talks nonsense; a camera says nothing either
        except asyncio.CancelledError:
            pass  # the program ends, and nobody awaits the task of a connection
        finally:
            writer.close()


class _Connection:
    """One viewer's connection: requests in, replies and interleaved media out."""

    def __init__(
        self, server: RtspServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._viewer = Viewer()
        self._session = secrets.token_hex(4)
        self._nonce = secrets.token_hex(16)
        self._is_over = False
        sock: socket.socket = writer.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def run(self) -> None:
        """Answer until TEARDOWN, silence beyond the session's timeout, or the end."""
        self._server.broadcast.viewers.add(self._viewer)
        try:
            while not self._is_over:
                async with asyncio.timeout(self._server.session_timeout_s):
                    request = await self._request()
                reply = self._answer(request)
                self._writer.write(reply.encode(request.headers.get("cseq", "0")))
                await self._writer.drain()
                if request.method == "PLAY" and reply.status == 200:  # noqa: PLR2004 - OK
                    self._server.broadcast.start(self._viewer)
        finally:
            self._server.broadcast.viewers.discard(self._viewer)
            for transport in self._viewer.transports.values():
                transport.close()

    async def _request(self) -> RtspRequest:
        """Read the next request; a viewer's interleaved RTCP counts as a sign of life."""
        first = await self._reader.readexactly(1)
        if first == b"$":
            head = await self._reader.readexactly(3)
            await self._reader.readexactly(int.from_bytes(head[1:], "big"))
            return RtspRequest(method="", url="", headers={})
        try:
            raw = first + await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError as exc:
            raise ProtocolError("a request of over 64 KiB", field="rtsp.request") from exc
        lines = raw.decode("utf-8", "replace").split("\r\n")
        parts = lines[0].split(" ")
        if len(parts) != 3:  # noqa: PLR2004 - method, URL, version
            raise ProtocolError("no request line", field="rtsp.request")
        pairs = (line.partition(":") for line in lines[1:] if ":" in line)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) < _MOST_REQUEST_BYTES:
            await self._reader.readexactly(int(length))
        return RtspRequest(method=parts[0], url=parts[1], headers=headers)

    def _answer(self, request: RtspRequest) -> RtspReply:
        handlers = {
            "DESCRIBE": self._describe,
            "SETUP": self._setup,
            "PLAY": self._play,
            "PAUSE": self._pause,
            "TEARDOWN": self._teardown,
            "GET_PARAMETER": self._alive,
            "SET_PARAMETER": self._alive,
        }
        if request.method == "OPTIONS":
            return RtspReply(headers={"Public": _PUBLIC})
        handler = handlers.get(request.method)
        if handler is None:
            return RtspReply(405)
        if not self._is_allowed(request):
            return self._challenge()
        return handler(request)

    def _describe(self, request: RtspRequest) -> RtspReply:
        if self._server.faults.busy:
            return RtspReply(503)
        if "/missing" in request.url:
            return RtspReply(404)
        headers = {
            "Content-Type": "application/sdp",
            "Content-Base": request.url.rstrip("/") + "/",
        }
        return RtspReply(headers=headers, body=self._server.describe().encode())

    def _setup(self, request: RtspRequest) -> RtspReply:
        match = re.search(r"trackID=(\d)$", request.url)
        tracks = {VIDEO: self._server.broadcast.video, AUDIO: self._server.broadcast.audio}
        track = tracks.get(int(match[1])) if match else None
        if match is None or track is None:
            return RtspReply(404)
        wanted = request.headers.get("transport", "")
        carried = self._transport(wanted, int(match[1]))
        if carried is None:
            return RtspReply(461)
        headers = {
            "Session": f"{self._session};timeout={self._server.session_timeout_s}",
            "Transport": f"{carried};ssrc={track.ssrc:08X}",
        }
        return RtspReply(headers=headers)

    def _transport(self, wanted: str, track: int) -> str | None:
        """Open the transport asked for and return its line, None when it is not possible."""
        channels = re.search(r"interleaved=(\d+)-(\d+)", wanted)
        if channels:
            channel = int(channels[1])
            self._viewer.transports[track] = InterleavedTransport(self._writer, channel)
            return f"RTP/AVP/TCP;unicast;interleaved={channel}-{channel + 1}"
        ports = re.search(r"client_port=(\d+)-(\d+)", wanted)
        if ports is None or "TCP" in wanted:
            return None
        viewer = self._writer.get_extra_info("peername")[0]
        pair = (int(ports[1]), int(ports[2]))
        udp = UdpTransport(self._server.host, viewer, pair, self._server.faults.lose_permille)
        self._viewer.transports[track] = udp
        return (
            f"RTP/AVP;unicast;client_port={pair[0]}-{pair[1]}"
            f";server_port={udp.ports[0]}-{udp.ports[1]}"
        )

    def _play(self, request: RtspRequest) -> RtspReply:
        if (refusal := self._without_session(request)) is not None:
            return refusal
        broadcast = self._server.broadcast
        base = request.url.rstrip("/")
        info = [
            f"url={base}/trackID={number};seq={track.sequence}"
            f";rtptime={track.wrap(broadcast.ticks(track))}"
            for number, track in ((VIDEO, broadcast.video), (AUDIO, broadcast.audio))
            if track is not None and number in self._viewer.transports
        ]
        headers = {"Session": self._session, "Range": "npt=now-", "RTP-Info": ",".join(info)}
        return RtspReply(headers=headers)

    def _pause(self, request: RtspRequest) -> RtspReply:
        self._viewer.is_playing = False
        return self._alive(request)

    def _teardown(self, request: RtspRequest) -> RtspReply:
        self._is_over = True
        return self._alive(request)

    def _alive(self, request: RtspRequest) -> RtspReply:
        refusal = self._without_session(request)
        return refusal or RtspReply(headers={"Session": self._session})

    def _without_session(self, request: RtspRequest) -> RtspReply | None:
        session = request.headers.get("session", "").partition(";")[0]
        if session != self._session:
            return RtspReply(454)
        return None if self._viewer.transports else RtspReply(455)

    def _is_allowed(self, request: RtspRequest) -> bool:
        access = self._server.access
        if not access.username:
            return True
        scheme, _, rest = request.headers.get("authorization", "").partition(" ")
        if access.scheme == "basic":
            wanted = base64.b64encode(f"{access.username}:{access.password}".encode()).decode()
            return scheme.lower() == "basic" and secrets.compare_digest(rest.strip(), wanted)
        return scheme.lower() == "digest" and self._digest_fits(request.method, rest)

    def _digest_fits(self, method: str, rest: str) -> bool:
        """Check RFC 7616 without qop, as cameras do it."""
        given = {name.lower(): value for name, value in re.findall(r'(\w+)="?([^",]*)"?', rest)}
        access = self._server.access

        def digest(text: str) -> str:
            if access.scheme == "digest-sha256":
                return hashlib.sha256(text.encode()).hexdigest()
            return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

        ours = digest(f"{access.username}:{_REALM}:{access.password}")
        theirs = digest(f"{method}:{given.get('uri', '')}")
        wanted = digest(f"{ours}:{self._nonce}:{theirs}")
        return (
            given.get("username") == access.username
            and given.get("nonce") == self._nonce
            and secrets.compare_digest(given.get("response", ""), wanted)
        )

    def _challenge(self) -> RtspReply:
        scheme = self._server.access.scheme
        if scheme == "basic":
            return RtspReply(401, {"WWW-Authenticate": f'Basic realm="{_REALM}"'})
        algorithm = ", algorithm=SHA-256" if scheme == "digest-sha256" else ""
        challenge = f'Digest realm="{_REALM}", nonce="{self._nonce}"{algorithm}'
        return RtspReply(401, {"WWW-Authenticate": challenge})
