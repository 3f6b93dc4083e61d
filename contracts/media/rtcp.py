"""RTCP: the packets a receiver of cameras reads and writes (RFC 3550 section 6, RFC 4585)."""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from contracts.errors import ProtocolError

SENDER_REPORT = 200
RECEIVER_REPORT = 201
SOURCE_DESCRIPTION = 202
GOODBYE = 203
TRANSPORT_FEEDBACK = 205
PAYLOAD_FEEDBACK = 206

GENERIC_NACK = 1
PICTURE_LOSS = 1

_VERSION = 2
_PADDING_BIT = 0x20
_WORD = 4
_HEADER_BYTES = 4
_SENDER_INFO = struct.Struct("!IQIII")
_BLOCK = struct.Struct("!IIIIII")
_MOST_BLOCKS = 31
_MOST_CUMULATIVE = 0x7FFFFF
_NACK_SPAN = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class RtcpPacket:
    """One packet of a compound: `count` is the 5-bit field (reports or feedback format)."""

    packet_type: int
    count: int
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderReport:
    """Ties RTP time to wall time.

    Attributes:
        ssrc: the sender.
        ntp: 64-bit NTP timestamp; 0 when the sender has no clock.
        rtp_timestamp: the same instant on the RTP clock, 32 bits.
        packets: sent so far.
        octets: payload sent so far.
    """

    ssrc: int
    ntp: int
    rtp_timestamp: int
    packets: int = 0
    octets: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportBlock:
    """What a receiver says of one source (RFC 3550 section 6.4.1)."""

    ssrc: int
    fraction_lost: int
    cumulative_lost: int
    highest_sequence: int
    jitter: int
    last_report: int = 0
    delay_since_last: int = 0


def iterate_compound(datagram: bytes) -> Iterator[RtcpPacket]:
    """Walk the packets of a compound RTCP datagram.

    Raises:
        ProtocolError: cut short, wrong version, or padding that does not fit.
    """
    at = 0
    while at < len(datagram):
        if at + _HEADER_BYTES > len(datagram):
            raise ProtocolError("cut in a header", field="rtcp.header")
        first, packet_type, words = struct.unpack_from("!BBH", datagram, at)
        if first >> 6 != _VERSION:
            raise ProtocolError(f"version is {first >> 6}, not {_VERSION}", field="rtcp.version")
        end = at + _HEADER_BYTES + _WORD * words
        if end > len(datagram):
            raise ProtocolError(f"ends at octet {end} of {len(datagram)}", field="rtcp.length")
        body = datagram[at + _HEADER_BYTES : end]
        if first & _PADDING_BIT:
            padding = body[-1] if body else 0
            if padding == 0 or padding > len(body):
                raise ProtocolError(f"{padding} octets do not fit", field="rtcp.padding")
            body = body[:-padding]
        yield RtcpPacket(packet_type=packet_type, count=first & 0x1F, body=body)
        at = end


def parse_sender_report(packet: RtcpPacket) -> SenderReport:
    """Read the sender info of an SR; its report blocks are of no interest to a pure receiver.

    Raises:
        ProtocolError: not an SR, or shorter than its sender info.
    """
    if packet.packet_type != SENDER_REPORT:
        raise ProtocolError(f"type {packet.packet_type}, not 200", field="rtcp.sender_report")
    if len(packet.body) < _SENDER_INFO.size:
        raise ProtocolError(f"{len(packet.body)} octets", field="rtcp.sender_report")
    ssrc, ntp, rtp_timestamp, packets, octets = _SENDER_INFO.unpack_from(packet.body)
    return SenderReport(
        ssrc=ssrc, ntp=ntp, rtp_timestamp=rtp_timestamp, packets=packets, octets=octets
    )


def sender_reports(datagram: bytes) -> list[SenderReport]:
    """Return every sender report of a compound datagram.

    Raises:
        ProtocolError: see `iterate_compound`, `parse_sender_report`.
    """
    return [
        parse_sender_report(packet)
        for packet in iterate_compound(datagram)
        if packet.packet_type == SENDER_REPORT
    ]


def build_sender_report(report: SenderReport) -> bytes:
    """Write an SR without report blocks."""
    info = _SENDER_INFO.pack(
        report.ssrc,
        report.ntp,
        report.rtp_timestamp,
        report.packets & 0xFFFFFFFF,
        report.octets & 0xFFFFFFFF,
    )
    return _packet(SENDER_REPORT, 0, info)


