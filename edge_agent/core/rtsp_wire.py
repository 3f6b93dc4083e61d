"""Octets of an RTSP connection cut into responses, requests and interleaved packets.

Any split of the stream gives the same result. Between messages some cameras send nonsense (a packet
with a wrong length is the usual one): the parser then looks for the next thing it can believe and
gives up after 64 KiB of nonsense with little sense between.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from contracts.errors import ProtocolError

MOST_HEAD_BYTES = 64 << 10
MOST_BODY_BYTES = 256 << 10
MOST_NONSENSE_BYTES = 64 << 10

_PARDON_BYTES = 256
"""How much nonsense one believable message makes up for; chance alone makes one in 64 KiB."""
_DOLLAR = 0x24
_FRAME_HEAD = 4
_RTP_VERSION = 2
_RESPONSE = b"RTSP/"
_BLANK = b"\r\n\r\n"
_REQUEST_LINE = re.compile(rb"[A-Z_]{3,20} \S{1,2048} RTSP/1\.\d\r\n")
_REQUEST_BEGIN = re.compile(rb"[A-Z_]{1,20}( [^\r\n]{0,2064}(\r)?)?")
_RESYNC = re.compile(rb"\$|RTSP/1|R(?:T(?:S(?:P/?)?)?)?\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class RtspMessage:
    """A response, or a request of the server.

    Attributes:
        status: of a response; 0 for a request.
        method: of a request; empty for a response.
        reason: text behind the status.
        headers: by lower-case name, in order of appearance.
        body: at most 256 KiB.
    """

    status: int = 0
    method: str = ""
    reason: str = ""
    headers: dict[str, list[str]] = field(default_factory=dict)
    body: bytes = b""

    def header(self, name: str) -> str:
        """Return the first header of that lower-case name, empty when absent."""
        return self.headers.get(name, [""])[0]


class RtspParser:
    """Takes octets, gives messages as a list and interleaved packets by callback.

    Attributes:
        channels: interleaved channels we set up; a ``$`` with another channel is nonsense.
        skipped: octets of nonsense so far.
    """

    def __init__(self, on_packet: Callable[[int, bytes], None]) -> None:
        self.channels: set[int] = set()
        self.skipped = 0
        self._on_packet = on_packet
        self._rest = b""
        self._nonsense = 0

    def feed(self, octets: bytes) -> list[RtspMessage]:
        """Take the next octets.

        Raises:
            ProtocolError: a message beyond the limits, malformed, or too much nonsense.
        """
        stream = self._rest + octets if self._rest else octets
        messages: list[RtspMessage] = []
        at = 0
        size = len(stream)
        while at < size:
            if stream[at] == _DOLLAR:
                end = self._packet(stream, at)
            else:
                end = self._message(stream, at, messages)
            if end == 0:
                break
            if end < 0:
                at = self._skip(stream, at)
            else:
                self._nonsense = max(0, self._nonsense - _PARDON_BYTES)
                at = end
        self._rest = stream[at:] if at < size else b""
        return messages

    def _packet(self, stream: bytes, at: int) -> int:
        """Return the end of the interleaved packet; 0 to wait for more, -1 for nonsense."""
        start = at + _FRAME_HEAD
        if len(stream) < start + 1:
            known = len(stream) < at + 2 or stream[at + 1] in self.channels
            return 0 if known else -1
        channel = stream[at + 1]
        end = start + (stream[at + 2] << 8 | stream[at + 3])
        if channel not in self.channels or stream[start] >> 6 != _RTP_VERSION or end <= start:
            return -1
        if end > len(stream):
            return 0
        self._on_packet(channel, stream[start:end])
        return end

    def _message(self, stream: bytes, at: int, messages: list[RtspMessage]) -> int:
        """Return the end of the message; 0 to wait for more, -1 for nonsense."""
        if stream.startswith(b"\r\n", at):
            return at + 2  # some servers put an empty line behind a body
        if stream[at:] == b"\r":
            return 0
        kind = _kind(stream, at)
        if kind <= 0:
            return kind
        head_end = stream.find(_BLANK, at)
        if head_end < 0:
            if len(stream) - at > MOST_HEAD_BYTES:
                raise ProtocolError(f"over {MOST_HEAD_BYTES} octets", field="rtsp.head")
            return 0
        message = _parse_head(stream[at:head_end])
        start = head_end + len(_BLANK)
        end = start + _content_length(message)
        if end > len(stream):
            return 0
        messages.append(
            RtspMessage(
                status=message.status,
                method=message.method,
                reason=message.reason,
                headers=message.headers,
                body=stream[start:end],
            )
        )
        return end

    def _skip(self, stream: bytes, at: int) -> int:
        """Go to the next place where something may begin."""
        found = _RESYNC.search(stream, at + 1)
        end = found.start() if found else len(stream)
        self._nonsense += end - at
        self.skipped += end - at
        if self._nonsense > MOST_NONSENSE_BYTES:
            raise ProtocolError(f"{self._nonsense} octets make no sense", field="rtsp.stream")
        return end


def _kind(stream: bytes, at: int) -> int:
    """Return 1 when a message begins here, 0 when that is not sure yet, -1 when none does."""
    if stream.startswith(_RESPONSE, at) or _REQUEST_LINE.match(stream, at):
        return 1
    here = stream[at : at + 2100]
    if _RESPONSE.startswith(here) or _REQUEST_BEGIN.fullmatch(here):
        return 0
    return -1


def _parse_head(head: bytes) -> RtspMessage:
    lines = head.decode("utf-8", "replace").split("\r\n")
    headers: dict[str, list[str]] = {}
    for line in lines[1:]:
        name, mark, value = line.partition(":")
        if mark:
            headers.setdefault(name.strip().lower(), []).append(value.strip())
    first = lines[0].split(" ", 2)
    if not first[0].startswith("RTSP/"):
        return RtspMessage(method=first[0], headers=headers)
    if len(first) < 2 or not re.fullmatch(r"[1-5]\d\d", first[1], re.ASCII):  # noqa: PLR2004
        raise ProtocolError(f"{lines[0][:60]!r} has no status", field="rtsp.status")
    reason = first[2] if len(first) > 2 else ""  # noqa: PLR2004 - version, status, reason
    return RtspMessage(status=int(first[1]), reason=reason[:100], headers=headers)


def _content_length(message: RtspMessage) -> int:
    text = message.header("content-length") or "0"
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or int(text) > MOST_BODY_BYTES:
        raise ProtocolError(f"{text[:20]!r} exceeds {MOST_BODY_BYTES}", field="rtsp.content-length")
    return int(text)
