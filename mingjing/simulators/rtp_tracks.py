"""The RTP side of a simulated camera: one numbered stream per track, shared by all its viewers."""

import secrets
import socket
from asyncio import StreamWriter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from contracts.media.rtcp import SenderReport, build_sender_report
from contracts.media.rtp import HEADER
from contracts.timestamps import wall_to_ntp

MOST_UNSENT_BYTES = 8 << 20

_VERSION = 0x80
_MARKER = 0x80


@dataclass(slots=True)
class RtpTrack:
    """Numbers and counters of one outgoing RTP stream; starts at random (RFC 3550 section 5.1)."""

    payload_type: int
    rate: int
    ssrc: int = field(default_factory=lambda: secrets.randbits(32))
    sequence: int = field(default_factory=lambda: secrets.randbits(16))
    base: int = field(default_factory=lambda: secrets.randbits(32))
    packets: int = 0
    octets: int = 0

    def number(self, payloads: Sequence[bytes], ticks: int, *, marker: bool) -> list[bytes]:
        """Return whole packets of one timestamp; the last bears the marker if wanted."""
        timestamp = self.wrap(ticks)
        out = []
        last = len(payloads) - 1
        for index, payload in enumerate(payloads):
            second = self.payload_type | (_MARKER if marker and index == last else 0)
            out.append(HEADER.pack(_VERSION, second, self.sequence, timestamp, self.ssrc) + payload)
            self.sequence = (self.sequence + 1) & 0xFFFF
            self.octets += len(payload)
        self.packets += len(payloads)
        return out

    def report(self, wall: int, ticks: int) -> bytes:
        """Return a sender report: `ticks` is this track's time at `wall`."""
        return build_sender_report(
            SenderReport(
                ssrc=self.ssrc,
                ntp=wall_to_ntp(wall),
                rtp_timestamp=self.wrap(ticks),
                packets=self.packets,
                octets=self.octets,
            )
        )

    def wrap(self, ticks: int) -> int:
        """Return the RTP timestamp of a time since start."""
        return (self.base + ticks) & 0xFFFFFFFF


class Transport(Protocol):
    """Carries one track to one viewer."""

    def send_media(self, packets: Sequence[bytes]) -> bool:
        """Send RTP packets; False when the viewer is too slow and nothing was sent."""
        ...

    def send_report(self, packet: bytes) -> None:
        """Send one RTCP packet."""
        ...

    def send_garbage(self, octets: bytes) -> None:
        """Send what is no packet at all."""
        ...

    def close(self) -> None:
        """Give up what is held."""
        ...


class InterleavedTransport:
    """RTP inside the RTSP connection (RFC 2326 section 10.12)."""

    def __init__(self, writer: StreamWriter, channel: int) -> None:
        self._writer = writer
        self._channel = channel

    def send_media(self, packets: Sequence[bytes]) -> bool:
        """Write all packets in one go, unless the viewer has stopped reading."""
        if self._writer.transport.get_write_buffer_size() > MOST_UNSENT_BYTES:
            return False
        head = b"$" + bytes((self._channel,))
        parts: list[bytes] = []
        for packet in packets:
            parts += (head, len(packet).to_bytes(2, "big"), packet)
        self._writer.write(b"".join(parts))
        return True

    def send_report(self, packet: bytes) -> None:
        """Write on the odd channel."""
        head = b"$" + bytes((self._channel + 1,)) + len(packet).to_bytes(2, "big")
        self._writer.write(head + packet)

    def send_garbage(self, octets: bytes) -> None:
        """Write it between the packets."""
        self._writer.write(octets)

    def close(self) -> None:
        """The connection is not ours."""


class UdpTransport:
    """RTP and RTCP on a pair of our ports.

    Attributes:
        ports: the two local ports.
    """

    def __init__(self, host: str, viewer: str, viewer_ports: tuple[int, int], lose: int) -> None:
        self._sockets = (_udp(host), _udp(host))
        self._viewer = viewer
        self._viewer_ports = viewer_ports
        self._lose_permille = lose
        self.ports = tuple(sock.getsockname()[1] for sock in self._sockets)

    def send_media(self, packets: Sequence[bytes]) -> bool:
        """Send each packet, or lose it on purpose or to a full socket as a network would."""
        target = (self._viewer, self._viewer_ports[0])
        for packet in packets:
            if self._lose_permille and secrets.randbelow(1000) < self._lose_permille:
                continue
            try:
                self._sockets[0].sendto(packet, target)
            except OSError:
                continue
        return True

    def send_report(self, packet: bytes) -> None:
        """Send one RTCP packet, or lose it."""
        try:
            self._sockets[1].sendto(packet, (self._viewer, self._viewer_ports[1]))
        except OSError:
            return

    def send_garbage(self, octets: bytes) -> None:
        """Send it as datagrams of the size of packets."""
        self.send_media([octets[at : at + 1000] for at in range(0, len(octets), 1000)])

    def close(self) -> None:
        """Close both sockets."""
        for sock in self._sockets:
            sock.close()


def _udp(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind((host, 0))
    return sock
