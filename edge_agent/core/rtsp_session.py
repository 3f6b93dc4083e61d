"""An RTSP 1.0 client's session with a camera (RFC 2326), without I/O.

The table `TRANSITIONS` is the state machine: which request may be sent in which state, where it
leaves us while it is under way, and where its success leads. One request is under way at a time.
A 401 is answered once with credentials (again only when the server calls its nonce stale).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal
from urllib.parse import unquote, urlsplit

from contracts.errors import Conflict, InvalidInput, ProtocolError, Unavailable
from contracts.media.sdp import MOST_SDP_BYTES, SessionDescription, parse_sdp
from contracts.timestamps import NS
from edge_agent.core.rtsp_auth import Challenge, Credentials, authorization, choose_challenge
from edge_agent.core.rtsp_wire import RtspMessage, RtspParser

DEFAULT_PORT = 554
REQUEST_TIMEOUT_S = 10
DEFAULT_SESSION_TIMEOUT_S = 60
MOST_KEEP_ALIVE_S = 25

_OK = 200
_UNAUTHORIZED = 401
_CREDENTIALS_TRIES = 2
_SESSION_OVER = frozenset({401, 454})
_AGENT = "mingjing"

Method = Literal["OPTIONS", "DESCRIBE", "SETUP", "PLAY", "GET_PARAMETER", "TEARDOWN"]
KeepAlive = Literal["auto", "options", "get_parameter"]


class State(Enum):
    """Where the session is."""

    NEW = auto()
    ASKING = auto()
    ASKED = auto()
    DESCRIBING = auto()
    DESCRIBED = auto()
    SETTING_UP = auto()
    READY = auto()
    STARTING = auto()
    PLAYING = auto()
    CLOSED = auto()


TRANSITIONS: Mapping[tuple[State, Method], tuple[State, State]] = {
    (State.NEW, "OPTIONS"): (State.ASKING, State.ASKED),
    (State.ASKED, "DESCRIBE"): (State.DESCRIBING, State.DESCRIBED),
    (State.DESCRIBED, "SETUP"): (State.SETTING_UP, State.READY),
    (State.READY, "SETUP"): (State.SETTING_UP, State.READY),
    (State.READY, "PLAY"): (State.STARTING, State.PLAYING),
    (State.PLAYING, "GET_PARAMETER"): (State.PLAYING, State.PLAYING),
    (State.PLAYING, "OPTIONS"): (State.PLAYING, State.PLAYING),
    (State.READY, "TEARDOWN"): (State.CLOSED, State.CLOSED),
    (State.PLAYING, "TEARDOWN"): (State.CLOSED, State.CLOSED),
}


class RequestRefused(Unavailable):
    """The camera answered a request with a status other than 200.

    Attributes:
        method: of the request.
        status: of the answer; 3xx is a redirection, which is never followed.
    """

    def __init__(self, method: str, status: int, reason: str) -> None:
        super().__init__(f"{method} was answered {status} {reason}")
        self.method = method
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraUrl:
    """Where a stream is; credentials are kept apart so that no request line or log shows them."""

    host: str
    port: int
    url: str
    credentials: Credentials | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackTransport:
    """What SETUP agreed on for one track: a pair of channels, or the camera's pair of ports."""

    channel: int | None = None
    server_ports: tuple[int, int] | None = None
    ssrc: int | None = None


@dataclass(slots=True, kw_only=True)
class _Request:
    method: Method
    url: str
    headers: dict[str, str]
    done: State
    sent_ns: int
    cseq: int = 0
    tries: int = 0