def build_receiver_report(ssrc: int, blocks: Iterable[ReportBlock] = ()) -> bytes:
    """Write an RR of our `ssrc` about up to 31 sources.

    Raises:
        ProtocolError: more than 31 blocks.
    """
    body = b"".join(
        _BLOCK.pack(
            block.ssrc,
            block.fraction_lost << 24 | _clamp_24(block.cumulative_lost),
            block.highest_sequence & 0xFFFFFFFF,
            block.jitter & 0xFFFFFFFF,
            block.last_report,
            block.delay_since_last & 0xFFFFFFFF,
        )
        for block in blocks
    )
    count = len(body) // _BLOCK.size
    if count > _MOST_BLOCKS:
        raise ProtocolError(f"{count} exceed {_MOST_BLOCKS}", field="rtcp.report_blocks")
    return _packet(RECEIVER_REPORT, count, ssrc.to_bytes(4, "big") + body)


def parse_receiver_report(packet: RtcpPacket) -> tuple[int, list[ReportBlock]]:
    """Return the reporter's SSRC and its blocks.

    Raises:
        ProtocolError: not an RR, or cut.
    """
    if packet.packet_type != RECEIVER_REPORT:
        raise ProtocolError(f"type {packet.packet_type}, not 201", field="rtcp.receiver_report")
    if len(packet.body) < _WORD + packet.count * _BLOCK.size:
        raise ProtocolError(f"{len(packet.body)} octets", field="rtcp.receiver_report")
    blocks = []
    for index in range(packet.count):
        ssrc, lost, highest, jitter, last, delay = _BLOCK.unpack_from(
            packet.body, _WORD + index * _BLOCK.size
        )
        cumulative = lost & 0xFFFFFF
        blocks.append(
            ReportBlock(
                ssrc=ssrc,
                fraction_lost=lost >> 24,
                cumulative_lost=cumulative - (1 << 24 if cumulative > _MOST_CUMULATIVE else 0),
                highest_sequence=highest,
                jitter=jitter,
                last_report=last,
                delay_since_last=delay,
            )
        )
    return int.from_bytes(packet.body[:4], "big"), blocks


def build_nack(ssrc: int, media_ssrc: int, sequences: Iterable[int]) -> bytes:
    """Write a generic NACK (RFC 4585 section 6.2.1) for wrapped sequence numbers.

    Numbers are packed greedily in the order given, so pass them in sending order.
    """
    pairs: list[tuple[int, int]] = []
    for sequence in sequences:
        if pairs:
            first, mask = pairs[-1]
            ahead = (sequence - first) & 0xFFFF
            if 0 < ahead <= _NACK_SPAN:
                pairs[-1] = (first, mask | 1 << (ahead - 1))
                continue
        pairs.append((sequence & 0xFFFF, 0))
    body = struct.pack("!II", ssrc, media_ssrc)
    body += b"".join(struct.pack("!HH", first, mask) for first, mask in pairs)
    return _packet(TRANSPORT_FEEDBACK, GENERIC_NACK, body)


def parse_nack(packet: RtcpPacket) -> tuple[int, list[int]]:
    """Return the media SSRC and the sequence numbers asked for.

    Raises:
        ProtocolError: not a generic NACK, or cut.
    """
    if packet.packet_type != TRANSPORT_FEEDBACK or packet.count != GENERIC_NACK:
        raise ProtocolError("not a generic NACK", field="rtcp.nack")
    body = packet.body
    if len(body) < 2 * _WORD or len(body) % _WORD:
        raise ProtocolError(f"{len(body)} octets", field="rtcp.nack")
    sequences = []
    for first, mask in struct.iter_unpack("!HH", body[8:]):
        sequences.append(first)
        sequences += [(first + 1 + bit) & 0xFFFF for bit in range(_NACK_SPAN) if mask >> bit & 1]
    return int.from_bytes(body[4:8], "big"), sequences


def build_picture_loss(ssrc: int, media_ssrc: int) -> bytes:
    """Write a PLI (RFC 4585 section 6.3.1): the sender should send a key frame."""
    return _packet(PAYLOAD_FEEDBACK, PICTURE_LOSS, struct.pack("!II", ssrc, media_ssrc))


def parse_picture_loss(packet: RtcpPacket) -> int:
    """Return the media SSRC a PLI asks a key frame of.

    Raises:
        ProtocolError: not a PLI, or cut.
    """
    if packet.packet_type != PAYLOAD_FEEDBACK or packet.count != PICTURE_LOSS:
        raise ProtocolError("not a picture loss indication", field="rtcp.pli")
    if len(packet.body) < 2 * _WORD:
        raise ProtocolError(f"{len(packet.body)} octets", field="rtcp.pli")
    return int.from_bytes(packet.body[4:8], "big")


def _packet(packet_type: int, count: int, body: bytes) -> bytes:
    return struct.pack("!BBH", _VERSION << 6 | count, packet_type, len(body) // _WORD) + body


def _clamp_24(lost: int) -> int:
    return max(-_MOST_CUMULATIVE - 1, min(_MOST_CUMULATIVE, lost)) & 0xFFFFFF
