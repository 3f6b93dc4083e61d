"""RTP packets (RFC 3550 section 5), unwrapping of counters, retransmissions (RFC 4588)."""

import struct
from dataclasses import dataclass

from contracts.errors import ProtocolError

RTP_VERSION = 2
HEADER_BYTES = 12
HEADER = struct.Struct("!BBHII")

_EXTENSION_BIT = 0x10
_PADDING_BIT = 0x20
_CSRC_MASK = 0x0F
_MARKER_BIT = 0x80
_MOST_CSRCS = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class RtpPacket:
    """One RTP packet.

    Attributes:
        payload_type: 0-127.
        sequence: 16 bits.
        timestamp: 32 bits, ticks of the payload's clock.
        ssrc: 32 bits.
        marker: last packet of an access unit (video), start of a talk spurt (audio).
        payload: without padding.
        csrcs: at most 15 contributing sources.
        extension: (profile, bytes in whole 32-bit words) or None.
        padding: octets of padding behind the payload, its count octet included.
    """

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    marker: bool = False
    payload: bytes = b""
    csrcs: tuple[int, ...] = ()
    extension: tuple[int, bytes] | None = None
    padding: int = 0


def payload_bounds(packet: bytes) -> tuple[int, int]:
    """Return where the payload of an RTP packet begins and ends.

    Raises:
        ProtocolError: too short, wrong version, or a count that reaches past the end.
    """
    size = len(packet)
    if size < HEADER_BYTES:
        raise ProtocolError(f"{size} octets, a header has {HEADER_BYTES}", field="rtp.header")
    first = packet[0]
    if first >> 6 != RTP_VERSION:
        raise ProtocolError(f"version is {first >> 6}, not {RTP_VERSION}", field="rtp.version")
    start = HEADER_BYTES + 4 * (first & _CSRC_MASK)
    if first & _EXTENSION_BIT:
        if start + 4 > size:
            raise ProtocolError("cut before its length", field="rtp.extension")
        start += 4 + 4 * ((packet[start + 2] << 8) | packet[start + 3])
    if start > size:
        raise ProtocolError(f"ends at octet {start} of {size}", field="rtp.extension")
    if not first & _PADDING_BIT:
        return start, size
    padding = packet[-1]
    if padding == 0 or start + padding > size:
        raise ProtocolError(f"{padding} octets do not fit", field="rtp.padding")
    return start, size - padding


def parse_rtp(packet: bytes) -> RtpPacket:
    """Read one RTP packet.

    Raises:
        ProtocolError: the octets are no RTP packet; the field says where.
    """
    start, end = payload_bounds(packet)
    first, second, sequence, timestamp, ssrc = HEADER.unpack_from(packet)
    count = first & _CSRC_MASK
    extension = None
    if first & _EXTENSION_BIT:
        at = HEADER_BYTES + 4 * count
        extension = ((packet[at] << 8) | packet[at + 1], packet[at + 4 : start])
    return RtpPacket(
        payload_type=second & 0x7F,
        sequence=sequence,
        timestamp=timestamp,
        ssrc=ssrc,
        marker=bool(second & _MARKER_BIT),
        payload=packet[start:end],
        csrcs=struct.unpack_from(f"!{count}I", packet, HEADER_BYTES),
        extension=extension,
        padding=len(packet) - end,
    )


def serialize_rtp(packet: RtpPacket) -> bytes:
    """Write one RTP packet; the inverse of `parse_rtp`.

    Padding octets before the count octet are written as zero.

    Raises:
        ProtocolError: more than 15 CSRCs, or an extension that is no whole number of words.
    """
    if len(packet.csrcs) > _MOST_CSRCS:
        raise ProtocolError(f"{len(packet.csrcs)} exceed {_MOST_CSRCS}", field="rtp.csrcs")
    first = RTP_VERSION << 6 | len(packet.csrcs)
    middle = struct.pack(f"!{len(packet.csrcs)}I", *packet.csrcs)
    if packet.extension is not None:
        profile, words = packet.extension
        if len(words) % 4:
            raise ProtocolError(f"{len(words)} octets are no whole words", field="rtp.extension")
        first |= _EXTENSION_BIT
        middle += struct.pack("!HH", profile, len(words) // 4) + words
    tail = b""
    if packet.padding:
        first |= _PADDING_BIT
        tail = bytes(packet.padding - 1) + bytes((packet.padding,))
    second = packet.payload_type | (_MARKER_BIT if packet.marker else 0)
    head = HEADER.pack(first, second, packet.sequence, packet.timestamp, packet.ssrc)
    return head + middle + packet.payload + tail


def is_rtcp(packet: bytes) -> bool:
    """Tell RTCP from RTP on a shared port (RFC 5761 section 4)."""
    return len(packet) > 1 and 64 <= packet[1] & 0x7F < 96  # noqa: PLR2004 - the RFC's range


def unwrap_rtx(payload: bytes) -> tuple[int, bytes]:
    """Return the original sequence number and payload of a retransmission (RFC 4588 section 4).

    Raises:
        ProtocolError: shorter than the original sequence number.
    """
    if len(payload) < 2:  # noqa: PLR2004 - a 16-bit number
        raise ProtocolError(f"{len(payload)} octets", field="rtx.original_sequence")
    return (payload[0] << 8) | payload[1], payload[2:]


class Unwrapper:
    """Turns a counter of few bits into one that never wraps, by the signed difference.

    Works in both directions: a late value from before a wrap gets its earlier number.
    """

    __slots__ = ("_half", "_last", "_mask")

    def __init__(self, bits: int) -> None:
        self._mask = (1 << bits) - 1
        self._half = 1 << (bits - 1)
        self._last: int | None = None

    def unwrap(self, value: int) -> int:
        """Return the number that lies nearest to the last one and ends in `value`."""
        last = self._last
        if last is None:
            self._last = value
            return value
        step = (value - last) & self._mask
        if step >= self._half:
            step -= self._mask + 1
        self._last = last + step
        return self._last


def signed_difference(later: int, earlier: int, bits: int) -> int:
    """Return `later - earlier` of two wrapped counters, in [-2^(bits-1), 2^(bits-1))."""
    half = 1 << (bits - 1)
    return ((later - earlier + half) & ((1 << bits) - 1)) - half