def parse_camera_url(text: str) -> CameraUrl:
    """Read ``rtsp://[user[:password]@]host[:port]/path[?query]``.

    Raises:
        InvalidInput: another scheme, no host, a wrong port, or blanks.
    """
    try:
        parts = urlsplit(text)
        port = parts.port or DEFAULT_PORT
    except ValueError as exc:
        raise InvalidInput("is no URL", field="url") from exc
    if parts.scheme != "rtsp" or not parts.hostname:
        raise InvalidInput("must look like rtsp://host:554/path", field="url")
    if any(character.isspace() or ord(character) < 0x20 for character in text):  # noqa: PLR2004
        raise InvalidInput("contains blanks", field="url")
    credentials = None
    if parts.username is not None:
        credentials = Credentials(unquote(parts.username), unquote(parts.password or ""))
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    rest = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    url = f"rtsp://{host}:{port}{rest}"
    return CameraUrl(host=parts.hostname, port=port, url=url, credentials=credentials)


class RtspSession:
    """One session. Octets in by `receive`, octets out by `octets_to_send`, time by `poll`.

    Attributes:
        state: see `State`; the caller acts when it becomes DESCRIBED, READY, PLAYING.
        description: the SDP, from DESCRIBED on.
        tracks: what SETUP agreed on, by index of the description's media.
        server: what the camera calls itself.
    """

    def __init__(
        self,
        camera: CameraUrl,
        *,
        credentials: Credentials | None,
        cnonce: str,
        on_packet: Callable[[int, bytes], None],
        keep_alive: KeepAlive = "auto",
    ) -> None:
        self.state = State.NEW
        self.description: SessionDescription | None = None
        self.tracks: dict[int, TrackTransport] = {}
        self.server = ""
        self._camera = camera
        self._credentials = credentials or camera.credentials
        self._cnonce = cnonce
        self._parser = RtspParser(on_packet)
        self._out: list[bytes] = []
        self._under_way: _Request | None = None
        self._challenge: Challenge | None = None
        self._nonce_count = 0
        self._cseq = 0
        self._base = camera.url
        self._session = ""
        self._timeout_s = DEFAULT_SESSION_TIMEOUT_S
        self._keep_alive: KeepAlive = keep_alive
        self._knows_get_parameter = False
        self._heard_from_us_ns = 0
        self._asked_track = -1
        self._now_ns = 0

    # What the caller wants

    def start(self, mono_ns: int) -> None:
        """Begin: OPTIONS, then DESCRIBE follow by themselves up to DESCRIBED."""
        self._now_ns = mono_ns
        self._request("OPTIONS", self._camera.url)

    def setup(self, track: int, transport: str) -> None:
        """Ask for one medium of the description.

        Args:
            track: its index.
            transport: the Transport header, e.g. ``RTP/AVP/TCP;unicast;interleaved=0-1``.

        Raises:
            Conflict: not in a state for it.
        """
        if self.description is None:
            raise Conflict("SETUP before DESCRIBE")
        self._asked_track = track
        control = self.description.media[track].control
        self._request("SETUP", self._resolve(control), {"Transport": transport})

    def play(self) -> None:
        """Start the media.

        Raises:
            Conflict: nothing was set up.
        """
        control = self.description.control if self.description else ""
        self._request("PLAY", self._resolve(control), {"Range": "npt=0.000-"})

    def teardown(self) -> None:
        """Say good-bye if there is a session; no answer is awaited."""
        self._under_way = None
        if (self.state, "TEARDOWN") in TRANSITIONS:
            control = self.description.control if self.description else ""
            self._request("TEARDOWN", self._resolve(control))
            self._under_way = None
        self.state = State.CLOSED

    def send_packet(self, channel: int, packet: bytes) -> None:
        """Send one interleaved packet (RTCP)."""
        self._out.append(b"$" + bytes((channel,)) + len(packet).to_bytes(2, "big") + packet)

    # What the world brings

    def receive(self, octets: bytes) -> None:
        """Take octets of the camera; packets go to `on_packet` at once.

        Raises:
            ProtocolError: the camera breaks the protocol.
            RequestRefused: it refuses what we need; 401 means the credentials are wrong.
        """
        for message in self._parser.feed(octets):
            if message.method:
                self._answer(message)
            else:
                self._response(message)

    def poll(self, mono_ns: int) -> None:
        """Take the time: keeps the session alive, and notices requests that nobody answers.

        Raises:
            Unavailable: no answer within ten seconds (while playing, media decides instead).
        """
        self._now_ns = mono_ns
        if self._under_way is not None:
            if mono_ns - self._under_way.sent_ns < REQUEST_TIMEOUT_S * NS:
                return
            if self.state is not State.PLAYING:
                method = self._under_way.method
                raise Unavailable(f"{method} was not answered in {REQUEST_TIMEOUT_S} s")
            self._under_way = None
        interval_s = min(MOST_KEEP_ALIVE_S, self._timeout_s * 2 // 5)
        if self.state is State.PLAYING and mono_ns - self._heard_from_us_ns >= interval_s * NS:
            self._request(self._keep_alive_method(), self._resolve(""))

    def octets_to_send(self) -> bytes:
        """Return and forget what is to be written to the connection."""
        octets = b"".join(self._out)
        self._out.clear()
        return octets

    # Requests

    def _request(self, method: Method, url: str, headers: dict[str, str] | None = None) -> None:
        step = TRANSITIONS.get((self.state, method))
        if step is None or self._under_way is not None:
            raise Conflict(f"{method} is not possible while {self.state.name}")
        self.state, done = step
        self._under_way = _Request(
            method=method, url=url, headers=headers or {}, done=done, sent_ns=self._now_ns
        )
        self._send(self._under_way)

    def _send(self, request: _Request) -> None:
        self._cseq += 1
        request.cseq = self._cseq
        request.tries += 1
        request.sent_ns = self._heard_from_us_ns = self._now_ns
        lines = [f"{request.method} {request.url} RTSP/1.0", f"CSeq: {self._cseq}"]
        if self._challenge is not None and self._credentials is not None:
            self._nonce_count += 1
            proof = authorization(
                self._challenge,
                self._credentials,
                method=request.method,
                uri=request.url,
                nonce_count=self._nonce_count,
                cnonce=self._cnonce,
            )
            lines.append(f"Authorization: {proof}")
        lines.append(f"User-Agent: {_AGENT}")
        if self._session:
            lines.append(f"Session: {self._session}")
        if request.method == "DESCRIBE":
            lines.append("Accept: application/sdp")
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        self._out.append("\r\n".join([*lines, "", ""]).encode())

    def _keep_alive_method(self) -> Method:
        if self._keep_alive == "auto":
            return "GET_PARAMETER" if self._knows_get_parameter else "OPTIONS"
        return "OPTIONS" if self._keep_alive == "options" else "GET_PARAMETER"

    def _resolve(self, control: str) -> str:
        """Make a control URL absolute; cameras expect plain concatenation, even behind a query."""
        if control in {"", "*"}:
            return self._base
        if control.lower().startswith("rtsp://"):
            return control
        return self._base.rstrip("/") + "/" + control.lstrip("/")

    # Answers

    def _answer(self, request: RtspMessage) -> None:
        """Answer what a server asks of a client: nothing but OPTIONS is ours."""
        status = "200 OK" if request.method == "OPTIONS" else "501 Not Implemented"
        cseq = request.header("cseq")[:20]
        self._out.append(f"RTSP/1.0 {status}\r\nCSeq: {cseq}\r\n\r\n".encode())

    def _response(self, message: RtspMessage) -> None:
        request = self._under_way
        if request is None or message.header("cseq") not in {str(request.cseq), ""}:
            return  # an answer to a request that was given up
        self.server = (message.header("server") or self.server)[:100]
        if message.status == _UNAUTHORIZED and self._may_prove(message, request):
            self._send(request)
            return
        self._under_way = None
        if message.status != _OK:
            self._refused(message, request)
            return
        self.state = request.done
        handlers: dict[Method, Callable[[RtspMessage], None]] = {
            "OPTIONS": self._asked,
            "DESCRIBE": self._described,
            "SETUP": self._set_up,
        }
        if (handler := handlers.get(request.method)) is not None:
            handler(message)

    def _may_prove(self, message: RtspMessage, request: _Request) -> bool:
        challenge = choose_challenge(message.headers.get("www-authenticate", []))
        if challenge is None or self._credentials is None:
            return False
        self._challenge, self._nonce_count = challenge, 0
        # Many cameras replace their nonce without calling the old one stale: one more try each.
        return request.tries == 1 or (challenge.stale and request.tries <= _CREDENTIALS_TRIES)

    def _refused(self, message: RtspMessage, request: _Request) -> None:
        if request.method == "OPTIONS" and request.done is State.ASKED:
            if message.status == _UNAUTHORIZED:
                raise RequestRefused(request.method, message.status, message.reason)
            self.state = State.ASKED  # old cameras do not know OPTIONS
            self._request("DESCRIBE", self._camera.url)
            return
        if self.state is State.PLAYING and message.status not in _SESSION_OVER:
            self._keep_alive = "options"  # the media goes on; GET_PARAMETER was not understood
            return
        raise RequestRefused(request.method, message.status, message.reason)

    def _asked(self, message: RtspMessage) -> None:
        if self.state is State.ASKED:
            self._knows_get_parameter = "GET_PARAMETER" in message.header("public").upper()
            self._request("DESCRIBE", self._camera.url)

    def _described(self, message: RtspMessage) -> None:
        base = message.header("content-base") or message.header("content-location")
        if base.lower().startswith("rtsp://"):
            self._base = base
        if len(message.body) > MOST_SDP_BYTES:
            raise ProtocolError(f"{len(message.body)} octets", field="rtsp.sdp")
        try:
            self.description = parse_sdp(message.body.decode("utf-8", "replace"))
        except InvalidInput as exc:
            raise ProtocolError(str(exc), field="rtsp.sdp") from exc

    def _set_up(self, message: RtspMessage) -> None:
        session, _, rest = message.header("session").partition(";")
        if not session.strip():
            raise ProtocolError("is missing", field="rtsp.session")
        self._session = session.strip()[:200]
        timeout = rest.strip().lower().removeprefix("timeout=")
        if timeout.isascii() and timeout.isdigit() and len(timeout) < 6:  # noqa: PLR2004
            self._timeout_s = max(5, int(timeout))
        transport = parse_transport(message.header("transport"))
        if transport.channel is not None:
            self._parser.channels |= {transport.channel, transport.channel + 1}
        self.tracks[self._asked_track] = transport


def parse_transport(header: str) -> TrackTransport:
    """Read the Transport header of a SETUP answer (RFC 2326 section 12.39).

    Raises:
        ProtocolError: neither channels nor server ports are named.
    """
    fields = dict(part.strip().partition("=")[::2] for part in header.lower().split(";"))
    ssrc = fields.get("ssrc", "")
    try:
        number = int(ssrc, 16) if ssrc else None
    except ValueError:
        number = None
    if "interleaved" in fields:
        return TrackTransport(channel=_pair(fields["interleaved"], 254)[0], ssrc=number)
    if "server_port" in fields:
        return TrackTransport(server_ports=_pair(fields["server_port"], 65_535), ssrc=number)
    raise ProtocolError(f"{header[:80]!r} names no channels and no ports", field="rtsp.transport")


def _pair(text: str, most: int) -> tuple[int, int]:
    first, _, second = text.partition("-")
    if not (first.isascii() and first.isdigit() and len(first) < 6 and int(first) <= most):  # noqa: PLR2004
        raise ProtocolError(f"{text[:20]!r} is no pair up to {most}", field="rtsp.transport")
    low = int(first)
    is_number = second.isascii() and second.isdigit() and len(second) < 6  # noqa: PLR2004
    return low, int(second) if is_number and int(second) <= most else low + 1
