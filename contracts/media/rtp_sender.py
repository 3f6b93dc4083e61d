"""One outgoing RTP stream, sans-I/O: packets, retransmissions (RFC 4588) and sender reports.

No header extensions are written: the SSRC is in the SDP, and nothing here paces by them. The
history is deep enough to repair a whole 1080p key frame (130-200 packets) several times over.
"""

import struct
from dataclasses import dataclass

from contracts.errors import InvalidInput
from contracts.media.access_unit import VIDEO_CODECS, AccessUnit, CodecConfig
from contracts.media.h264 import SPS, join_nals, nal_type, packetize, split_nals
from contracts.media.rtcp import SOURCE_DESCRIPTION, SenderReport, build_sender_report
from contracts.media.rtp import HEADER, HEADER_BYTES, RTP_VERSION
from contracts.timestamps import WallTime, wall_to_ntp

MTU = 1200
"""Octets of one packet before SRTP; what browsers use, safe through tunnels."""
HISTORY = 2048

_FIRST_OCTET = RTP_VERSION << 6
_MARKER = 0x80
_CNAME_ITEM = 1
_MASK_32 = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class RtxNumbers:
    """Numbers of the retransmission stream (RFC 4588, SSRC-multiplexed)."""

    payload_type: int
    ssrc: int
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamNumbers:
    """Numbers of one RTP stream, negotiated or drawn by the caller.

    Attributes:
        payload_type: of the codec, from the SDP.
        ssrc: 32 bits.
        sequence: of the first packet; RFC 3550 wants it random. Below 2^15 keeps SRTP's rollover
            counter unambiguous while the first packets may be lost.
        timestamp: RTP time of media time 0.
        cname: names all streams of one clock.
        rtx: None when retransmissions go out under the same SSRC.
    """

    payload_type: int
    ssrc: int
    sequence: int
    timestamp: int
    cname: str = ""
    rtx: RtxNumbers | None = None


class RtpSender:
    """Turns access units into RTP packets and keeps them for retransmission."""

    def __init__(self, numbers: StreamNumbers, *, mtu: int = MTU, history: int = HISTORY) -> None:
        self.numbers = numbers
        self.packets_sent = 0
        self.octets_sent = 0
        self._room = mtu - HEADER_BYTES - 2  # a retransmission is two octets longer
        self._sequence = numbers.sequence & 0xFFFF
        self._rtx_sequence = numbers.rtx.sequence & 0xFFFF if numbers.rtx else 0
        self._history: list[bytes | None] = [None] * history

    def packets(self, config: CodecConfig, payload: bytes, *, ticks: int) -> list[bytes]:
        """Packets of one access unit.

        Args:
            config: how the payload is coded.
            payload: as in `AccessUnit.payload`.
            ticks: media time on the RTP clock, before the stream's origin is added.

        Raises:
            InvalidInput: a codec that is not sent over RTP here.
            ProtocolError: the payload's NAL lengths do not fit.
        """
        parts, mark_last = self._parts(config, payload)
        timestamp = (self.numbers.timestamp + ticks) & _MASK_32
        last = len(parts) - 1
        out = []
        for index, part in enumerate(parts):
            marker = _MARKER if mark_last and index == last else 0
            out.append(self._packet(part, marker, timestamp))
        return out

    def retransmit(self, sequence: int) -> bytes | None:
        """The packet of that number again, or None when it is no longer kept."""
        packet = self._history[sequence % len(self._history)]
        if packet is None or int.from_bytes(packet[2:4], "big") != sequence:
            return None
        rtx = self.numbers.rtx
        if rtx is None:
            return packet
        second = rtx.payload_type | (packet[1] & _MARKER)
        number, self._rtx_sequence = self._rtx_sequence, (self._rtx_sequence + 1) & 0xFFFF
        timestamp = int.from_bytes(packet[4:8], "big")
        head = HEADER.pack(_FIRST_OCTET, second, number, timestamp, rtx.ssrc)
        return head + packet[2:4] + packet[HEADER_BYTES:]

    def sender_report(self, *, wall: WallTime, ticks: int) -> bytes:
        """A compound SR and SDES that ties media time `ticks` to `wall` (RFC 3550, 6.4.1).

        The wall time may be that of capture rather than of sending: then a receiver maps every
        access unit to its capture.
        """
        report = SenderReport(
            ssrc=self.numbers.ssrc,
            ntp=wall_to_ntp(wall),
            rtp_timestamp=(self.numbers.timestamp + ticks) & _MASK_32,
            packets=self.packets_sent,
            octets=self.octets_sent,
        )
        return build_sender_report(report) + _source_description(
            self.numbers.ssrc, self.numbers.cname
        )

    def _parts(self, config: CodecConfig, payload: bytes) -> tuple[list[bytes], bool]:
        if config.codec == "h264":
            return packetize(payload, self._room), True
        if config.codec in VIDEO_CODECS or config.codec == "aac":
            raise InvalidInput(f"{config.codec} is not sent over WebRTC", field="codec")
        return [payload], False

    def _packet(self, part: bytes, marker: int, timestamp: int) -> bytes:
        numbers, sequence = self.numbers, self._sequence
        second = numbers.payload_type | marker
        packet = HEADER.pack(_FIRST_OCTET, second, sequence, timestamp, numbers.ssrc) + part
        self._history[sequence % len(self._history)] = packet
        self._sequence = (sequence + 1) & 0xFFFF
        self.packets_sent += 1
        self.octets_sent += len(part)
        return packet


def decodable_payload(unit: AccessUnit) -> bytes:
    """The unit's payload, with parameter sets put before a key frame that lacks them.

    Some cameras tell SPS and PPS only in their SDP; a WebRTC receiver has no other way to them.

    Raises:
        ProtocolError: the payload's NAL lengths do not fit.
    """
    if not unit.key or unit.config.codec != "h264" or not unit.config.parameter_sets:
        return unit.payload
    if any(nal_type(nal) == SPS for nal in split_nals(unit.payload)):
        return unit.payload
    return join_nals(unit.config.parameter_sets) + unit.payload


def _source_description(ssrc: int, cname: str) -> bytes:
    name = cname.encode()[:255]
    chunk = struct.pack("!IBB", ssrc, _CNAME_ITEM, len(name)) + name
    chunk += bytes(4 - len(chunk) % 4)
    return struct.pack("!BBH", _FIRST_OCTET | 1, SOURCE_DESCRIPTION, len(chunk) // 4) + chunk
